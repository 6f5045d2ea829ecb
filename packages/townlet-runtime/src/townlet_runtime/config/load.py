"""A config file and overrides become a checked `Config`, or one error that names file, key and nearest known key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pydantic import ValidationError

from townlet_runtime.config.affordances import FILE_KEY, read_affordances
from townlet_runtime.config.keys import keys_without_effect, nearest_key
from townlet_runtime.config.overrides import Override, apply_overrides
from townlet_runtime.config.problems import path_of, problem_of
from townlet_runtime.config.schema import Config
from townlet_runtime.config.schema.environment import TOWN
from townlet_runtime.config.town_affordances import with_affordances
from townlet_runtime.config.yaml_reader import Yaml, parse_yaml, read_yaml
from townlet_runtime.errors import ConfigError
from townlet_runtime.town.config import OBJECT_TYPES

BUILT_IN = "(built-in config)"
"""What errors call the config that is used where no file is given."""


@dataclass(frozen=True, kw_only=True)
class LoadedConfig:
    """A checked config and what there is to say about it."""

    config: Config
    source: str
    """The file's path, or `BUILT_IN`."""
    warning: str | None
    """Names every key that has no effect."""


def load_config(path: Path | None, overrides: Sequence[Override] = ()) -> LoadedConfig:
    """Read `path` (None: the built-in config), carry out `overrides`, check the result.

    Raises:
        ConfigError: names the file or the override, the key, what was expected, and the nearest known key.
    """
    source = BUILT_IN if path is None else str(path)
    content = _built_in(overrides) if path is None else read_yaml(path)
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise ConfigError("expected sections (`key: value`) at the top", file=source)
    for override in overrides:
        if override.path[0] not in Config.model_fields and override.path[0] not in content:
            raise _unknown(override.path, override.label)
    content = apply_overrides(content, overrides)
    unknown = [key for key in content if key not in Config.model_fields]
    config = _checked({key: value for key, value in content.items() if key not in unknown}, overrides, source)
    config, idle = _with_affordance_file(config, Path() if path is None else path.parent, source)
    return LoadedConfig(config=config, source=source, warning=_warning(config, unknown, idle, source))


def _with_affordance_file(config: Config, folder: Path, source: str) -> tuple[Config, Sequence[str]]:
    """The config with what its affordance file says, if it names one, and what of the file has no effect."""
    if not config.environment.is_town or "affordances_file" not in config.affordances.model_fields_set:
        return config, ()
    name = config.affordances.affordances_file
    file, place = read_affordances(name, folder, source=source)
    replaced = [] if place is not None else [f"{FILE_KEY} (found no {name}; the built-in copy of it is used)"]
    return with_affordances(config, file), (*replaced, *file.without_effect)


def _built_in(overrides: Sequence[Override]) -> Yaml:
    """The built-in config, which is about the town: nothing where `overrides` name another environment."""
    named = [override.value for override in overrides if override.path == ("environment", "name")]
    if named and named[-1] != TOWN:
        return {}
    file = resources.files("townlet_runtime.config").joinpath("data/default.yaml")
    return parse_yaml(file.read_text(encoding="utf-8"), source=BUILT_IN)


def _checked(content: dict[str, Yaml], overrides: Sequence[Override], source: str) -> Config:
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        details = error.errors(include_url=False)
        unknown = [detail for detail in details if detail["type"] == "extra_forbidden"]
        first = (unknown or details)[0]
        path = path_of(first, content)
        origin = _origin(path, overrides, source)
        if unknown:
            raise _unknown(path, origin) from error
        same_key = [detail for detail in details if path_of(detail, content) == path]
        raise ConfigError(problem_of(same_key), file=origin, key=".".join(path)) from error


def _unknown(path: Sequence[str], origin: str) -> ConfigError:
    problem = f"unknown key; the nearest known key is `{nearest_key(path)}`"
    return ConfigError(problem, file=origin, key=".".join(path))


def _origin(path: tuple[str, ...], overrides: Sequence[Override], source: str) -> str:
    """The last override that touches `path`, else the file."""
    touching = [override for override in overrides if _touches(override.path, path)]
    return touching[-1].label if touching else source


def _touches(override: tuple[str, ...], path: tuple[str, ...]) -> bool:
    shared = min(len(override), len(path))
    return override[:shared] == path[:shared]


def _warning(config: Config, unknown: Sequence[str], idle: Sequence[str], source: str) -> str | None:
    unplaced = [item for item in config.scenario.objects if item.type not in OBJECT_TYPES]
    without_effect = [
        *keys_without_effect(config),
        *idle,
        *(f"scenario.objects[{item.id}] (type `{item.type}`)" for item in unplaced),
    ]
    parts = []
    if without_effect:
        parts.append(f"without effect here: {', '.join(without_effect)}")
    if unknown:
        named = [f"{key} (nearest known key: {nearest_key([key])})" for key in unknown]
        parts.append(f"unknown and left out: {', '.join(named)}")
    return f"{source}: {'; '.join(parts)}" if parts else None
