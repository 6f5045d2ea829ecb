"""`townlet live` as it is typed: an address, a person, Ctrl-C, and what was recorded."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from test_live_serve import Page

from townlet_runtime.cli import main
from townlet_trajectory.formats.batch_file import load_batch


def test_what_a_person_did_is_recorded_when_it_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "townlet_runtime", "live", "--port", "0", "--record", f"npz:{tmp_path / 'shown'}"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    address = next(found.group(0) for line in process.stderr if (found := re.search(r"http://\S+", line)))
    page = Page(address)
    page.until(lambda: "roster" in page.last)
    page.ask("pause")
    agent = page.last["roster"]["ids"][0]
    assert page.ask("acquire", agent=agent)["ok"]
    for _ in range(3):
        assert page.ask("feed", agent=agent, action="wait")["ok"]
        before = page.tick
        page.ask("step", ticks=1)
        page.until(lambda before=before: page.tick > before)
    page.close()
    process.send_signal(signal.SIGINT)
    said = process.stderr.read()
    assert process.wait(20.0) == 128 + signal.SIGINT, said
    assert "recorded" in said
    batch = load_batch(next((tmp_path / "shown").glob("*.npz")))
    assert int(batch.columns["demonstrated"].sum()) == 3


def test_a_record_is_replayed_in_the_world_that_it_says_it_is_of(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")  # of the extra `arrow`, in which shards are written
    shown = tmp_path / "shown"
    recorded = ["--ticks", "40", "--seed", "5", "--set", "town.num_agents=4", "--record", f"shards:{shown}"]
    assert main(["run", "-q", *recorded]) == 0
    command = [sys.executable, "-m", "townlet_runtime", "live", "--port", "0", "--replay", str(shown)]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    address = next(found.group(0) for line in process.stderr if (found := re.search(r"http://\S+", line)))
    page = Page(address)
    page.until(lambda: "scene" in page.last and "state" in page.last)
    assert page.last["hello"]["mode"] == "replay"
    assert page.last["scene"]["size"] == [16.0, 16.0]  # the town, not a grid of two columns
    assert page.last["state"]["replay"] == {"first": 0, "last": 39, "note": ""}
    page.ask("pause")
    assert page.ask("seek", tick=39)["tick"] == 39
    page.until(lambda: page.tick == 39)
    assert page.last["roster"]["ids"] == [f"agent_0{number}" for number in (1, 2, 3, 4)]
    page.close()
    process.send_signal(signal.SIGINT)
    said = process.stderr.read()
    assert process.wait(20.0) == 128 + signal.SIGINT, said
    assert "plain grid" not in said


def test_what_would_change_a_record_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["live", "--replay", str(tmp_path), "--ratio", "0.5"]) == 2
    assert "--ratio: --replay shows a record" in capsys.readouterr().err
    assert main(["live", "--replay", str(tmp_path / "none")]) == 2
