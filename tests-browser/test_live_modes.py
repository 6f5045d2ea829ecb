"""The page of a run that trains, and of a record, in a real browser."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from live_worlds import served, started
from playwright.sync_api import Page, expect
from test_live_page import ready, tick_of

RUN = (
    *("train", "--live", "--live-port", "0", "--env", "townlet_runtime.testing:Corridor", "--mode", "ppo"),
    *("--total-steps", "10000000", "--num-envs", "2", "--threads", "1", "--eval-every", "2", "--run-dir", "run"),
    *("--set", "training.rollout_ticks=48", "--set", "training.eval_episodes=10", "--set", "network.hidden_sizes=[8]"),
)
TICKS = 120


def test_a_run_is_seen_while_it_trains(page: Page, tmp_path: Path) -> None:
    with started(tmp_path, *RUN) as address:
        ready(page, address)
        expect(page.locator("#mode")).to_have_text("training")
        expect(page.locator("#tab-training")).to_have_attribute("aria-selected", "true")
        expect(page.locator("#run-stage")).to_have_text("The policy decides alone", timeout=60_000)
        expect(page.locator("#run-facts")).to_contain_text("Time left", timeout=60_000)
        curves = page.locator("#curves canvas")
        expect(curves.first).to_be_visible(timeout=60_000)
        expect(curves.first).to_have_attribute("aria-valuemax", re.compile("[1-9]"), timeout=60_000)
        expect(page.locator("#gates tr").first).to_contain_text("mean return", timeout=60_000)
        # any other number of the log can be chosen
        before = curves.count()
        page.locator("#choose summary").click()
        page.get_by_label("grad_norm", exact=True).check()
        expect(curves).to_have_count(before + 1)
        # the world beside it goes on, no faster than the run bears
        stood = tick_of(page)
        page.wait_for_timeout(1000)
        assert tick_of(page) > stood
        page.locator("#full-speed").click()
        expect(page.locator("#said")).to_contain_text("at most 60 ticks a second")
        expect(page.locator("#full-speed")).not_to_be_checked()


def test_a_record_is_played_and_gone_through(page: Page, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "townlet_runtime", "run", "-q", "--ticks", str(TICKS), "--record", "shown"]
    subprocess.run(command, cwd=tmp_path, check=True)
    with served(tmp_path, "--replay", "shown", "--ticks-per-second", "30") as address:
        ready(page, address)
        expect(page.locator("#mode")).to_have_text("replay")
        expect(page.locator("#world")).to_have_text("town")
        page.keyboard.press("Space")
        expect(page.locator("#play-words")).to_have_text("Play")
        seek = page.get_by_label("Place")
        seek.focus()
        page.keyboard.press("Home")
        expect(page.locator("#tick")).to_have_text("tick 0")
        page.keyboard.press("End")
        expect(page.locator("#tick")).to_have_text(f"tick {TICKS - 1}")
        expect(page.locator("#seek-words")).to_have_text(f"tick {TICKS - 1} of {TICKS - 1}")
        page.keyboard.press("ArrowLeft")
        expect(page.locator("#tick")).to_have_text(f"tick {TICKS - 2}")
        # the town is drawn as it was: its things are there, and no note says otherwise
        expect(page.locator("#replay-note")).to_be_empty()
        # what is asked of a living world is not there
        for control in ("#reset", "#mark", "#ratio", "#tab-teach", "#tab-people"):
            expect(page.locator(control)).to_be_hidden()
        page.locator("#scene").focus()
        page.keyboard.press("]")
        expect(page.locator("#why")).to_contain_text("script")
        expect(page.locator("#hands")).to_be_hidden()
        expect(page.locator("#decided-when")).to_have_text(f"tick {TICKS - 2}")
        page.keyboard.press("n")
        expect(page.locator("#tick")).to_have_text(f"tick {TICKS - 1}")
        # played at its end, it begins again
        page.keyboard.press("Space")
        page.wait_for_function("() => Number(document.querySelector('#tick').textContent.split(' ').pop()) < 60")
