"""The plan of updates by hand: stages, schedules, and a ratio that follows from comparisons."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_training.config import AnnealConfig, TrainingConfig
from townlet_training.errors import ConfigError
from townlet_training.learning.config import PPOConfig
from townlet_training.planning import PlannedUpdate, Schedule, adapted_ratio, blend_ratio, plan, scheduled
from townlet_trajectory.evaluation.comparisons import difference_interval


def config(**changes: Any) -> TrainingConfig:
    return TrainingConfig(**{"seed": 1, "total_env_steps": 1000} | changes)


def schedule(
    *, num_warmup: int = 2, num_blend: int = 4, num_ppo: int = 4, min_ratio: float = 0.2, **ppo: str
) -> Schedule:
    config = TrainingConfig(
        seed=1,
        eval_every=3,
        anneal=AnnealConfig(min_ratio=min_ratio, kickstart_start=1.0, kickstart_end=0.2),
        ppo=PPOConfig(
            **{"learning_rate_schedule": "linear", "clip_schedule": "constant"} | ppo,
            learning_rate=8e-3,
            clip_range=0.16,
        ),
    )
    return Schedule(config=config, num_warmup=num_warmup, num_blend=num_blend, num_ppo=num_ppo)


def test_the_plan_of_ten_updates_by_hand() -> None:
    planned = [schedule().update(index) for index in range(10)]
    assert [each.stage for each in planned] == ["warmup"] * 2 + ["anneal"] * 4 + ["ppo"] * 4
    # 0.2 + 0.8 i / 4, and then 1 for good.
    assert [each.ratio for each in planned] == pytest.approx([1, 1, 0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1])
    # 1 - 0.8 i / 4, and then 0 for good.
    assert [each.kickstart_coef for each in planned] == pytest.approx([0, 0, 1, 0.8, 0.6, 0.4, 0, 0, 0, 0])
    assert [each.learning_rate for each in planned] == pytest.approx(
        [8e-3, 8e-3, 8e-3, 7e-3, 6e-3, 5e-3, 4e-3, 3e-3, 2e-3, 1e-3]
    )
    assert [each.clip_range for each in planned] == [0.16] * 10


def test_either_schedule_falls_or_stays() -> None:
    other = schedule(learning_rate_schedule="constant", clip_schedule="linear")
    planned = [other.update(index) for index in range(10)]
    assert [each.learning_rate for each in planned] == [8e-3] * 10
    assert [each.clip_range for each in planned] == pytest.approx(
        [0.16, 0.16, 0.16, 0.14, 0.12, 0.1, 0.08, 0.06, 0.04, 0.02]
    )


def test_evaluations_come_every_so_often_and_where_a_stage_ends() -> None:
    plan_ = schedule()
    # Counted after the warm-up: 3, 6, and 4 (end of the blend), 8 (the end).
    assert [done for done in range(1, 11) if plan_.evaluates_after(done)] == [5, 6, 8, 10]
    assert plan_.num_evaluations == 4


def test_the_policy_is_in_charge_once_the_blend_is_over() -> None:
    assert [schedule().acts_alone_after(done) for done in (2, 5, 6, 10)] == [False, False, True, True]


@pytest.mark.parametrize("index", [-1, 10])
def test_there_is_no_update_outside_of_the_plan(index: int) -> None:
    with pytest.raises(ConfigError, match=f"update {index} is outside of a plan of 10 updates"):
        schedule().update(index)


@given(
    num_warmup=st.integers(0, 5),
    num_blend=st.integers(0, 40),
    num_ppo=st.integers(1, 40),
    min_ratio=st.floats(0.1, 1.0),
)
def test_control_only_ever_passes_to_the_policy(
    num_warmup: int, num_blend: int, num_ppo: int, min_ratio: float
) -> None:
    plan_ = schedule(num_warmup=num_warmup, num_blend=num_blend, num_ppo=num_ppo, min_ratio=min_ratio)
    planned: list[PlannedUpdate] = [plan_.update(index) for index in range(num_warmup, plan_.num_updates)]
    for before, after in itertools.pairwise(planned):
        assert min_ratio <= before.ratio <= after.ratio <= 1.0
        assert before.kickstart_coef >= after.kickstart_coef >= 0.0
        assert before.learning_rate > after.learning_rate > 0.0
    assert planned[-1].ratio == 1.0


def test_steps_are_divided_into_updates() -> None:
    config = TrainingConfig(
        seed=1,
        total_env_steps=4 * 100 + 22 * 4 * 8 + 31,
        num_envs=4,
        rollout_ticks=8,
        anneal=AnnealConfig(clone_ticks=100, warmup_updates=2, blend_fraction=0.25),
        ppo=PPOConfig(learning_rate=0.5, learning_rate_schedule="constant", clip_range=0.3, clip_schedule="linear"),
    )
    result = plan(config)
    # 22 updates fit behind the clone: 2 for the warm-up, a quarter of the other 20 for the blend.
    assert (result.num_warmup, result.num_blend, result.num_ppo) == (2, 5, 15)
    # The last update: the learning rate stays, the clip range has fallen to 0.3 (1 - 19 / 20).
    assert (result.update(21).learning_rate, result.update(21).clip_range) == (0.5, pytest.approx(0.015))


def test_a_clone_of_data_takes_no_world_steps() -> None:
    config = TrainingConfig(
        seed=1,
        total_env_steps=22 * 4 * 8 + 31,
        num_envs=4,
        rollout_ticks=8,
        anneal=AnnealConfig(clone_ticks=10**4, warmup_updates=2, blend_fraction=0.25),
    )
    result = plan(config, from_data=True)
    assert (result.num_warmup, result.num_blend, result.num_ppo) == (2, 5, 15)


def test_ppo_alone_is_all_one_stage() -> None:
    result = plan(TrainingConfig(mode="ppo", seed=1, total_env_steps=11 * 32, num_envs=4, rollout_ticks=8))
    assert (result.num_warmup, result.num_blend, result.num_ppo) == (0, 0, 10)


def test_too_few_steps_for_every_stage_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"`total_env_steps` 1000 leaves 0 updates of 2048 steps"):
        plan(TrainingConfig(seed=1, total_env_steps=1000))
    with pytest.raises(ConfigError, match="one has to be left for PPO alone"):
        plan(TrainingConfig(seed=1, total_env_steps=10**6, anneal=AnnealConfig(blend_fraction=1.0)))


def test_a_run_that_does_not_clone_begins_with_one_rollout() -> None:
    # 10 worlds: 1000 - 10 · 40 leaves 6 updates of 100 steps; 1000 - 10 · 10 leaves 9.
    settings = config(num_envs=10, rollout_ticks=10, anneal=AnnealConfig(clone_ticks=40, warmup_updates=2))
    cloning, not_cloning = plan(settings), plan(settings, clones=False)
    assert (cloning.num_warmup, cloning.num_blend, cloning.num_ppo) == (2, 2, 2)
    assert (not_cloning.num_warmup, not_cloning.num_blend, not_cloning.num_ppo) == (2, 4, 3)


def test_steps_that_are_added_go_to_ppo_alone() -> None:
    # 6 updates at first, of which 2 warm up and half of 4 blend; 16 later.
    anneal = AnnealConfig(clone_ticks=40, warmup_updates=2)
    settings = config(num_envs=10, rollout_ticks=10, total_env_steps=2000, anneal=anneal)
    extended = plan(settings, first_total=1000)
    assert (extended.num_warmup, extended.num_blend, extended.num_ppo) == (2, 2, 12)
    first = plan(config(num_envs=10, rollout_ticks=10, anneal=anneal))
    assert [extended.update(index).ratio for index in range(6)] == [first.update(index).ratio for index in range(6)]
    # The learning rate follows the longer line from where it is: 1 - 5/14 of its start, not 1 - 3/4 as before.
    assert extended.update(7).learning_rate == pytest.approx(settings.ppo.learning_rate * (1 - 5 / 14))
    assert first.update(5).learning_rate == pytest.approx(settings.ppo.learning_rate * (1 - 3 / 4))


@pytest.mark.parametrize(
    ("kind", "values"),
    [("constant", [0.8, 0.8, 0.8]), ("linear", [0.8, 0.65, 0.2]), ("cosine", [0.8, 0.7121320343559643, 0.2])],
)
def test_schedules_by_hand(kind: Any, values: list[float]) -> None:
    """At a quarter of the way a line has gone a quarter, and half a cosine (1 - cos 45 degrees) / 2 = 0.146."""
    assert [scheduled(kind, 0.8, 0.2, done) for done in (0.0, 0.25, 1.0)] == pytest.approx(values)


@pytest.mark.parametrize(
    ("kind", "values"),
    [("constant", [0.2, 0.2, 0.2]), ("linear", [0.2, 0.35, 0.8]), ("cosine", [0.2, 0.2878679656440357, 0.8])],
)
def test_ratios_of_a_blend_by_hand(kind: Any, values: list[float]) -> None:
    anneal = AnnealConfig(min_ratio=0.2, end_ratio=0.8, ratio_schedule=kind)
    assert [blend_ratio(anneal, done) for done in (0.0, 0.25, 1.0)] == pytest.approx(values)


@given(
    start=st.floats(1e-6, 1.0),
    end=st.floats(0.0, 1.0),
    kind=st.sampled_from(["linear", "cosine"]),
    at=st.floats(0.0, 1.0),
)
def test_a_schedule_stays_between_its_ends_and_reaches_both(start: float, end: float, kind: Any, at: float) -> None:
    low, high = min(start, end), max(start, end)
    assert low - 1e-12 <= scheduled(kind, start, end, at) <= high + 1e-12
    assert scheduled(kind, start, end, 0.0) == pytest.approx(start)
    assert scheduled(kind, start, end, 1.0) == pytest.approx(end)


def test_every_setting_with_a_schedule_follows_it() -> None:
    ppo = PPOConfig(
        learning_rate=1.0,
        learning_rate_schedule="linear",
        learning_rate_end=0.5,
        clip_range=0.4,
        clip_schedule="cosine",
        clip_range_end=0.2,
        entropy_coef=0.1,
        entropy_schedule="linear",
        entropy_coef_end=0.0,
        gae_lambda=1.0,
        lambda_schedule="linear",
        gae_lambda_end=0.9,
    )
    run = config(mode="ppo", total_env_steps=16 * 128 * 5, ppo=ppo)
    half = plan(run).update(2)  # of four updates
    settings = (half.learning_rate, half.clip_range, half.entropy_coef, half.gae_lambda)
    assert settings == pytest.approx((0.75, 0.3, 0.05, 0.95))
    assert half.settings["entropy_coef"] == half.entropy_coef


def test_without_end_values_a_line_is_the_line_it_was() -> None:
    """Bit for bit: start x (1 - i / N), and the ratio min + (1 - min) x."""
    for done in np.linspace(0.0, 1.0, 37).tolist():
        assert scheduled("linear", 3e-4, 0.0, done) == 3e-4 * (1.0 - done)
        assert blend_ratio(AnnealConfig(), done) == 0.1 + (1.0 - 0.1) * done


def test_an_adapted_ratio_is_that_of_the_blend_alone() -> None:
    anneal = AnnealConfig(clone_ticks=128, warmup_updates=1, blend_fraction=0.5)
    schedule = plan(config(total_env_steps=16 * 128 * 6, anneal=anneal))
    ratios = [schedule.update(index, adapted=0.3).ratio for index in range(schedule.num_updates)]
    assert ratios == [1.0, 0.3, 0.3, 1.0, 1.0]
    assert [schedule.blends_after(done) for done in range(5)] == [False, True, True, False, False]


@pytest.mark.parametrize(
    ("interval", "ratio", "moved"),
    [
        ((-0.4, 3.0), 0.5, 0.6),  # not worse by more than the margin
        ((-0.5, 3.0), 0.5, 0.5),  # it may be
        ((-2.0, -0.5), 0.5, 0.5),  # nearly worse
        ((-2.0, -0.6), 0.5, 0.4),  # worse
        ((0.1, 0.2), 0.95, 1.0),  # no more than all decisions
        ((-2.0, -0.6), 0.25, 0.2),  # no less than the least
    ],
)
def test_a_ratio_moves_where_a_comparison_is_clear(interval: tuple[float, float], ratio: float, moved: float) -> None:
    anneal = AnnealConfig(min_ratio=0.2, ratio_step=0.1)
    assert adapted_ratio(ratio, interval, margin=0.5, anneal=anneal) == pytest.approx(moved)


@pytest.mark.parametrize(
    ("better_by", "spread", "least", "most"),
    [
        (0.5, 1.0, 1.0, 1.0),  # better: it rises to all decisions
        (-1.5, 1.0, 0.1, 0.1),  # worse: it stays at the least
        # Worse by exactly the margin: each bound is on the wrong side in a tenth of the comparisons, so that of the
        # steps as many go up as down.
        (-0.5, 1.0, 0.1, 1.0),
    ],
)
def test_the_ratio_rises_for_a_better_policy_and_falls_for_a_worse_one(
    better_by: float, spread: float, least: float, most: float
) -> None:
    anneal, rng, ratio = AnnealConfig(min_ratio=0.1, ratio_step=0.1), np.random.default_rng(0), 0.5
    moves = []
    for number in range(40):
        differences = rng.normal(better_by, spread, 20)
        interval = difference_interval(differences, level=0.2, seed=number, num_resamples=500)
        before, ratio = ratio, adapted_ratio(ratio, interval, margin=0.5, anneal=anneal)
        moves.append(round(ratio - before, 9))
    assert least <= ratio <= most
    if least < most:
        assert sum(move == 0.0 for move in moves) >= 24  # expected: four fifths of 40
        assert abs(sum(moves)) <= 0.5


def test_an_undecided_ratio_holds() -> None:
    """Episodes that scatter ten times as much as the policies differ say nothing, most of the time."""
    anneal, rng = AnnealConfig(), np.random.default_rng(1)
    held = 0
    for number in range(50):
        interval = difference_interval(rng.normal(-0.5, 5.0, 20), level=0.2, seed=number, num_resamples=500)
        held += adapted_ratio(0.5, interval, margin=0.5, anneal=anneal) == 0.5
    assert held >= 33
    assert math.isclose(adapted_ratio(0.5, (-9.0, 9.0), margin=0.5, anneal=anneal), 0.5)
