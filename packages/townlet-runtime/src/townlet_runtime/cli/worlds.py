"""Configs and the worlds, scripts and seeds that every command makes from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from townlet_behavior import BridgeConfig, CommitmentConfig, ScriptedConfig
from townlet_runtime.cli.console import CommandError, Console
from townlet_runtime.config import (
    Config,
    LoadedConfig,
    Override,
    bridge_config,
    config_differences,
    config_digest,
    config_from,
    load_config,
    parse_override,
    script_config,
    town_config,
)
from townlet_runtime.errors import ConfigError
from townlet_runtime.runs.directory import BEGUN, CONFIG
from townlet_runtime.runs.records import BegunFile
from townlet_runtime.simulation.interface import GroupedSimulation, OneGroup
from townlet_runtime.town import Town, TownConfig
from townlet_trajectory.storage.json import JsonValue

if TYPE_CHECKING:
    from townlet_runtime.adapters.controllers import ControllerFactory

MakeWorlds = Callable[[int], GroupedSimulation]
"""Builds so many parallel worlds."""


def option(key: str, value: JsonValue, label: str) -> list[Override]:
    """Return the override that an option of the command line means; none where it was not given.

    Args:
        key: dotted key of the config.
        value: of the option; None: not given.
        label: the option's name, for errors.
    """
    if value is None:
        return []
    return [Override(path=tuple(key.split(".")), value=value, label=f"{label} {value}")]


def world_options(env: str | None, controller: str | None) -> list[Override]:
    """Return the overrides that `--env` and `--controller` mean. A controller of a module is in no config."""
    named = controller if controller is not None and not is_module(controller) else None
    return [*option("environment.name", env, "--env"), *option("environment.controller", named, "--controller")]


def load(path: Path | None, settings: Sequence[str], options: Sequence[Override], console: Console) -> LoadedConfig:
    """Read the config; `--set` first, then the options of their own name. Keys without effect are a warning.

    Args:
        path: of the file; None: the built-in config.
        settings: the values of `--set`.
        options: the overrides that other options mean.
        console: prints the warning.

    Raises:
        ConfigError: names the file or the option, the key, what was expected, and the nearest known key.
    """
    loaded = load_config(path, [*map(parse_override, settings), *options])
    if loaded.warning is not None:
        console.warning(loaded.warning)
    return loaded


def load_of_run(run_dir: Path, options: Sequence[Override], console: Console) -> tuple[Config, BegunFile]:
    """Read the config of a run, which must be the one that the run was begun with.

    Args:
        run_dir: of the run.
        options: overrides of that config, carried out afterwards.
        console: prints a warning of keys without effect.

    Returns:
        The config with `options`, and the record of how the run was begun.

    Raises:
        CommandError: names a key that was changed since, or says that the world was made in Python.
        ConfigError: if the config is wrong.
        ReportError: if `begun.json` is missing or damaged.
    """
    begun = require_unchanged(run_dir)
    if begun.config is None and not (run_dir / CONFIG).exists():
        raise CommandError(f"{run_dir}: its world was made in Python, so it has no {CONFIG} that a command could use")
    return load(run_dir / CONFIG, (), options, console).config, begun


def require_unchanged(run_dir: Path) -> BegunFile:
    """Refuse the config of a run that is not the one that the run was begun with; return how it was begun.

    Raises:
        CommandError, ConfigError, ReportError: as `load_of_run`.
    """
    begun = BegunFile.read(run_dir / BEGUN)
    if begun.config is None:
        return begun
    config = load_config(run_dir / CONFIG).config
    if begun.config_sha256 == config_digest(config):
        return begun
    before = config_from(dict(begun.config), source=str(run_dir / BEGUN)).config
    keys = ", ".join(f"`{each.key}`" for each in config_differences(before, config)) or f"`config_sha256` of {BEGUN}"
    raise CommandError(f"{run_dir / CONFIG}: changed since the run was begun: {keys}")


def require_begun_with(run_dir: Path, option: str, begun: str | None, now: str | None) -> None:
    """Refuse to resume a run with another value of an option than it was begun with.

    Args:
        run_dir: named in the error.
        option: its name without dashes.
        begun: the value that the run was begun with; None: the option was not given.
        now: the value now.

    Raises:
        CommandError: says both values.
    """
    if begun == now:
        return
    if begun is None:
        raise CommandError(f"{run_dir}: begun without --{option}, which is {now} now; leave it out")
    now = "nothing" if now is None else now
    raise CommandError(f"{run_dir}: begun with --{option} {begun}, which is {now} now; say --{option} {begun}")


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
    """Name of the environment."""
    controller: str | None
    """Name of the controller that plays the script; None: the world's own script, or no script."""
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
        from townlet_runtime.adapters.registry import Environment

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
    from townlet_runtime.adapters.controllers import load_controller, registered_controller

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
    from townlet_runtime.adapters.controllers import CONTROLLERS

    return sorted(entry_points(group=CONTROLLERS).names)


def seed_of(config: Config) -> int:
    """The seed of the file: its scenario's, else its own, else 0."""
    if config.scenario.seed is not None:
        return config.scenario.seed
    return 0 if config.seed is None else config.seed
