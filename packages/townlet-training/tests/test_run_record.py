"""What a run remembers is what it remembers after it was read from a file."""

from dataclasses import replace
from pathlib import Path

import pytest
from corridor import scores

from townlet_training.config import TrainingConfig
from townlet_training.errors import CheckpointError, NonFiniteError
from townlet_training.run.evaluator import JudgeMemory
from townlet_training.run.history import RUN_RECORD, Course, RunRecord
from townlet_training.run.log_file import LogMark
from townlet_training.run.metrics import AnnealContext, ScriptedBaseline
from townlet_training.run.typed_json import encode_record, parse_record
from townlet_trajectory.evaluation.gates import GateResult
from townlet_trajectory.evaluation.results import CloneEpoch, CloneRecord, CloneResult, EvaluationRecord

GATE = GateResult(name="kept_score_96", passed=False, detail="mean -0.1")
EVALUATION = EvaluationRecord(
    env_steps=96,
    agent_steps=192,
    stage="anneal",
    ratio=0.1 + 0.2,
    attempt=1,
    return_mean=1 / 3,
    return_ci=(-1e-17, 2.0),
    normalized=None,
    baselines={"scripted": 5.0, "idle": -0.0},
    gate=GATE,
)
RESULT = CloneResult(
    epochs=(CloneEpoch(epoch=1, loss=0.7, held_out_accuracy=0.5), CloneEpoch(epoch=2, loss=0.3, held_out_accuracy=1.0)),
    best_epoch=2,
    accuracy=1.0,
    num_labels=10,
    num_held_out=4,
    num_forbidden=0,
)
STORED = scores([1 / 3, 2.0])
RECORD = RunRecord(
    config=TrainingConfig(seed=1, total_env_steps=1000, baselines=("scripted", "random")),
    notes={"controller": "heuristic"},
    course=Course(
        prepared=True,
        good=96,
        best=replace(EVALUATION, env_steps=64, gate=None),
        clone=CloneRecord(results={"agents": RESULT}, evaluation=replace(EVALUATION, env_steps=32)),
        clone_scores=STORED,
        history=(EVALUATION, EVALUATION),
        failure=GATE,
        judge=JudgeMemory(num_intervals=7, baselines={"scripted": STORED}),
    ),
    baselines={
        "agents": ScriptedBaseline(num_trajectories=2, num_steps=9, reward_sum=0.1, events_per_env_step={"meals": 0.1})
    },
    anneal={"agents": AnnealContext(accuracy=0.97, threshold=0.9, passed=True)},
    num_left_out=3,
    log=LogMark(size=12, sha256="ab" * 32),
    elapsed=1.25,
    timings={"clone": 0.5},
)
HERE = Path("run.json")


def test_a_record_survives_its_file() -> None:
    data = encode_record(RUN_RECORD, RECORD)
    assert parse_record(RUN_RECORD, data, HERE) == RECORD
    assert encode_record(RUN_RECORD, parse_record(RUN_RECORD, data, HERE)) == data


def test_the_gates_are_those_of_the_evaluations() -> None:
    without = replace(EVALUATION, gate=None)
    assert replace(RECORD.course, history=(EVALUATION, without, EVALUATION)).gates == (GATE, GATE)


def test_a_course_protects_what_it_may_go_back_to() -> None:
    assert RECORD.course.protected == {96, 64, 32}
    assert RECORD.course.candidate == 64
    without_best = replace(RECORD.course, best=None, clone=None)
    assert (without_best.protected, without_best.candidate) == ({96}, 96)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((b'"num_left_out":3', b'"num_left_out":"3"'), "num_left_out: Input should be a valid integer"),
        ((b'"num_left_out":3', b'"surplus":3'), "num_left_out: Field required"),
        ((b'"good":96', b'"good":null'), "course.good: Input should be a valid integer"),
        ((b'"seed":1', b'"seed":-1'), r"config.seed: Input should be greater than or equal to 0"),
        ((b'"stage":"anneal"', b'"stage":"lunch"'), "stage: Input should be 'clone', 'warmup', 'anneal' or 'ppo'"),
        ((b'"elapsed":1.25', b'"elapsed":NaN'), "NaN is not a number"),
        ((b'"elapsed":1.25', b'"elapsed":1.25, "elapsed":2.0'), "repeated keys"),
    ],
)
def test_a_record_of_other_types_is_refused(change: tuple[bytes, bytes], reason: str) -> None:
    data = encode_record(RUN_RECORD, RECORD)
    assert change[0] in data
    with pytest.raises(CheckpointError, match=f"run.json.*{reason}"):
        parse_record(RUN_RECORD, data.replace(change[0], change[1], 1), HERE)


def test_unknown_keys_are_refused() -> None:
    data = encode_record(RUN_RECORD, RECORD).replace(b'"num_left_out":3', b'"num_left_out":3,"more":1')
    with pytest.raises(CheckpointError, match="more: Unexpected keyword argument"):
        parse_record(RUN_RECORD, data, HERE)


def test_numbers_that_are_not_finite_are_not_written() -> None:
    with pytest.raises(NonFiniteError, match="checkpoint: RunRecord: Out of range float values"):
        encode_record(RUN_RECORD, replace(RECORD, elapsed=float("inf")))
