"""The time of a tick: the line that scripts read, and JSON."""

import json
import re
import time
from pathlib import Path

import pytest

from townlet_runtime.cli import main

KITCHEN = Path(__file__).parent / "data" / "scenarios" / "kitchen_breakfast.yaml"


def test_the_line_is_that_of_the_original(capsys: pytest.CaptureFixture[str]) -> None:
    begun = time.perf_counter()
    assert main(["bench", str(KITCHEN), "--ticks", "250", "--enforce-job-loop"]) == 0
    elapsed = time.perf_counter() - begun
    found = re.fullmatch(r"average_tick_seconds=(\d\.\d{6})\n", capsys.readouterr().out)
    assert found is not None
    assert 0.0 < float(found[1]) < elapsed / 250


def test_json_says_what_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(KITCHEN), "--ticks", "130", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["ticks"], found["agents"]) == (130, 2.0)
    assert found["ticks_per_s"] == pytest.approx(1.0 / found["average_tick_seconds"])


def test_the_built_in_town_and_other_worlds_are_measured_too(capsys: pytest.CaptureFixture[str]) -> None:
    for world, agents in (([], 10.0), (["--env", "lanes:Lanes"], 1.0)):
        assert main(["bench", *world, "--ticks", "20", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["agents"] == agents


def test_what_is_wrong_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(tmp_path / "no.yaml")]) == 2
    assert "no.yaml: cannot read it" in capsys.readouterr().err
    assert main(["bench", "--ticks", "0"]) == 2
    assert "'--ticks'" in capsys.readouterr().err
