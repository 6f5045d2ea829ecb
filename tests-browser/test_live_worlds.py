"""What worlds say of themselves on the page: pictures, reasons, and moments that are gone back to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from live_worlds import served
from playwright.sync_api import Page, expect
from test_live_page import ready, take_first, tick_of

from townlet_trajectory.formats.batch_file import load_batch

COUNT = """colour => {
    const canvas = document.querySelector("#scene");
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    const same = at => colour.every((value, axis) => Math.abs(data[at + axis] - value) < 6);
    let count = 0;
    for (let at = 0; at < data.length; at += 4) count += same(at);
    return count;
}"""
BLACK, BROWN = [0, 0, 0], [202, 152, 101]


def test_a_world_of_gymnasium_shows_its_picture_without_options(page: Page, tmp_path: Path) -> None:
    pytest.importorskip("pygame")
    with served(tmp_path, "--env", "gymnasium:CartPole-v1") as address:
        ready(page, address)
        page.wait_for_timeout(1000)
        assert page.evaluate(COUNT, BLACK) > 1000  # the cart
        assert page.evaluate(COUNT, BROWN) > 300  # the pole


def test_what_cannot_be_done_says_why(page: Page, tmp_path: Path) -> None:
    with served(tmp_path) as address:
        ready(page, address)
        page.keyboard.press("Space")
        take_first(page)
        start = page.locator("#pad-place button", has_text=re.compile("^start"))
        expect(start).to_have_attribute("data-illegal", "")
        expect(start).to_have_attribute("aria-description", "it has no turn anywhere")


def test_what_is_undone_is_in_no_recording(page: Page, tmp_path: Path) -> None:
    with served(tmp_path, "--record", "npz:shown") as address:
        ready(page, address)
        page.keyboard.press("Space")
        page.locator("#turns").check()
        page.locator("#scene").focus()
        take_first(page)
        page.locator("#mark").click()
        kept = tick_of(page)
        wait = page.locator("#pad-place button", has_text="wait").first
        for tick in (1, 2, 3):
            wait.click()
            expect(page.locator("#tick")).to_have_text(re.compile(rf"\b{kept + tick}$"))
        page.locator("#again").click()
        expect(page.locator("#tick")).to_have_text(re.compile(rf"\b{kept}$"))
        expect(page.locator("#take-words")).to_have_text("Take over")
        page.locator("#scene").focus()
        page.keyboard.press("t")
        expect(page.locator("#take-words")).to_have_text("Release")
        wait.click()
        expect(page.locator("#tick")).to_have_text(re.compile(rf"\b{kept + 1}$"))
    batch = load_batch(tmp_path / "shown" / "agents.npz")
    assert batch.columns["demonstrated"].sum() == 1
    assert batch.ticks.max() == kept + 1
