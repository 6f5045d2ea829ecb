"""Collect the settings of training that a config states, by townlet-training's own names."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from townlet_runtime.config.schema import SECTIONS_OF_TRAINING, Config, Said, Source
from townlet_runtime.errors import ConfigError
from townlet_trajectory.evaluation.promotion import PromotionConfig
from townlet_trajectory.evaluation.results import Mode

_MODES: Mapping[Source, Mode] = MappingProxyType({"rollout": "ppo", "ppo": "ppo", "bc": "bc", "anneal": "anneal"})


def training_mode(config: Config) -> Mode:
    """Return the mode of training: that of `training.source`, and `anneal` where the file is silent.

    Raises:
        ConfigError: if the source is one that needs recorded captures.
    """
    source: Source = config.training.get("source", "anneal")
    if source not in _MODES:
        raise ConfigError(
            f"expected one of {', '.join(_MODES)}, got {source}; say what to train with --mode", key="training.source"
        )
    return _MODES[source]


def training_settings(config: Config) -> dict[str, Any]:
    """Return every setting that the config states, by dotted field of `TrainingConfig`; all else is the preset's."""
    ppo = dict(config.ppo)
    # Two ways to say how many rows a gradient step sees, and the file format has defaults for both: the count wins.
    for said, other in (("num_minibatches", "minibatch_size"), ("minibatch_size", "num_minibatches")):
        if ppo.get(said) is not None:
            ppo[other] = None
            break
    sections: dict[str, Said] = {**{name: vars(config)[name] for name in SECTIONS_OF_TRAINING}, "ppo": ppo}
    sections["promotion"] = vars(config.promotion)
    settings = {name: value for name, value in config.training.items() if name != "source"}
    return settings | {f"{section}.{name}": value for section, said in sections.items() for name, value in said.items()}


def with_training(config: Config, *, mode: Mode, seed: int, fields: Mapping[str, Any]) -> Config:
    """Return `config` with every value of training written out, so that it no longer depends on a preset.

    Args:
        config: of the run, with or without a preset.
        mode: of training, written as `training.source`.
        seed: of the run; replaces every seed that the file states.
        fields: every dotted field of the `TrainingConfig` in use.

    Returns:
        The config; `training_settings` of it are `fields`, those that a run is given apart from its config left out.

    Raises:
        PromotionError: if a setting of the promotion is out of range.
    """
    said: dict[str, dict[str, Any]] = {name: {} for name in (*SECTIONS_OF_TRAINING, "promotion", "training")}
    for field, value in fields.items():
        section, _, name = field.rpartition(".")
        said[section or "training"][name] = value
    plain = {name: value for name, value in said.pop("training").items() if name not in ("mode", "seed", "baselines")}
    scenario = config.scenario
    if scenario.seed is not None:
        # It would win over `seed` when the file is read back.
        scenario = scenario.model_copy(update={"seed": seed})
    changed = {
        "seed": seed,
        "scenario": scenario,
        "promotion": PromotionConfig(**said.pop("promotion")),
        "training": {**plain, "source": mode},
    }
    return config.model_copy(update={**changed, **said})
