"""A config file and overrides become a checked `Config`, or one error that names file, key and nearest known key."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from townlet_behavior import BehaviorError
from townlet_runtime.config.check import checked, parse, read
from townlet_runtime.config.keys import (
    FORMAT_DEFAULTS,
    Content,
    as_spelled,
    merge,
    nearest_key,
    nested,
    prune,
    respelled,
    respelled_path,
    take_without_effect,
)
from townlet_runtime.config.keys import Path as Key
from townlet_runtime.config.schema import Config, effective_keys, known_keys
from townlet_runtime.config.sections import Affordances, idle_keys
from townlet_runtime.config.town import (
    FILE_KEY,
    bridge_config,
    read_affordances,
    script_config,
    town_config,
    with_affordances,
)
from townlet_runtime.errors import ConfigError, TownConfigError, UnknownKeyError, WrongValueError
from townlet_runtime.town.config import TOWN
from townlet_runtime.town.objects import OBJECT_TYPES
from townlet_trajectory.errors import ArtifactError
from townlet_trajectory.storage.json import JsonValue
from townlet_trajectory.storage.yaml import parse_value

BUILT_IN = "(built-in config)"
"""Name, in errors, of the config that is used where no file is given."""

_SILENT: tuple[JsonValue, ...] = (None, {}, [], "auto")
"""Values of keys of another environment that say nothing."""


@dataclass(frozen=True, kw_only=True)
class Override:
    """A key and the value that replaces what the file says."""

    path: tuple[str, ...]
    value: JsonValue
    label: str
    """Its name in errors: the option as it was given."""


@dataclass(frozen=True, kw_only=True)
class LoadedConfig:
    """A checked config and what there is to say about it."""

    config: Config
    source: str
    """The file's path, or `BUILT_IN`."""
    without_effect: tuple[str, ...] = ()
    """Keys that are accepted, and that nothing acts on."""
    unknown: tuple[str, ...] = ()
    """Sections that nothing here knows; they are left out."""

    @property
    def plain_objects(self) -> tuple[str, ...]:
        """Objects of the town, with their types, whose use satisfies nothing: a type could be a misspelt one."""
        objects = self.config.scenario.objects if self.config.environment.is_town else ()
        plain = [item for item in objects if item.type not in OBJECT_TYPES]
        return tuple(f"scenario.objects[{item.id}] (type `{item.type}`)" for item in plain)

    @property
    def warning(self) -> str | None:
        """Names every key that has no effect; None: there is none."""
        parts = []
        if self.without_effect:
            parts.append(f"without effect here: {', '.join(self.without_effect)}")
        if self.unknown:
            named = [f"{key} (nearest known key: {nearest_key([key], known_keys())})" for key in self.unknown]
            parts.append(f"unknown and left out: {', '.join(named)}")
        if self.plain_objects:
            parts.append(f"plain objects, whose use satisfies nothing: {', '.join(self.plain_objects)}")
        return f"{self.source}: {'; '.join(parts)}" if parts else None


def parse_override(text: str) -> Override:
    """Return the override that `KEY=VALUE` means: the value is one scalar, or YAML in brackets or quotes.

    Raises:
        ConfigError: names the override.
    """
    label = f"--set {text}"
    key, equals, value = text.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(path):
        raise ConfigError("expected KEY=VALUE, such as `town.agents=50`", file=label)
    try:
        return Override(path=path, value=parse_value(value, label), label=label)
    except ArtifactError as error:
        raise ConfigError(error.reason, file=label) from error


def load_config(path: Path | None, overrides: Sequence[Override] = ()) -> LoadedConfig:
    """Read `path` (None: the built-in config), carry out `overrides`, check the result.

    Raises:
        ConfigError: names the file or the override, the key, what was expected, and the nearest known key.
    """
    if path is None:
        return config_from(_built_in(overrides), overrides, source=BUILT_IN, defaults={})
    content = read(path)
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise ConfigError("expected sections (`key: value`) at the top", file=path)
    return config_from(content, overrides, source=str(path), folder=path.parent)


def config_from(
    content: Content,
    overrides: Sequence[Override] = (),
    *,
    source: str,
    folder: Path = Path(),
    defaults: Mapping[str, JsonValue] = FORMAT_DEFAULTS,
) -> LoadedConfig:
    """Check the content of a config file, and lay it over the defaults.

    Args:
        content: of the file, as its YAML says it; it is not changed.
        overrides: replace values of it, in this order.
        source: name of the file in errors and in the warning.
        folder: in which an affordance file is looked for.
        defaults: hold where the content is silent, before those of the parts that use the keys.

    Returns:
        The config, and a warning that names every key without effect, once.

    Raises:
        ConfigError: see `load_config`.
    """
    sections = {key[0] for key in known_keys()}
    if content and not sections & content.keys():
        raise ConfigError(
            f"no config: expected at least one of the sections {', '.join(sorted(sections))}, got {', '.join(content)}",
            file=source,
        )
    for override in overrides:
        if override.path[0] not in sections | content.keys():
            raise _unknown(override.path, override.label)
    said: Content = {}
    spelled: dict[Key, Key] = {}
    try:
        said, spelled = respelled(content)
        for override in overrides:
            said = _overridden(said, override)
            spelled |= respelled(nested(override.path, override.value))[1]
        idle = _take_idle(said, content, overrides, spelled)
        unknown = [key for key in said if key not in sections]
        config = _checked({key: value for key, value in said.items() if key in sections}, defaults)
        config, more = _with_affordance_file(config, folder, source)
        if config.environment.is_town:
            _require_a_town(config)
    except UnknownKeyError as error:
        path = as_spelled(error.path, spelled)
        section = _value_at(said, path)
        while path in known_keys() and isinstance(section, dict) and section:
            # A section that is known by name: what is not known is in it.
            key = next(iter(section))
            path, section = (*path, key), section[key]
        raise _unknown(path, _origin(error.path, overrides, source)) from error
    except WrongValueError as error:
        key = ".".join(as_spelled(error.path, spelled))
        raise ConfigError(error.problem, file=_origin(error.path, overrides, source), key=key) from error
    return LoadedConfig(config=config, source=source, without_effect=(*idle, *more), unknown=tuple(unknown))


def built_in_config() -> bytes:
    """Return the YAML of the built-in config."""
    return resources.files("townlet_runtime.config").joinpath("data/default.yaml").read_bytes()


def _built_in(overrides: Sequence[Override]) -> Content:
    """The built-in config, which is about the town: nothing where `overrides` name another environment."""
    named = [override.value for override in overrides if override.path == ("environment", "name")]
    if named and named[-1] != TOWN:
        return {}
    content = parse(built_in_config(), BUILT_IN)
    return content if isinstance(content, dict) else {}


def _overridden(said: Content, override: Override) -> Content:
    """Return `said`, respelled, with the value of `override` in place of the one that stood there."""
    path = respelled_path(override.path)
    section = said = deepcopy(said)
    for depth, key in enumerate(path[:-1]):
        inner = section.get(key)
        if inner is None:
            break
        if not isinstance(inner, dict):
            where = ".".join(path[: depth + 1])
            raise ConfigError(f"`{where}` is no section, so nothing below it can be set", file=override.label)
        section = inner
    else:
        section.pop(path[-1], None)
    return merge(said, respelled(nested(override.path, override.value))[0])


def _take_idle(said: Content, content: Content, overrides: Sequence[Override], spelled: Mapping[Key, Key]) -> list[str]:
    """Take the keys that nothing acts on out of `said`, and return the names of those to warn of."""
    environment = said.get("environment")
    name = environment.get("name", TOWN) if isinstance(environment, dict) else TOWN
    keys = idle_keys(name if isinstance(name, str) else TOWN)
    for override in overrides:
        content = merge(content, nested(override.path, override.value))
    idle = [key for key in sorted(keys) if _value_at(content, tuple(key.split("."))) not in _SILENT]
    without_effect = [".".join(as_spelled(key, spelled)) for key in take_without_effect(said, effective_keys())]
    named = [key for key in without_effect if not any(key.startswith(f"{each}.") for each in idle)]
    prune(said, effective_keys())
    return [*idle, *(key for key in named if key not in idle)]


def _value_at(content: JsonValue, path: Key) -> JsonValue:
    for part in path:
        content = content.get(part) if isinstance(content, dict) else None
    return content


def _checked(said: Content, defaults: Mapping[str, JsonValue]) -> Config:
    """Check what is said, in the spelling used here.

    Raises:
        UnknownKeyError: for a key that is left in a section of the original file format.
        WrongValueError: for anything wrong with a value.
    """
    for key in said.keys() - Config.model_fields.keys():
        section = said[key]
        if not isinstance(section, dict):
            raise WrongValueError(f"must be a section (`key: value` lines), got {section!r:.80}", (key,))
        raise UnknownKeyError((key,))
    try:
        return checked(Config, merge(dict(defaults), said))
    except BehaviorError as error:
        raise WrongValueError(str(error), ("behavior",)).of_a_field() from error
    except TownConfigError as error:
        raise _of_town(error) from error


def _require_a_town(config: Config) -> None:
    """Build the settings of town, script and bridge once, so that a contradiction is refused at load."""
    try:
        town_config(config)
        script_config(config)
        bridge_config(config, ratio=0.0)
    except TownConfigError as error:
        raise _of_town(error) from error
    except BehaviorError as error:
        raise WrongValueError(str(error), ("policy",)).of_a_field() from error


def _of_town(error: TownConfigError) -> WrongValueError:
    """The same error at its key in a config; the town calls a setting by its field alone."""
    key = error.key or ""
    head = re.split(r"[.\[]", key)[0]
    if head in ("objects", "agents"):
        key = f"scenario.{key}"
    elif head not in Config.model_fields:
        key = f"town.{key}"
    return WrongValueError(error.problem, tuple(key.split(".")))


def _with_affordance_file(config: Config, folder: Path, source: str) -> tuple[Config, Sequence[str]]:
    """The config with the entries of its affordance file, if it names one, and the entries without effect."""
    name = config.affordances.affordances_file
    config = config.model_copy(update={"affordances": Affordances()})
    if not config.environment.is_town or name is None:
        return config, ()
    file, place = read_affordances(name, folder, source=source)
    replaced = [] if place is not None else [f"{FILE_KEY} (found no {name}; the built-in copy of it is used)"]
    return with_affordances(config, file), (*replaced, *file.without_effect)


def _unknown(path: Sequence[str], origin: str) -> UnknownKeyError:
    return UnknownKeyError(tuple(path), file=origin, nearest=nearest_key(path, known_keys()))


def _origin(path: Key, overrides: Sequence[Override], source: str) -> str:
    """The last override that touches the key `path`, else the file."""
    touching = [override for override in overrides if _touches(respelled_path(override.path), path)]
    return touching[-1].label if touching else source


def _touches(override: Key, path: Key) -> bool:
    shared = min(len(override), len(path))
    return override[:shared] == path[:shared]
