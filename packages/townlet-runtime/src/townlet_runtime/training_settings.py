"""Settings of training: of a preset, changed by a config, and told to those who read them without the trainer."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from townlet_runtime.config.prose import prose_of, sections_of
from townlet_runtime.errors import ConfigError
from townlet_runtime.runs.nested import Nested, Setting, leaves_of, put_at, without_prose
from townlet_runtime.training import TrainingConfig, TrainingConfigError, preset, preset_for, preset_names
from townlet_trajectory.evaluation.results import RANDOM
from townlet_trajectory.storage.json import JsonValue

CONTRACT = "contract"
"""The preset that holds the defaults of the config file format."""
_LABELS = frozenset({"name", "source"})
"""Fields of a preset that are no settings."""
_OF_RUN = frozenset({"mode", "seed", "baselines"})
"""Fields that a run is given apart from its preset."""


def preset_name_for(world: str) -> str:
    """Return the name of the preset made for `world`, else of the one for any world."""
    own = preset_for(world)
    return preset("default").name if own is None else own.name


def training_config(
    settings: Mapping[str, Setting], *, preset_name: str | None, mode: str, seed: int, behaviors: Collection[str]
) -> TrainingConfig:
    """Return the config of a run: the preset, changed by `settings`.

    Args:
        settings: values by dotted field of `TrainingConfig`.
        preset_name: None: the defaults of the config file format.
        mode: `anneal`, `ppo` or `bc`.
        seed: of the run, at least 0.
        behaviors: of the world; the policy is compared with them, and with chance.

    Returns:
        The config, checked.

    Raises:
        ConfigError: if there is no such preset, or a value is out of range.
    """
    baselines = (*behaviors, RANDOM)
    content: Nested = {"mode": mode, "seed": seed, "baselines": baselines}
    try:
        start = dict(leaves_of(preset(CONTRACT if preset_name is None else preset_name)))
        settings = {**{name: value for name, value in start.items() if name not in _LABELS}, **settings}
        for name, value in settings.items():
            put_at(content, name.split("."), value)
        return TypeAdapter(TrainingConfig).validate_python(content)
    except TrainingConfigError as error:
        raise ConfigError(str(error), key="preset") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        problem = first["msg"].removeprefix("Value error, ")
        if first["type"] != "value_error":
            problem = f"{problem.replace('Input should be', 'must be', 1)}, got {first['input']!r}"
        raise ConfigError(problem, key=".".join(map(str, first["loc"])) or None) from error


def settings_schema() -> str:
    """Return the JSON schema of `TrainingConfig`, with what each field says about itself.

    `townlet_runtime.config` keeps a copy, to be read without torch.
    """
    schema = without_prose(TypeAdapter(TrainingConfig).json_schema())
    if isinstance(schema, dict) and isinstance(definitions := schema["$defs"], dict):
        for record in sections_of(TrainingConfig):
            _describe(schema if record is TrainingConfig else definitions[record.__name__], record)
    return json.dumps(schema, indent=1)


def preset_settings() -> str:
    """Return the settings of every preset by dotted field, as JSON.

    `townlet_runtime.config` keeps a copy, to be read without torch.
    """
    named = {
        each: {name: value for name, value in training_fields(_start_of(each)).items() if name not in _OF_RUN}
        for each in preset_names()
    }
    return json.dumps(named, indent=1)


def _start_of(name: str) -> TrainingConfig:
    return training_config({}, preset_name=name, mode="ppo", seed=0, behaviors=())


def _describe(part: JsonValue, record: type[Any]) -> None:
    if not isinstance(part, dict):
        return
    part["description"] = (record.__doc__ or "").partition("\n")[0]
    properties = part.get("properties")
    for name, text in prose_of(record).items():
        if isinstance(properties, dict) and isinstance(inner := properties.get(name), dict):
            inner["description"] = text


def training_fields(config: TrainingConfig) -> dict[str, Setting]:
    """Return every setting of `config` by dotted field."""
    return dict(leaves_of(config))
