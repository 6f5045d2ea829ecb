"""Settings of training: of a preset, changed by a config, and told to those who read them without the trainer."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

from pydantic import TypeAdapter, ValidationError

from townlet_runtime.errors import ConfigError
from townlet_runtime.runs.nested import Nested, Setting, leaves_of, put_at, without_prose
from townlet_runtime.training import TrainingConfig, TrainingConfigError, preset, preset_for
from townlet_trajectory.evaluation.results import RANDOM

CONTRACT = "contract"
"""The preset that holds the defaults of the config file format."""
_LABELS = frozenset({"name", "source"})
"""Fields of a preset that are no settings."""


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
    """Return the JSON schema of `TrainingConfig`; `townlet_runtime.config` keeps a copy, to be read without torch."""
    return json.dumps(without_prose(TypeAdapter(TrainingConfig).json_schema()), indent=1)


def training_fields(config: TrainingConfig) -> dict[str, Setting]:
    """Return every setting of `config` by dotted field."""
    return dict(leaves_of(config))
