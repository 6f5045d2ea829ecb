"""Settings that contradict themselves or each other are refused by name."""

from typing import Any

import pytest

from townlet_training.config import AnnealConfig, DaggerConfig, GatesConfig, TrainingConfig
from townlet_training.errors import ConfigError
from townlet_training.learning.config import PPOConfig
from townlet_training.network.spec import PolicySpec


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
        ("mode", "other"),
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


def test_the_ratio_of_a_blend_does_not_fall() -> None:
    with pytest.raises(ConfigError, match="`end_ratio` must be at least `min_ratio` 0.5, got 0.4"):
        AnnealConfig(min_ratio=0.5, end_ratio=0.4)


def test_only_an_anneal_adapts_its_ratio() -> None:
    adaptive = AnnealConfig(adaptive_ratio=True)
    assert config(anneal=adaptive).adapts_ratio
    assert not config(mode="ppo", anneal=adaptive).adapts_ratio
    assert not config().adapts_ratio


def test_rounds_say_how_long_a_run_of_dagger_is() -> None:
    dagger = config(mode="dagger", num_envs=4, dagger=DaggerConfig(rounds=3, ticks=50))
    assert (dagger.planned_env_steps, config().planned_env_steps) == (600, 1000)
