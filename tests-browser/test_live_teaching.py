"""Taught by hand in a real browser: take over, act, teach, see what came of it, and let the new policy take over."""

from __future__ import annotations

from pathlib import Path

from live_worlds import served
from playwright.sync_api import Page, expect
from test_live_page import ready, take_first

SIGNS = Path(__file__).parents[1] / "packages" / "townlet-runtime" / "tests" / "signs.py"
QUICK = ("promotion.num_episodes=10", "promotion.required_passes=1", "promotion.num_resamples=200")


def act(page: Page, action: str, *, times: int) -> None:
    button = page.locator("#pad-place button", has_text=action).first
    for _ in range(times):
        before = page.locator("#tick").inner_text()
        button.click()
        expect(page.locator("#tick")).not_to_have_text(before)


def show_two_episodes(page: Page) -> None:
    """Fourteen steps by hand, of a world that is paused."""
    page.locator("#reset").click()
    page.locator("#turns").check()
    page.locator("#scene").focus()
    take_first(page)
    act(page, "left", times=9)
    page.locator("#scene").focus()
    # In the next episode the walker is free again.
    page.keyboard.press("n")
    expect(page.locator("#take-words")).to_have_text("Take over")
    page.keyboard.press("t")
    expect(page.locator("#take-words")).to_have_text("Release")
    act(page, "left", times=5)


def test_what_was_shown_by_hand_is_learned_and_takes_over(page: Page, tmp_path: Path) -> None:
    (tmp_path / "signs.py").write_bytes(SIGNS.read_bytes())
    settings = [part for each in QUICK for part in ("--set", each)]
    with served(tmp_path, "--env", "signs:Signs", "--teach", "lessons", *settings) as address:
        ready(page, address)
        page.keyboard.press("Space")
        page.locator("#tab-teach").click()
        expect(page.locator("#teach-begin")).to_be_disabled()
        expect(page.locator("#teach-why")).to_contain_text("Nobody has shown anything yet")
        expect(page.locator("#ratio-part")).to_be_hidden()

        show_two_episodes(page)
        page.locator("#tab-teach").click()
        expect(page.locator("#teach-shown")).to_have_text("14 steps in 2 episodes")
        page.locator("#teach-begin").click()
        expect(page.locator("#teach-stop")).to_be_visible()
        expect(page.locator("#teach-phase")).to_have_text("Learning in the background")
        # Of three walkers two have the sign that was shown.
        expect(page.locator("#teach-verdict")).to_contain_text("PROMOTE: better than scripted", timeout=240_000)
        expect(page.locator("#teach-agreement")).to_contain_text("100 %")
        expect(page.locator(".interval")).to_have_attribute("data-side", "better")
        page.locator("#swap-yes").click()
        expect(page.locator("#swap")).to_be_hidden()
        expect(page.locator("#policy")).to_contain_text("policy")
        expect(page.locator("#ratio-words")).to_have_text("100 %")
        expect(page.locator("#teach-line")).to_contain_text("acts since p1 approved")


def test_a_lesson_is_stopped_by_hand(page: Page, tmp_path: Path) -> None:
    (tmp_path / "signs.py").write_bytes(SIGNS.read_bytes())
    with served(tmp_path, "--env", "signs:Signs", "--teach", "lessons") as address:
        ready(page, address)
        page.keyboard.press("Space")
        show_two_episodes(page)
        page.locator("#tab-teach").click()
        page.locator("input[value=bc]").check()
        page.locator("#teach-begin").click()
        page.locator("#teach-stop").click()
        expect(page.locator("#teach-line")).to_have_text("stopped")
        expect(page.locator("#teach-begin")).to_be_enabled()
