"""`distill.json`: read as it was written, and refused where it contradicts itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from townlet_runtime.runs.distilled import DistilFile
from townlet_runtime.runs.strict_json import ReportError
from townlet_trajectory.evaluation.gates import GateResult, Verdict
from townlet_trajectory.evaluation.results import Agreement, DistilRecord, DistilRound

ROUND = DistilRound(
    number=1,
    num_states=90,
    num_asked=10,
    num_declined=1,
    agreement_before=None,
    tokens=70,
    cost=0.25,
    loss=0.5,
    env_steps=256,
    agent_steps=1024,
    labels_sha256="ab" * 32,
)
AGREEMENT = Agreement(
    num_states=8,
    student=(0.5, 1.0),
    repeat=(1.0, 1.0),
    student_mean=0.75,
    student_ci=(0.5, 1.0),
    repeat_mean=1.0,
    repeat_ci=(1.0, 1.0),
    student_balanced=0.7,
    repeat_balanced=1.0,
)
RECORD = DistilRecord(
    rounds=(ROUND,),
    agreement=AGREEMENT,
    in_play_of={"student": AGREEMENT},
    num_judged=30,
    judged_tokens=0,
    judged_cost=0.75,
    gate=GateResult(name="teacher_agreement", verdict=Verdict.PASSED, detail="well"),
)


def written(**changes: Any) -> DistilFile:
    fields: dict[str, Any] = {
        "schema_version": 1,
        "teacher": "script",
        "teacher_sha256": None,
        "sampled": False,
        "settings": {"num_rounds": 1, "sharpness": 4.0, "strategy": "uniform"},
        "rounds": (ROUND,),
        "record": RECORD,
    }
    return DistilFile(**fields | changes)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    for record in (written(), written(record=None)):
        record.write(tmp_path / "distill.json")
        assert DistilFile.read(tmp_path / "distill.json") == record


def test_the_cost_of_a_thousand_decisions_is_over_all_questions() -> None:
    # (0.25 + 0.75) of 10 + 30 questions.
    assert RECORD.cost_per_1000 == pytest.approx(25.0) and RECORD.num_labels == 10
    assert AGREEMENT.share == 0.75


def test_it_is_refused_where_it_contradicts_itself(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="labels_sha256"):
        written(rounds=(DistilRound(**{**vars(ROUND), "labels_sha256": "no"}),), record=None)
    with pytest.raises(ReportError, match=r"rounds\.0\.number"):
        written(rounds=(DistilRound(**{**vars(ROUND), "number": 2}),), record=None)
    with pytest.raises(ReportError, match=r"record\.rounds"):
        written(rounds=())
    path = tmp_path / "distill.json"
    written().write(path)
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "settings": {**document["settings"], "sharpness": [4]}}))
    with pytest.raises(ReportError, match="settings"):
        DistilFile.read(path)
