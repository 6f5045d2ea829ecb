"""What the stages of a schedule need, and how their updates are planned."""

from __future__ import annotations

from dataclasses import replace

import pytest

from townlet_training.config import AnnealConfig, ScheduleConfig, StageConfig, TrainingConfig
from townlet_training.errors import ConfigError
from townlet_training.learning.config import PPOConfig
from townlet_training.run.state import ScheduleState
from townlet_training.scheduled.data import data_of, planned_update, record_seed, stages_of

STAGES = (StageConfig(cycle=1, epochs=3, bc_weight=0.25), StageConfig(cycle=0, mode="bc"))
ANNEAL = TrainingConfig(
    mode="anneal",
    seed=1,
    baselines=(),
    ppo=PPOConfig(learning_rate=1e-3, learning_rate_schedule="linear", clip_range=0.2),
    anneal=AnnealConfig(min_ratio=0.2),
    schedule=ScheduleConfig(stages=STAGES, policy_blend=True),
)


def test_learning_rate_and_ratio_by_hand() -> None:
    # Update 2 of 3: 1e-3 (1 - 1/3); the ratios of three rollouts are 0.2, 0.6 and 1.
    done = ScheduleState(num_lines=1, num_rollouts=1)
    planned = planned_update(ANNEAL, STAGES[0], "rollout", done)
    assert planned.learning_rate == pytest.approx(2e-3 / 3) and planned.clip_range == 0.2
    assert planned.ratio == pytest.approx(0.6) and planned.kickstart_coef == 0.25
    assert planned_update(ANNEAL, STAGES[0], "replay", done).ratio == 1.0


def test_mixed_updates_are_twice_as_many() -> None:
    mixed = replace(ANNEAL, mode="mixed", schedule=ScheduleConfig(epochs=3))
    (stage,) = stages_of(mixed)
    planned = planned_update(mixed, stage, "rollout", ScheduleState(num_lines=3))
    assert planned.learning_rate == pytest.approx(0.5e-3) and planned.kickstart_coef == 0.0


def test_stages_are_in_the_order_of_their_cycles_and_stable_within_one() -> None:
    stages = (StageConfig(cycle=1, epochs=5), StageConfig(cycle=0, mode="bc"), StageConfig(cycle=1, epochs=7))
    config = replace(ANNEAL, schedule=ScheduleConfig(stages=stages))
    assert [(stage.cycle, stage.epochs) for stage in stages_of(config)] == [(0, 1), (1, 5), (1, 7)]


def test_what_every_mode_learns_from() -> None:
    for mode, data in {"replay": ("replay",), "rollout": ("rollout",), "mixed": ("replay", "rollout")}.items():
        assert data_of(replace(ANNEAL, mode=mode), has_record=True) == data
    assert data_of(ANNEAL, has_record=True) == ("replay",) and data_of(ANNEAL, has_record=False) == ("rollout",)
    with pytest.raises(ConfigError, match="got bc"):
        data_of(replace(ANNEAL, mode="bc"), has_record=True)


def test_the_order_of_a_record_follows_from_the_seed_unless_it_has_its_own() -> None:
    assert record_seed(ANNEAL) == record_seed(ANNEAL) != record_seed(replace(ANNEAL, seed=2))
    assert record_seed(replace(ANNEAL, schedule=replace(ANNEAL.schedule, shuffle_seed=9))) == 9
