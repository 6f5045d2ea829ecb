"""What every command makes from a config: the worlds, what plays the script in them, and the seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path

from townlet_behavior import BridgeConfig, CommitmentConfig, ScriptedConfig
from townlet_runtime.adapters.controllers import CONTROLLERS, ControllerFactory, load_controller, registered_controller
from townlet_runtime.adapters.registry import Environment
from townlet_runtime.cli.console import Console
from townlet_runtime.cli.exits import CommandError
from townlet_runtime.config import (
    Config,
    LoadedConfig,
    Override,
    bridge_config,
    load_config,
    parse_override,
    script_config,
    town_config,
)
from townlet_runtime.errors import ConfigError
from townlet_runtime.simulation.interface import GroupedSimulation, OneGroup
from townlet_runtime.town import Town, TownConfig
from townlet_trajectory.storage.json import JsonValue

MakeWorlds = Callable[[int], GroupedSimulation]
"""Builds so many parallel worlds."""


def option(key: str, value: JsonValue, label: str) -> list[Override]:
    """Return the override that an option of the command line means; none where it was not given."""
    if value is None:
        return []
    return [Override(path=tuple(key.split(".")), value=value, label=f"{label} {value}")]


def world_options(env: str | None, controller: str | None) -> list[Override]:
    """Return the overrides that `--env` and `--controller` mean. A controller of a module is in no config."""
    named = controller if controller is not None and not is_module(controller) else None
    return [*option("environment.name", env, "--env"), *option("environment.controller", named, "--controller")]


def load(path: Path | None, settings: Sequence[str], options: Sequence[Override], console: Console) -> LoadedConfig:
    """Read the config; `--set` first, then the options of their own name. What has no effect is said once."""
    loaded = load_config(path, [*map(parse_override, settings), *options])
    if loaded.warning is not None:
        console.warning(loaded.warning)
    return loaded


@dataclass(frozen=True, kw_only=True)
class Towns:
    """Builds towns of one config."""

    town: TownConfig
    script: ScriptedConfig

    def __call__(self, num_worlds: int) -> Town:
        """Build so many parallel worlds."""
        return Town(self.town, num_worlds=num_worlds, script=self.script)

    def grouped(self, num_worlds: int) -> GroupedSimulation:
        """The same, all agents in one group."""
        return OneGroup(self(num_worlds))


@dataclass(frozen=True, kw_only=True)
class Worlds:
    """The worlds of one config."""

    environment: str
    """Name of what they are."""
    controller: str | None
    """What plays the script, as it was named; None: the world's own, or nobody."""
    bridge: BridgeConfig
    """At ratio 0."""
    make: MakeWorlds
    make_scored: MakeWorlds
    """With a seed of its own for every world."""
    towns: Towns | None
    """None: they are no towns."""

    @classmethod
    def of(cls, config: Config, controller: str | None = None) -> Worlds:
        """The worlds that `config` describes.

        Args:
            controller: a registered name or `module:name`, from the command line; it wins over that of the config.

        Raises:
            CommandError: if the controller is for another world.
            ConfigError: if there is no such controller, or a part of the config contradicts another.
        """
        section = config.environment
        label = section.controller if controller is None else controller
        if section.is_town:
            if label is not None:
                raise CommandError(
                    f"the town has a script of its own, and takes no controller ({label}); "
                    "`pettingzoo:town` is the town for scripts of your own"
                )
            towns = Towns(town=town_config(config), script=script_config(config))
            return cls(
                environment=section.name,
                controller=None,
                bridge=bridge_config(config, ratio=0.0),
                make=towns.grouped,
                make_scored=towns.grouped,
                towns=towns,
            )
        environment = Environment(
            name=section.name,
            settings=section.settings,
            vectorization=section.vectorization,
            max_episode_ticks=section.max_episode_ticks,
            controller=_controller(section.name, section.controller, controller),
        )
        # How long options bind is the town's; other worlds cannot show what binds.
        return cls(
            environment=section.name,
            controller=label,
            bridge=replace(bridge_config(config, ratio=0.0), commitment=CommitmentConfig()),
            make=environment,
            make_scored=environment.stepped_alone(),
            towns=None,
        )


def is_module(controller: str) -> bool:
    """Tell whether a controller is one of a module (`module:name`), not a registered one."""
    return ":" in controller and controller not in _registered()


def _controller(environment: str, in_config: str | None, named: str | None) -> ControllerFactory | None:
    """The script: what the command line names, else what the config names, else the environment's own, if any."""
    if named is not None and is_module(named):
        return load_controller(named)
    name = in_config if named is None else named
    if name is None:
        return registered_controller(environment)
    found = registered_controller(name)
    if found is None:
        known = ", ".join(_registered()) or "none"
        raise ConfigError(
            f"no controller `{name}` is registered (there are: {known}); one of a module is named on the command line "
            "alone, with --controller MODULE:NAME",
            file=None if named is None else "--controller",
            key="environment.controller" if named is None else None,
        )
    return found


def _registered() -> list[str]:
    return sorted(entry_points(group=CONTROLLERS).names)


def seed_of(config: Config) -> int:
    """The seed of the file: its scenario's, else its own, else 0."""
    if config.scenario.seed is not None:
        return config.scenario.seed
    return 0 if config.seed is None else config.seed
