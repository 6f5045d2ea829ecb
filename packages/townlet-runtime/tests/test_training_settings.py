"""What a config says about training, as the trainer takes it."""

from collections.abc import Callable
from functools import partial
from importlib import resources
from itertools import product
from pathlib import Path
from typing import get_type_hints

import pytest

from townlet_runtime.cli.worlds import seed_of
from townlet_runtime.config import Config, config_from, dump_config, load_config, training_settings, with_training
from townlet_runtime.errors import ConfigError
from townlet_runtime.training_settings import (
    preset_name_for,
    preset_settings,
    settings_schema,
    training_config,
    training_fields,
)
from townlet_training import AnnealConfig, BCConfig, GatesConfig, PPOConfig
from townlet_training.errors import ConfigError as TrainingConfigError


def accepted(make: Callable[[], object], *, but: str = "nothing") -> bool:
    """Whether `make` raises no error about a setting, other than one that says `but`."""
    try:
        make()
    except (ConfigError, TrainingConfigError) as error:
        return but in str(error)
    return True


def config_of(**content: object) -> Config:
    return config_from(content, source="town.yaml").config


TOWN = ("scripted", "nearest", "idle")


def training_of(config: Config, mode: str = "anneal", seed: int = 5, behaviors: tuple[str, ...] = TOWN):
    settings = training_settings(config)
    return training_config(settings, preset_name=config.preset, mode=mode, seed=seed, behaviors=behaviors)


def test_without_a_preset_the_defaults_of_the_format_hold() -> None:
    training = training_of(config_of())
    ppo = training.ppo
    assert (ppo.learning_rate, ppo.clip_range, ppo.value_loss_coef, ppo.entropy_coef) == (3e-4, 0.2, 0.5, 0.01)
    assert (ppo.num_epochs, ppo.minibatch_size, ppo.num_minibatches, ppo.gae_lambda) == (4, None, 4, 0.95)
    assert (ppo.discount, ppo.max_grad_norm, ppo.value_clip, ppo.normalize_advantages) == (0.99, 0.5, 0.2, "batch")
    assert (training.rollout_ticks, training.bc.num_epochs, training.bc.batch_size) == (100, 10, 64)
    assert (training.gates.clone_accuracy, training.promotion.required_passes, training.seed) == (0.9, 2, 5)


def test_a_preset_gives_way_to_what_is_set() -> None:
    plain = training_of(config_of(preset="town"))
    changed = training_of(config_of(preset="town", ppo={"gamma": 0.5}, network={"hidden_sizes": [7]}))
    assert changed.ppo.discount == 0.5
    assert changed.network.hidden_sizes == (7,)
    assert changed.ppo.learning_rate == plain.ppo.learning_rate != 3e-4


def test_a_world_has_the_preset_of_its_name_or_the_one_for_any_world() -> None:
    assert preset_name_for("gymnasium:CartPole-v1") == "gymnasium:CartPole-v1"
    assert preset_name_for("gymnasium:Walk-v0") == "default"


def test_a_preset_says_more_than_ppo() -> None:
    cart_pole = training_of(config_of(preset="gymnasium:CartPole-v1"), mode="ppo", behaviors=())
    assert (cart_pole.ppo.minibatch_size, cart_pole.ppo.num_minibatches) == (256, None)
    assert (cart_pole.ppo.clip_schedule, cart_pole.network.value_scale) == ("linear", "none")
    assert (cart_pole.eval_every, cart_pole.eval_episodes) == (20, 20)
    lander = training_of(config_of(preset="gymnasium:LunarLander-v3", anneal={"clone_ticks": 99}))
    assert (lander.anneal.clone_ticks, lander.anneal.warmup_updates) == (99, 4)


def test_a_policy_is_compared_with_what_the_world_has_and_with_chance() -> None:
    assert training_of(config_of(), mode="ppo", behaviors=()).baselines == ("random",)
    assert training_of(config_of(), behaviors=("scripted",)).baselines == ("scripted", "random")
    assert training_of(config_of()).baselines == ("scripted", "nearest", "idle", "random")


@pytest.mark.parametrize("preset", ["town", "gymnasium:CartPole-v1", "gymnasium:LunarLander-v3", "default"])
def test_every_preset_is_written_out_whole(preset: str) -> None:
    config = config_of(preset=preset)
    training = training_of(config)
    full = with_training(config, mode="anneal", seed=5, fields=training_fields(training))
    assert training_of(full.model_copy(update={"preset": None})) == training


def test_minibatches_are_counted_or_sized_whichever_is_said() -> None:
    sized = training_of(config_of(preset="town", ppo={"mini_batch_size": 50})).ppo
    assert (sized.minibatch_size, sized.num_minibatches) == (50, None)
    both = training_of(config_of(ppo={"mini_batch_size": 50, "num_mini_batches": 3})).ppo
    assert (both.minibatch_size, both.num_minibatches) == (None, 3)
    assert training_of(config_of(ppo={"mini_batch_size": 50})).ppo.minibatch_size == 50


def test_null_means_unlimited_where_it_means_something() -> None:
    ppo = training_of(config_of(ppo={"value_clip": None, "target_kl": 0.02})).ppo
    assert (ppo.value_clip, ppo.target_kl) == (None, 0.02)


def test_every_name_is_a_field_of_the_trainer() -> None:
    fields = training_fields(training_of(config_of()))
    assert set(training_settings(config_of(preset="town"))) <= set(fields)


def test_written_out_it_no_longer_depends_on_the_preset() -> None:
    config = config_of(preset="town", ppo={"mini_batch_size": 50}, gates={"num_resamples": 200})
    training = training_of(config)
    full = with_training(config, mode="anneal", seed=5, fields=training_fields(training))
    assert (full.seed, full.training["source"]) == (5, "anneal")
    assert training_of(full) == training
    assert training_of(full.model_copy(update={"preset": None})) == training


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"preset": "tow"}, r"no preset `tow`; there are town"),
        ({"ppo": {"clip_param": 0.0}}, "`ppo.clip_param`: must be greater than 0, got 0"),
        ({"anneal": {"min_ratio": 0.05}}, "min_ratio"),
        ({"training": {"rollout_ticks": 0}}, "`training.rollout_ticks`: must be greater than or equal to 1, got 0"),
    ],
)
def test_what_the_trainer_refuses_is_a_config_error(content: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        training_of(config_of(**content))


@pytest.mark.parametrize(
    "content", [{}, {"seed": 5}, {"scenario": {"seed": 5}}, {"seed": 6, "scenario": {"seed": 5}}, {"scenario": {}}]
)
def test_the_config_of_a_run_reads_back_with_the_seed_of_the_run(content: dict[str, object], tmp_path: Path) -> None:
    config = config_of(**content)
    settings = training_settings(config)
    training = training_config(settings, preset_name=None, mode="ppo", seed=4, behaviors=TOWN)
    fields = training_fields(training)
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(with_training(config, mode="ppo", seed=4, fields=fields)))
    read = load_config(path).config
    assert (seed_of(read), read.seed) == (4, 4)
    assert read.scenario.seed == (4 if config.scenario.seed is not None else None)


def test_the_settings_known_without_the_trainer_are_those_that_it_declares() -> None:
    # After a change: python -c "from townlet_runtime.training_settings import *; print(settings_schema())"
    kept = resources.files("townlet_runtime.config").joinpath("data/training.json").read_text(encoding="utf-8")
    assert kept == settings_schema() + "\n"


def test_the_presets_known_without_the_trainer_are_those_that_it_has() -> None:
    # After a change: python -c "from townlet_runtime.training_settings import *; print(preset_settings())"
    kept = resources.files("townlet_runtime.config").joinpath("data/presets.json").read_text(encoding="utf-8")
    assert kept == preset_settings() + "\n"


def test_every_end_of_a_range_that_is_declared_holds_for_a_config_and_for_the_trainer() -> None:
    """The same limits, whether a number comes from a file or from Python."""
    checked = 0
    numbers = (-1, 0, 1e-9, 0.5, 1, 1.5, 2, 64, 65, 100, 101, 10**6, 10**6 + 1, 2**31, 2**63)
    for section, record in {"ppo": PPOConfig, "bc": BCConfig, "anneal": AnnealConfig, "gates": GatesConfig}.items():
        for name, value in product(get_type_hints(record), (*numbers, "x", True, None)):
            said = accepted(partial(config_of, **{section: {name: value}}))
            # What two fields say together is checked when both are known.
            made = accepted(partial(record, **{name: value}), but="must be at least `")
            assert said == made, (section, name, value)
            checked += 1
    assert checked > 400
