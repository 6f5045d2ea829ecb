"""What a config says: as settings of training, as YAML, as a digest, and beside another one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from pydantic import BaseModel

from townlet_runtime.config.schema import OF_THE_RUN, SECTIONS_OF_TRAINING, Config, Said
from townlet_runtime.config.sections import PolicySettings, idle_keys
from townlet_runtime.town.config import Effects, Needs, NeedsDecay, NeedsWeights
from townlet_trajectory.evaluation.promotion import PromotionConfig
from townlet_trajectory.evaluation.results import Mode
from townlet_trajectory.storage.json import JsonValue, canonical_json
from townlet_trajectory.storage.yaml import dump_yaml


def training_mode(config: Config) -> Mode:
    """Return the mode of training: that of `training.source`, and `anneal` where the file is silent."""
    mode: Mode = config.training.get("source", "anneal")
    return mode


def is_scheduled(config: Config, mode: Mode) -> bool:
    """Whether training in `mode` follows a schedule: one of `ScheduledRun`, not of `TrainingOrchestrator`."""
    return mode in ("replay", "rollout", "mixed") or (mode == "anneal" and bool(config.schedule.get("stages")))


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
    settings = {name: value for name, value in config.training.items() if name not in OF_THE_RUN}
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
        "training": {**_of_the_run(config), **plain, "source": mode},
    }
    return config.model_copy(update={**changed, **said})


def _of_the_run(config: Config) -> dict[str, Any]:
    """What `training` says that is no setting of `TrainingConfig`."""
    return {name: value for name, value in config.training.items() if name in OF_THE_RUN}


ADDED = {
    "policy": tuple(PolicySettings.model_fields),
    "environment": ("actions", "global_state", "max_entities", "observation_kinds"),
}
"""Keys by section that came later than the section, or than release 0.1: a run of before, which noted none of them, has
the digest of a silent one."""
SAID_ELSEWHERE = frozenset({"behavior.personality_profiles", "behavior.reward_multipliers"})
"""Fields of `ScriptedConfig` that `personality` says, for the town and the script at once."""


class Difference(NamedTuple):
    """A key that two configs say different things of."""

    key: str
    first: JsonValue
    """None: null, or not said."""
    second: JsonValue


def dump_config(config: Config) -> str:
    """Return the YAML of `config`; comments and keys without effect are left out."""
    return dump_yaml(resolved(config))


def config_digest(config: Config) -> str:
    """Return the SHA-256 of the canonical JSON of `noted`: equal where two configs mean the same, hexadecimal."""
    return hashlib.sha256(canonical_json(noted(config))).hexdigest()


def config_differences(first: Config, second: Config) -> list[Difference]:
    """Return every dotted key that `first` and `second` say different things of, in order of the keys."""
    one, two = (dict(leaves_of_content(resolved(config))) for config in (first, second))
    return [
        Difference(key, one.get(key), two.get(key))
        for key in sorted(one.keys() | two.keys())
        if (key in one, one.get(key)) != (key in two, two.get(key))
    ]


def resolved(config: Config) -> dict[str, JsonValue]:
    """Return every key of `config` that has an effect, with its value, as a file would say it."""
    content = _section(config)
    content["town"] = {name: _plain(value) for name, value in config.town.items() if value is not None}
    for key in SAID_ELSEWHERE | idle_keys(config.environment.name):
        section, _, name = key.rpartition(".")
        inside = content.get(section) if section else content
        if isinstance(inside, dict):
            inside.pop(name, None)
    return {key: value for key, value in content.items() if value != {}}


def noted(config: Config) -> dict[str, JsonValue]:
    """Return what a run notes of `config`: as `resolved`, without what `ADDED` keys say by default."""
    content = resolved(config)
    for section, keys in ADDED.items():
        silent, said = _section(Config.model_fields[section].get_default()), content.get(section)
        if isinstance(said, dict):
            added = {key for key in keys if said.get(key) == silent.get(key)}
            content[section] = {key: value for key, value in said.items() if key not in added}
    return {section: value for section, value in content.items() if value != {}}


def _section(section: BaseModel) -> dict[str, JsonValue]:
    content = {name: _plain(vars(section)[name]) for name in type(section).model_fields}
    return {name: value for name, value in content.items() if value is not None}


def _plain(value: object) -> JsonValue:
    if isinstance(value, BaseModel):
        return _section(value)
    if is_dataclass(value):
        content = {field.name: _plain(vars(value)[field.name]) for field in fields(value)}
        return {name: item for name, item in content.items() if item is not None}
    if isinstance(value, Needs | NeedsWeights | NeedsDecay | Effects):
        return {name: _plain(item) for name, item in value._asdict().items()}
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a config holds a {type(value).__name__}, which no file can")


def leaves_of_content(content: JsonValue, key: str = "") -> Iterator[tuple[str, JsonValue]]:
    """Yield every value that is no section, by dotted key."""
    if not isinstance(content, dict) or not content:
        yield key, content
        return
    for name, value in content.items():
        yield from leaves_of_content(value, f"{key}.{name}" if key else name)
