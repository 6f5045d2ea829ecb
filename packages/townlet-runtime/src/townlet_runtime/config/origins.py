"""Every value that a config means, and where it comes from: a file, an option, a preset, a scenario, or nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from townlet_runtime.config.dump import leaves_of_content, resolved, training_settings
from townlet_runtime.config.file_schema import key_of_setting, preset_values
from townlet_runtime.config.keys import Path as Key
from townlet_runtime.config.keys import as_spelled, merge, nearest_key, nested, respelled, respelled_path
from townlet_runtime.config.load import BUILT_IN, LoadedConfig, Override, built_in_config, config_from, load_config
from townlet_runtime.config.places import Located
from townlet_runtime.config.schema import OF_THE_RUN, SECTIONS_OF_TRAINING, Config
from townlet_runtime.config.town import FILE_KEY, town_config
from townlet_runtime.errors import ConfigError
from townlet_runtime.town.config import TOWN
from townlet_trajectory.storage.json import JsonValue

Source = Literal["default", "file", "option", "preset", "scenario", "affordances"]

CONTRACT = "contract"
"""The preset of a file that names none, in the town."""


@dataclass(frozen=True, kw_only=True)
class Value:
    """A key with its value."""

    key: str
    value: JsonValue
    source: Source
    where: str
    """Says the source for people: `town.yaml:3`, `--set ppo.gamma=0.9`, `preset town`."""
    line: int | None = None
    """Of the file; None: it is not of the file."""
    default: JsonValue = None
    """Of a file that says nothing."""

    @property
    def is_changed(self) -> bool:
        """Whether somebody says it, and it differs from what holds where nobody does."""
        return self.source != "default" and self.value != self.default


def values_of(path: Path | None, overrides: Sequence[Override] = ()) -> tuple[LoadedConfig, tuple[Value, ...]]:
    """Load a config, and say of every value where it comes from.

    Args:
        path: of the file; None: the built-in config.
        overrides: as for `load_config`.

    Returns:
        The loaded config, and the values in the order of the sections.

    Raises:
        ConfigError: as `load_config`; and if there is no such preset.
    """
    loaded = load_config(path, overrides)
    is_built_in = path is None and loaded.config.environment.is_town
    file = (
        Located.parse(built_in_config(), BUILT_IN) if is_built_in else Located.read(path) if path else Located({}, {})
    )
    return loaded, tuple(_Origins(loaded, file, overrides).values())


class _Origins:
    def __init__(self, loaded: LoadedConfig, file: Located, overrides: Sequence[Override]) -> None:
        self._config = loaded.config
        self._source = loaded.source
        self._file = file
        self._overrides = overrides
        content = file.content if isinstance(file.content, dict) else {}
        said, self._spelled = respelled(content)
        for override in overrides:
            more, spelled = respelled(nested(override.path, override.value))
            said = merge(said, more)
            self._spelled |= spelled
        self._said = said
        self._preset = _preset_name(loaded.config)
        check_preset(loaded.config)

    def values(self) -> Iterator[Value]:
        silent = dict(meant_of(config_from({}, source=BUILT_IN).config))
        for key, value in meant_of(self._config):
            source, where, line = self._origin(key, value)
            yield Value(key=key, value=value, source=source, where=where, line=line, default=silent.get(key))

    def _origin(self, key: str, value: JsonValue) -> tuple[Source, str, int | None]:
        path: Key = tuple(key.split("."))
        scenario = self._of_scenario(key)
        if scenario is not None:
            path = scenario
        touching = [each for each in self._overrides if _is_above(respelled_path(each.path), path)]
        if touching:
            return "option", touching[-1].label, None
        for spelling in (path, as_spelled(path, self._spelled)):
            place = self._file.place(".".join(spelling))
            if place.is_exact and place.mark is not None:
                where = self._source if self._source == BUILT_IN else f"{self._source}:{place.mark.line}"
                return ("file" if scenario is None else "scenario"), where, place.mark.line
        if key.startswith(("town.affordances.", "scenario.objects")) and self._affordance_file is not None:
            return "affordances", self._affordance_file, None
        is_of_preset = self._preset != CONTRACT and path[0] in ("training", *SECTIONS_OF_TRAINING)
        if is_of_preset and path[-1] not in OF_THE_RUN and value != preset_values()[CONTRACT].get(_setting_of(key)):
            return "preset", f"preset {self._preset}", None
        return "default", "default", None

    def _of_scenario(self, key: str) -> Key | None:
        """The key of the scenario that says what `key` is; None: the scenario does not."""
        scenario = self._config.scenario
        if key == "town.episode_ticks" and self._config.town["episode_ticks"] is None and scenario.ticks is not None:
            return ("scenario", "ticks")
        return ("scenario", "seed") if key == "seed" and scenario.seed is not None else None

    @property
    def _affordance_file(self) -> str | None:
        value: JsonValue = self._said
        for name in FILE_KEY.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        return value if isinstance(value, str) else None


def preset_of_world(world: str) -> str:
    """Return the preset that training begins with where a config names none."""
    if world == TOWN:
        return CONTRACT
    return world if world in preset_values() else "default"


def _preset_name(config: Config) -> str:
    """The preset that training begins with, as `townlet train` takes it."""
    return config.preset or preset_of_world(config.environment.name)


def meant_of(config: Config) -> Iterator[tuple[str, JsonValue]]:
    """Yield every key that has an effect, with its value; the settings of training are laid over the preset's."""
    content = resolved(config)
    settings = dict(preset_values()[_preset_name(config)])
    settings |= {name: _plain(value) for name, value in training_settings(config).items()}
    training: dict[str, JsonValue] = {}
    for name, value in settings.items():
        training = merge(training, nested(key_of_setting(name), value))
    content = merge(training, content)
    if config.environment.is_town:
        content = merge(content, {"town": {"episode_ticks": town_config(config).episode_ticks}})
    if config.seed is not None or config.scenario.seed is not None:
        content["seed"] = config.seed if config.scenario.seed is None else config.scenario.seed
    order = [*Config.model_fields]
    for section in sorted(content, key=lambda name: order.index(name)):
        yield from leaves_of_content(content[section], section)


def _plain(value: object) -> JsonValue:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _setting_of(key: str) -> str:
    return key.removeprefix("training.")


def _is_above(override: Key, path: Key) -> bool:
    return override == path[: len(override)]


def check_preset(config: Config) -> None:
    """Refuse a preset that there is not.

    Raises:
        ConfigError: names the nearest one.
    """
    if config.preset is not None and config.preset not in preset_values():
        near = nearest_key([config.preset], [(name,) for name in preset_values()])
        raise ConfigError(
            f"no preset `{config.preset}`; the nearest is `{near}`, and there are {', '.join(preset_values())}",
            key="preset",
        )
