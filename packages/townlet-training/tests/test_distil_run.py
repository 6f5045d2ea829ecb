"""A whole distillation in small corridors: rounds, budget, agreement, gate, and what is left behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from corridor import SPEC, CorridorCollector, CorridorEvaluator
from pairs import SPECS as PAIR_SPECS
from teaching import ClockTeacher, CorridorPlay

from townlet_training.config import ONE_GROUP, GatesConfig, TrainingConfig
from townlet_training.distil.config import DistilConfig
from townlet_training.distil.run import LABELS_NAME, DistilProgress, DistilRun
from townlet_training.errors import ConfigError, ResumeError
from townlet_training.learning.config import BCConfig
from townlet_training.network.config import NetworkConfig
from townlet_training.run.initial import initial_of_run
from townlet_trajectory.evaluation.gates import Verdict
from townlet_trajectory.evaluation.promotion import PromotionConfig
from townlet_trajectory.evaluation.results import DistilRecord, DistilRound, RunSummary
from townlet_trajectory.formats.batch_file import load_batch

CONFIG = TrainingConfig(
    mode="bc",
    baselines=("scripted", "idle", "random"),
    seed=7,
    num_envs=4,
    eval_episodes=10,
    final_episodes=10,
    network=NetworkConfig(hidden_sizes=(16,)),
    bc=BCConfig(num_epochs=2, learning_rate=1e-2, batch_size=16),
    gates=GatesConfig(num_resamples=200),
    promotion=PromotionConfig(num_episodes=10, num_resamples=200),
)
DISTIL = DistilConfig(
    num_rounds=3, labels_per_round=4, round_ticks=24, num_steps=150, held_out_episodes=8, states_per_episode=12
)


@contextmanager
def collector(seed: int) -> Iterator[CorridorCollector]:
    yield CorridorCollector(4, seed=seed % 1000)


def distilled(
    run_dir: Path, teacher: ClockTeacher | None = None, distil: DistilConfig = DISTIL, **hooks: Any
) -> tuple[RunSummary, DistilRecord | None]:
    run_dir.mkdir(exist_ok=True)
    mind = ClockTeacher() if teacher is None else teacher
    return DistilRun(
        CONFIG,
        distil,
        mind,
        specs={ONE_GROUP: SPEC},
        collector=collector,
        held_out=CorridorPlay(mind),
        evaluator=CorridorEvaluator(),
        run_dir=run_dir,
        **hooks,
    ).run()


def test_a_student_learns_its_teacher_within_the_budget(tmp_path: Path) -> None:
    teacher, seen = ClockTeacher(), list[DistilProgress]()
    distil = DISTIL
    summary, record = distilled(tmp_path / "run", teacher, distil, on_progress=seen.append)
    assert record is not None and not summary.interrupted
    assert [each.num_asked for each in record.rounds] == [4, 4, 4] and record.num_labels == 12
    # Twice 12 states of 8 episodes of the student's play; 12 + 12 of the teacher's.
    assert record.num_judged == 8 * 24 + 8 * 24
    assert teacher.num_asked == record.num_labels + record.num_judged
    assert record.cost_per_1000 == pytest.approx(500.0)
    assert record.rounds[0].agreement_before is None and record.rounds[2].agreement_before is not None
    assert record.agreement.repeat_mean == 1.0 and record.agreement.student_mean > 0.9
    assert record.gate.verdict is Verdict.PASSED and summary.failure is None
    assert summary.clone is not None
    assert summary.clone.results[ONE_GROUP].episode_accuracies == record.agreement.student
    assert [each.num_labels for each in seen] == [0, 4, 8, 12] and seen[-1].stage == "judge"
    # The student is what was exported, and what another run can begin with.
    assert summary.policies[ONE_GROUP].path.exists()
    assert initial_of_run(tmp_path / "run").sha256 == summary.weights_sha256
    found = load_batch(tmp_path / "run" / LABELS_NAME / "round-001.npz")
    assert found.num_steps == 4


def test_a_teacher_that_contradicts_itself_is_the_measure(tmp_path: Path) -> None:
    _, record = distilled(tmp_path / "run", ClockTeacher(wrong=0.3))
    assert record is not None
    # 0.7² + 0.3² = 0.58; the best student says what the teacher says most often, which is 0.7 of its answers.
    assert 0.45 < record.agreement.repeat_mean < 0.7
    assert "against 0.5" in record.gate.detail or "against 0.4" in record.gate.detail


def test_a_student_that_learned_too_little_fails_the_gate(tmp_path: Path) -> None:
    distil = replace(DISTIL, num_rounds=1, labels_per_round=1, held_out_episodes=40)
    summary, record = distilled(tmp_path / "run", distil=distil)
    assert record is not None and record.gate.failed
    assert summary.failure is not None and "teacher_agreement" in summary.failure
    assert summary.promotion is not None and summary.promotion.decision == "FAIL"


def test_a_run_that_was_stopped_goes_on_to_the_same_student(tmp_path: Path) -> None:
    whole, expected = distilled(tmp_path / "whole")
    rounds, asked = list[Sequence[DistilRound]](), list[int]()

    def stop() -> bool:
        return len(rounds) == 2

    stopped, nothing = distilled(tmp_path / "run", on_round=rounds.append, stop=stop)
    assert stopped.interrupted and nothing is None and len(rounds[-1]) == 2
    teacher = ClockTeacher()
    resumed, record = distilled(
        tmp_path / "run", teacher, rounds=rounds[-1], on_round=lambda each: asked.append(len(each))
    )
    assert record == expected and asked == [3]
    assert resumed.weights_sha256 == whole.weights_sha256
    assert (resumed.counters, resumed.history) == (whole.counters, whole.history)
    assert expected is not None and teacher.num_asked == 4 + expected.num_judged


def test_a_run_that_was_killed_while_it_was_scored_is_judged_again(tmp_path: Path) -> None:
    whole, expected = distilled(tmp_path / "run")
    assert expected is not None
    again, record = distilled(tmp_path / "run", rounds=expected.rounds)
    assert record == expected and again.weights_sha256 == whole.weights_sha256
    with pytest.raises(ResumeError, match=r"`notes\.distil`"):
        distilled(tmp_path / "run", distil=replace(DISTIL, num_rounds=4), rounds=expected.rounds)


def test_labels_that_were_exchanged_are_refused(tmp_path: Path) -> None:
    rounds = list[Sequence[DistilRound]]()
    distilled(tmp_path / "run", on_round=rounds.append, stop=lambda: len(rounds) == 1)
    path = tmp_path / "run" / LABELS_NAME / "round-001.npz"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ConfigError, match=r"round-001\.npz: not the labels of round 1"):
        distilled(tmp_path / "run", rounds=rounds[-1])


def test_one_group_and_mode_bc_are_asked_for(tmp_path: Path) -> None:
    common: dict[str, Any] = {
        "collector": collector,
        "held_out": CorridorPlay(ClockTeacher()),
        "evaluator": CorridorEvaluator(),
        "run_dir": tmp_path,
    }
    with pytest.raises(ConfigError, match="one policy in mode `bc`"):
        DistilRun(CONFIG, DISTIL, ClockTeacher(), specs=PAIR_SPECS, **common)
    with pytest.raises(ConfigError, match="and ppo"):
        DistilRun(replace(CONFIG, mode="ppo"), DISTIL, ClockTeacher(), specs={ONE_GROUP: SPEC}, **common)
