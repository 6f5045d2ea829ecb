"""A config file and overrides become a checked `Config`, or one error that names file, key and nearest known key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from townlet_runtime.config.keys import keys_without_effect, nearest_key
from townlet_runtime.config.overrides import Override, apply_overrides
from townlet_runtime.config.schema import Config
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
    content = _built_in() if path is None else read_yaml(path)
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
    return LoadedConfig(config=config, source=source, warning=_warning(config, unknown, source))


def _built_in() -> Yaml:
    file = resources.files("townlet_runtime.config").joinpath("data/default.yaml")
    return parse_yaml(file.read_text(encoding="utf-8"), source=BUILT_IN)


def _checked(content: dict[str, Yaml], overrides: Sequence[Override], source: str) -> Config:
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        details = error.errors(include_url=False)
        unknown = [detail for detail in details if detail["type"] == "extra_forbidden"]
        first = (unknown or details)[0]
        path = _path_of(first, content)
        origin = _origin(path, overrides, source)
        if unknown:
            raise _unknown(path, origin) from error
        same_key = [detail for detail in details if _path_of(detail, content) == path]
        raise ConfigError(_problem(same_key), file=origin, key=".".join(path)) from error


def _unknown(path: Sequence[str], origin: str) -> ConfigError:
    problem = f"unknown key; the nearest known key is `{nearest_key(path)}`"
    return ConfigError(problem, file=origin, key=".".join(path))


def _path_of(detail: ErrorDetails, content: Yaml) -> tuple[str, ...]:
    """Where in the file an error is: its location without the names that pydantic gives to branches of unions."""
    path = []
    for part in detail["loc"]:
        if isinstance(content, dict) and part in content:
            content = content[str(part)]
        elif isinstance(content, list) and isinstance(part, int):
            content = content[part]
        elif detail["type"] != "missing":
            continue
        path.append(str(part))
    return tuple(path)


def _origin(path: tuple[str, ...], overrides: Sequence[Override], source: str) -> str:
    """The last override that touches `path`, else the file."""
    touching = [override for override in overrides if _touches(override.path, path)]
    return touching[-1].label if touching else source


def _touches(override: tuple[str, ...], path: tuple[str, ...]) -> bool:
    shared = min(len(override), len(path))
    return override[:shared] == path[:shared]


def _problem(details: Sequence[ErrorDetails]) -> str:
    messages = [detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ") for detail in details]
    first = details[0]
    if first["type"] in ("missing", "value_error"):
        return messages[0]
    value = first["input"]
    if first["type"] == "model_type":
        messages = ["a section (`key: value` lines)"]
    misread = isinstance(value, bool) and first["type"] in ("literal_error", "string_type")
    hint = " (quote it: YAML reads on, off, yes and no as true and false)" if misread else ""
    shown = repr(value)
    shown = shown if len(shown) <= 80 else f"{shown[:80]}..."
    return f"must be {' or '.join(dict.fromkeys(messages))}, got {shown}{hint}"


def _warning(config: Config, unknown: Sequence[str], source: str) -> str | None:
    unplaced = [item for item in config.scenario.objects if item.type not in OBJECT_TYPES]
    without_effect = [
        *keys_without_effect(config),
        *(f"scenario.objects[{item.id}] (type `{item.type}`)" for item in unplaced),
    ]
    parts = []
    if without_effect:
        parts.append(f"without effect here: {', '.join(without_effect)}")
    if unknown:
        named = [f"{key} (nearest known key: {nearest_key([key])})" for key in unknown]
        parts.append(f"unknown and left out: {', '.join(named)}")
    return f"{source}: {'; '.join(parts)}" if parts else None
