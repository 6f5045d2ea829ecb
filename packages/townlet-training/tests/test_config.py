"""Settings that contradict themselves or each other are refused by name."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_training.config import AnnealConfig, GatesConfig, TrainingConfig
from townlet_training.errors import ConfigError
from townlet_training.learning.config import PPOConfig
from townlet_training.network.spec import PolicySpec
from townlet_training.planning import PlannedUpdate, Schedule, plan


def config(**changes: Any) -> TrainingConfig:
    return TrainingConfig(**{"seed": 1, "total_env_steps": 1000} | changes)


def test_the_defaults_agree_with_each_other() -> None:
    defaults = config()
    assert defaults.mode == "anneal"
    assert defaults.acting == "greedy"
    assert defaults.anneal.min_ratio == defaults.ppo.min_ratio == 0.1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mode", "dagger"),
        ("acting", "drunk"),
        ("seed", -1),
        ("seed", 2**31),
        ("total_env_steps", 0),
        ("num_envs", 0),
        ("rollout_ticks", 0),
        ("eval_every", 0),
        ("eval_episodes", 1),
        ("final_episodes", 1),
        ("keep_checkpoints", 0),
        ("baselines", ("scripted", "")),
        ("baselines", ("scripted", "scripted")),
        ("baselines", ("scripted",)),
        ("baselines", ("idle", "random")),
        ("baselines", ("scripted", "idle", "clone")),
        ("baselines", ("scripted", "idle", "\ud800")),
        ("eval_episodes", 9),
        ("final_episodes", 9),
    ],
)
def test_a_run_out_of_range_is_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        config(**{name: value})


def test_ppo_alone_needs_no_script_to_compare_with() -> None:
    assert config(mode="ppo", baselines=("random",)).baselines == ("random",)


def test_the_anneal_takes_either_zero() -> None:
    for zero in ("idle", "random"):
        assert config(baselines=("scripted", zero)).baselines == ("scripted", zero)


def test_decisions_of_the_blend_must_be_ones_that_are_trained_on() -> None:
    with pytest.raises(ConfigError, match=r"`anneal.min_ratio` 0.1 must not be below `ppo.min_ratio` 0.2"):
        config(ppo=PPOConfig(min_ratio=0.2))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("clone_ticks", 0),
        ("held_out_fraction", 0.0),
        ("held_out_fraction", 1.0),
        ("warmup_updates", -1),
        ("blend_fraction", 1.1),
        ("min_ratio", 0.0),
        ("min_ratio", float("nan")),
        ("kickstart_end", -0.1),
        ("kickstart_end", float("nan")),
        ("max_retries", -1),
    ],
)
def test_an_anneal_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        AnnealConfig(**{name: value})


def test_kickstart_does_not_rise() -> None:
    with pytest.raises(ConfigError, match=r"`kickstart_start` must be at least `kickstart_end` 0.5, got 0.4"):
        AnnealConfig(kickstart_start=0.4, kickstart_end=0.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [("clone_accuracy", 1.5), ("kept_fraction", -0.1), ("level", 0.0), ("num_resamples", 10)],
)
def test_gates_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        GatesConfig(**{name: value})


@pytest.mark.parametrize(
    "changes",
    [
        {"world": ""},
        {"vocabulary": ()},
        {"vocabulary": ("wait", "wait")},
        {"observation_shapes": {}},
        {"observation_shapes": {"action_mask": (3,)}},
    ],
)
def test_a_policy_must_see_and_choose(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        PolicySpec(**{"world": "w", "vocabulary": ("wait", "go"), "observation_shapes": {"x": (1,)}} | changes)


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


@pytest.mark.property
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
