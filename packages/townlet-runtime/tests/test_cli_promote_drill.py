"""A promotion and a rollback on a registry that is thrown away: states, keys, and what must be refused."""

import json
from pathlib import Path

import pytest

from townlet_runtime.cli import main

POC = Path(__file__).parent / "data" / "scenarios" / "poc_hybrid.yaml"
SNAPSHOT = (
    "state pass_streak required_passes candidate_ready candidate_ready_tick last_result last_evaluated_tick "
    "current_release initial_release candidate history"
).split()


def test_a_release_is_promoted_and_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["promote", "drill", "--config", str(POC), "--output", "drill"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [path.as_posix() for path in Path().rglob("*") if path.is_file()] == ["drill/promotion_drill_summary.json"]
    assert json.loads(Path("drill/promotion_drill_summary.json").read_text()) == printed
    assert {"config", "checkpoint", "initial", "promote", "rollback", "history"} <= printed.keys()
    assert (printed["config"], printed["checkpoint"]) == (str(POC), "promotion_drill_checkpoint.pt")
    initial, promote, rollback = printed["initial"], printed["promote"], printed["rollback"]
    assert (promote["promoted"], promote["cmd_id"]) == (True, "drill-promote")
    assert (rollback["rolled_back"], rollback["cmd_id"]) == (True, "drill-rollback")
    states = [each["promotion"] for each in (initial, promote, rollback)]
    assert all(list(state) == SNAPSHOT for state in states)
    assert [state["state"] for state in states] == ["ready", "promoted", "monitoring"]
    assert [state["pass_streak"] for state in states] == [2, 0, 0]
    assert [state["candidate_ready"] for state in states] == [True, False, False]
    assert [state["last_result"] for state in states] == ["pass"] * 3
    assert [len(state["history"]) for state in states] == [0, 1, 2]
    first = {"config_id": "v1.3.0"}
    assert all(state["initial_release"] == first for state in states)
    assert states[0]["current_release"] == first
    assert set(states[1]["current_release"]) == {"config_id", "checkpoint", "policy_hash"}
    assert states[2]["current_release"] == {**first, "reason": "drill-rollback"} and states[2]["candidate"] is None
    events = printed["history"]
    assert [each["event"] for each in events] == ["promoted", "rollback"]
    assert events[0]["previous_release"] == first and events[0]["release"] == events[1]["previous_release"]
    assert events[1]["release"] == states[2]["current_release"]


def test_what_nothing_bears_out_was_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["promote", "drill", "--config", str(POC), "--output", str(tmp_path), "--json"]) == 0
    refused = json.loads(capsys.readouterr().out)["refused"]
    assert "is not ready: 0 of 2 passes" in refused["promotion_before_its_passes"]
    assert "nothing was before it" in refused["rollback_to_nothing"]


def test_the_config_says_how_many_passes_promote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "strict.yaml"
    config.write_text("config_id: strict\nstability: {promotion: {required_passes: 3}}\n")
    options = ["--output", str(tmp_path / "d"), "--checkpoint", "a/../b.pt"]
    assert main(["promote", "drill", "--config", str(config), *options]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["initial"]["promotion"]["pass_streak"] == 3 and printed["checkpoint"] == "a/../b.pt"
    assert printed["initial"]["promotion"]["current_release"] == {"config_id": "strict"}


def test_what_cannot_be_done_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    for wrong, problem in (
        ([], "Missing option '--config'"),
        (["--config", str(tmp_path / "no.yaml")], "no.yaml: cannot read it"),
        (["--config", str(POC), "--output", str(tmp_path / "file" / "d")], "is no directory"),
    ):
        assert main(["promote", "drill", *wrong]) == 2
        assert problem in capsys.readouterr().err
