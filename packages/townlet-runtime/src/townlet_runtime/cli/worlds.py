"""What every command makes from a config: the town and the seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from townlet_behavior import ScriptedConfig
from townlet_runtime.cli.console import Console
from townlet_runtime.config import (
    Config,
    LoadedConfig,
    Override,
    load_config,
    parse_override,
    script_config,
    town_config,
)
from townlet_runtime.config.yaml_reader import Yaml
from townlet_runtime.town import Town, TownConfig


def option(key: str, value: Yaml, label: str) -> list[Override]:
    """Return the override that an option of the command line means; none where it was not given."""
    if value is None:
        return []
    return [Override(path=tuple(key.split(".")), value=value, label=f"{label} {value}")]


def load(path: Path | None, settings: Sequence[str], options: Sequence[Override], console: Console) -> LoadedConfig:
    """Read the config; `--set` first, then the options of their own name. What has no effect is said once."""
    loaded = load_config(path, [*map(parse_override, settings), *options])
    if loaded.warning is not None:
        console.warning(loaded.warning)
    return loaded


@dataclass(frozen=True, kw_only=True)
class Worlds:
    """Builds towns of one config."""

    town: TownConfig
    script: ScriptedConfig

    @classmethod
    def of(cls, config: Config) -> Worlds:
        """The towns that `config` describes."""
        return cls(town=town_config(config), script=script_config(config))

    def __call__(self, num_worlds: int) -> Town:
        """Build so many parallel worlds."""
        return Town(self.town, num_worlds=num_worlds, script=self.script)


def seed_of(config: Config) -> int:
    """The seed of the file: its scenario's, else its own, else 0."""
    if config.scenario.seed is not None:
        return config.scenario.seed
    return 0 if config.seed is None else config.seed
