"""The page of `townlet live` in a real browser: watch, inspect, take over, act, release, two people, reconnect."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

from live_worlds import served
from playwright.sync_api import Browser, Page, expect


def tick_of(page: Page) -> int:
    return int(page.locator("#tick").inner_text().split()[-1].replace(",", ""))


def ready(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator("#link")).to_have_text("connected", timeout=20_000)
    page.wait_for_function("() => /tick\\s+[1-9]/.test(document.querySelector('#tick').textContent)", timeout=20_000)


def take_first(page: Page) -> str:
    """Take the first free agent over with the keyboard alone; returns its name."""
    page.keyboard.press("]")
    expect(page.locator("#one-agent")).to_be_visible()
    page.keyboard.press("t")
    expect(page.locator("#take-words")).to_have_text("Release")
    return page.locator("#agent-id").input_value()


def test_a_world_is_watched_and_its_token_leaves_the_address(page: Page, tmp_path: Path) -> None:
    with served(tmp_path) as address:
        ready(page, address)
        assert "token" not in page.url
        expect(page.locator("#world")).to_have_text("town")
        before = tick_of(page)
        page.wait_for_timeout(1000)
        assert tick_of(page) > before
        page.keyboard.press("Space")
        expect(page.locator("#play-words")).to_have_text("Play")
        stood = tick_of(page)
        page.keyboard.press("n")
        expect(page.locator("#tick")).to_have_text(re.compile(rf"\b{stood + 1}$"))
        page.reload()
        expect(page.locator("#link")).to_have_text("connected", timeout=20_000)


def test_the_inspector_says_who_decided_and_why(page: Page, tmp_path: Path) -> None:
    with served(tmp_path) as address:
        ready(page, address)
        page.keyboard.press("]")
        expect(page.locator("#decided-by")).not_to_be_empty()
        expect(page.locator("#why")).to_contain_text("script")
        expect(page.locator("#sees")).to_contain_text("need_hunger")


def test_an_agent_is_taken_over_acts_and_is_released(page: Page, tmp_path: Path) -> None:
    with served(tmp_path) as address:
        ready(page, address)
        page.keyboard.press("Space")
        page.locator("#turns").check()
        page.locator("#scene").focus()
        take_first(page)
        stood = tick_of(page)
        page.locator("#pad-place button", has_text="wait").first.click()
        # the input is carried out at the very next tick
        expect(page.locator("#tick")).to_have_text(re.compile(rf"\b{stood + 1}$"))
        expect(page.locator("#decided-what")).to_have_text("wait")
        expect(page.locator("#decided-by")).to_have_text("person")
        page.locator("#scene").focus()
        page.keyboard.press("t")
        expect(page.locator("#take-words")).to_have_text("Take over")


def test_two_people_hold_agents_of_their_own(browser: Browser, page: Page, tmp_path: Path) -> None:
    with served(tmp_path) as address:
        ready(page, address)
        mine = take_first(page)
        context = browser.new_context()
        other = context.new_page()
        ready(other, address)
        other.locator("#agent-id").fill(mine)
        other.locator("#agent-id").press("Enter")
        expect(other.locator("#take")).to_be_disabled()
        other.locator("#scene").focus()
        other.keyboard.press("]")
        other.keyboard.press("t")
        expect(other.locator("#take-words")).to_have_text("Release")
        other.locator("#tab-people").click()
        expect(other.locator("#people")).to_contain_text(mine)
        context.close()


def test_a_page_comes_back_to_its_agents_when_the_connection_was_lost(page: Page, tmp_path: Path) -> None:
    with served(tmp_path) as address:
        ready(page, address)
        mine = take_first(page)
        page.reload()
        expect(page.locator("#link")).to_have_text("connected", timeout=20_000)
        page.locator("#agent-id").fill(mine)
        page.locator("#agent-id").press("Enter")
        expect(page.locator("#take-words")).to_have_text("Release")


def test_a_server_that_is_gone_is_said_and_found_again(page: Page, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with served(tmp_path, port=port) as address:
        ready(page, address)
    expect(page.locator("#link")).not_to_have_text("connected", timeout=20_000)
    with served(tmp_path, port=port):
        # another server has another secret: the page says so instead of trying for ever
        expect(page.locator("#banner")).to_contain_text("token", timeout=30_000)


def test_without_its_token_the_page_shows_nothing(page: Page, tmp_path: Path) -> None:
    with served(tmp_path) as address:
        parts = urlsplit(address)
        page.goto(f"{parts.scheme}://{parts.netloc}/")
        expect(page.locator("#banner")).to_be_visible()
        expect(page.locator("#world")).to_have_text("Townlet")


def test_what_agents_are_called_is_text_and_nothing_else(page: Page, tmp_path: Path) -> None:
    (tmp_path / "hostile.py").write_text(HOSTILE, encoding="utf-8")
    with served(tmp_path, "--env", "hostile:Hostile") as address:
        ready(page, address)
        page.keyboard.press("]")
        expect(page.locator("#agent-id")).to_have_value("<img src=x onerror=alert(1)>")
        page.locator("#agents-open").click()
        expect(page.locator("dialog[open]")).to_contain_text("<img src=x onerror=alert(1)>")
        assert page.locator("img[src=x]").count() == 0


HOSTILE = """
import numpy as np
from townlet_behavior import ActionVocabulary
from townlet_runtime import Observed, SimulationSpec, Stepped


class Hostile:
    def __init__(self, num_worlds):
        self.spec = SimulationSpec(
            name="<b>world</b>", vocabulary=ActionVocabulary(keys=("wait", "<i>go</i>"), kinds=("wait", "move")),
            observation_shapes={"features": (1,)}, feature_names=("<script>alert(2)</script>",),
            num_worlds=num_worlds, capacity=2 * num_worlds, episode_ticks=100,
        )

    def reset(self, *, seeds):
        return self._observed()

    def step(self, actions):
        return Stepped(rewards=np.zeros(len(actions), np.float32), observed=self._observed())

    def _observed(self):
        names = ["<img src=x onerror=alert(1)>", "two"] * self.spec.num_worlds
        count = len(names)
        return Observed(
            slots=np.arange(count), agent_ids=np.array(names, object),
            observations={"features": np.zeros((count, 1), np.float32)},
        )
"""
