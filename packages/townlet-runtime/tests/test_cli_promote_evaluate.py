"""The decision about stages in a file or on standard input: keys, exit codes, and claims that are not believed."""

import io
import json
from pathlib import Path

import pytest

from townlet_runtime.cli import main

KEYS = ["status", "decision", "candidate_ready", "promotion", "results", "reasons"]
CLONE = {"cycle": 0.0, "mode": "bc", "accuracy": 1.0, "loss": 0.0, "threshold": 0.9, "passed": True, "bc_weight": 1.0}
UPDATE = {"cycle": 1.0, "mode": "ppo", "loss_total": 0.18, "anneal_loss_flag": False, "anneal_queue_flag": False}
FLAGGED = {**UPDATE, "cycle": 2.0, "loss_total": 0.23, "anneal_loss_flag": True}
PROMOTION = {
    "state": "monitoring",
    "pass_streak": 0,
    "required_passes": 2,
    "candidate_ready": False,
    "last_result": "fail",
    "current_release": {"config_id": "v1.3.0"},
    "history": [],
}
"""As the original's summaries hold it."""


def written(folder: Path, document: object) -> str:
    path = folder / "in.json"
    path.write_text(json.dumps(document))
    return str(path)


def answer(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> dict:
    assert main(["promote", "evaluate", *arguments]) == code
    found = json.loads(capsys.readouterr().out)
    assert list(found) == KEYS
    return found


def typed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_json_is_printed_without_being_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = {"status": "HOLD", "results": [CLONE, UPDATE, FLAGGED], "promotion": PROMOTION}
    path = written(tmp_path, summary)
    found = answer(capsys, 1, "--input", path)
    assert found == {
        "status": "hold",
        "decision": "HOLD",
        "candidate_ready": False,
        "promotion": PROMOTION,
        "results": [CLONE, UPDATE, FLAGGED],
        "reasons": ["loss_flag_cycle_2.0"],
    }
    assert answer(capsys, 1, "--summary", path) == found
    assert answer(capsys, 1, "--summary", path, "--format", "json", "--json") == found
    assert answer(capsys, 0, "--input", path, "--dry-run") == found


def test_people_get_the_lines_of_the_original(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, {"results": [CLONE, UPDATE, FLAGGED], "promotion": PROMOTION})
    assert main(["promote", "evaluate", "--input", path, "--format", "human"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "Decision: HOLD",
        "Status:   hold",
        "Ready?:   no",
        "Pass streak: 0/2 (last result: fail)",
        "Reasons:",
        "  - loss_flag_cycle_2.0",
    ]
    assert main(["promote", "evaluate", "--input", written(tmp_path, [CLONE]), "--format", "human"]) == 0
    assert capsys.readouterr().out.splitlines() == ["Decision: PROMOTE", "Status:   pass", "Ready?:   yes"]


def test_the_list_of_stages_is_an_input_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys, 0, "--input", written(tmp_path, [CLONE, UPDATE]))["decision"] == "PROMOTE"
    assert answer(capsys, 1, "--input", written(tmp_path, []))["reasons"] == ["no_results"]


def test_standard_input_is_read_where_no_file_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(monkeypatch, b'{"bc_accuracy": 0.95, "bc_threshold": 0.9}')
    found = answer(capsys, 0)
    assert found["results"] == [{"mode": "bc", "cycle": 0, "passed": True, "accuracy": 0.95, "threshold": 0.9}]
    assert (found["status"], found["promotion"], found["reasons"]) == ("pass", {}, [])
    typed(monkeypatch, b"not json")
    assert main(["promote", "evaluate"]) == 2
    assert "townlet: error: <stdin>: parse: not JSON" in capsys.readouterr().err


def test_what_a_file_claims_is_not_believed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    claims = {"status": "PASS", "candidate_ready": True, "decision": "PROMOTE"}
    weak = {**CLONE, "accuracy": 0.5}  # and yet `passed`
    found = answer(capsys, 2, "--input", written(tmp_path, {**claims, "results": [weak]}))
    assert (found["status"], found["decision"], found["reasons"]) == ("fail", "FAIL", ["bc_stage_failed_cycle_0.0"])
    found = answer(capsys, 1, "--input", written(tmp_path, {**claims, "results": [CLONE, FLAGGED]}))
    assert (found["status"], found["candidate_ready"]) == ("hold", False)
    # A streak that is too short is not ready, whatever is said.
    short = {**PROMOTION, "candidate_ready": True, "pass_streak": 1}
    found = answer(capsys, 1, "--input", written(tmp_path, {"results": [CLONE], "promotion": short}))
    assert (found["status"], found["reasons"]) == ("pass", ["candidate_not_ready"])
    found = answer(capsys, 0, "--input", written(tmp_path, {"status": "FAIL", "results": [CLONE]}))
    assert found["decision"] == "PROMOTE"


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("text", "expected stages or an object with `results`"),
        ({}, "`results` must be a list"),
        ([{"mode": "bc", "cycle": 0}], "`passed` must be"),
        ([{**CLONE, "mode": "sft"}], "`mode` must be one of bc, ppo"),
        ([{**CLONE, "accuracy": float("nan")}], "NaN is not a number"),
    ],
)
def test_what_is_no_anneal_is_refused(
    document: object, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, document)
    assert main(["promote", "evaluate", "--input", path]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"townlet: error: {path}") and problem in err


def test_two_files_at_once_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, [CLONE])
    assert main(["promote", "evaluate", "--input", path, "--summary", path]) == 2
    assert "name one of them" in capsys.readouterr().err
    assert main(["promote", "evaluate", "--input", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
