"""Configs and the worlds, scripts and seeds that every command makes from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from townlet_behavior import Box, BridgeConfig, CommitmentConfig, ScriptedConfig
from townlet_runtime.adapters.controllers import (
    ControllerFactory,
    GuardrailFactory,
    load_controller,
    load_guardrail,
    registered_controller,
    registered_guardrail,
)
from townlet_runtime.adapters.equipped import Equipment
from townlet_runtime.adapters.named_code import CONTROLLERS, GUARDRAILS
from townlet_runtime.adapters.registry import Environment
from townlet_runtime.adapters.spaces.settings import SpaceSettings
from townlet_runtime.cli.console import CommandError, Console
from townlet_runtime.cli.recording import recorder_of
from townlet_runtime.cli.world_options import WorldOptions, is_code
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
from townlet_runtime.config.dump import noted
from townlet_runtime.config.sections import MODULE
from townlet_runtime.core.loop import runtimes_of
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.errors import ConfigError, SimulationError
from townlet_runtime.policy.policy import UniformPolicy
from townlet_runtime.runs.begun import BegunFile
from townlet_runtime.runs.directory import BEGUN, CONFIG
from townlet_runtime.simulation.group_members import Members
from townlet_runtime.simulation.interface import GroupedSimulation, Observed, SimulationSpec
from townlet_runtime.simulation.one_group import OneGroup
from townlet_runtime.simulation.script import script_side
from townlet_runtime.simulation.split_groups import split_named
from townlet_runtime.town import Town, TownConfig
from townlet_runtime.town.config import TOWN
from townlet_trajectory.evaluation.results import SCRIPTED
from townlet_trajectory.storage.entry_points import registered_names
from townlet_trajectory.storage.json import JsonValue

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


@dataclass(frozen=True, kw_only=True)
class Towns:
    """Builds towns of one config."""

    town: TownConfig
    script: ScriptedConfig

    def __call__(self, num_worlds: int) -> Town:
        """Build so many parallel worlds."""
        return Town(self.town, num_worlds=num_worlds, script=self.script)


@dataclass(frozen=True)
class _Split:
    """Builds worlds some of whose agents are groups of their own."""

    make: MakeWorlds
    groups: Mapping[str, Members]

    def __call__(self, num_worlds: int) -> GroupedSimulation:
        with ExitStack() as undo:
            worlds = self.make(num_worlds)
            undo.callback(worlds.close)
            try:
                split = split_named(worlds, self.groups)
            except SimulationError as error:
                raise ConfigError(str(error), key="environment.groups") from error
            undo.pop_all()
        return split


@dataclass(frozen=True, kw_only=True)
class Worlds:
    """The worlds of one config, with the script and the guardrails that were named for them."""

    environment: str
    """Name of the world."""
    controller: str | None
    """Name of the controller that plays the script; None: the world's own script, or no script."""
    guardrails: tuple[str, ...]
    """Names of the guardrails beside the world's own."""
    equipment: Equipment
    """The controller and the guardrails."""
    make: MakeWorlds
    make_scored: MakeWorlds
    """With a seed of its own for every world."""
    towns: Towns | None
    """None: they are no towns."""
    config_bridge: BridgeConfig
    """As the config says, with the commitments of the town."""
    says_blend: bool
    """Whether the config says how script and policy are blended."""
    groups: Mapping[str, Members]
    """Agents that are shown as groups of their own, by the name of the group."""

    @classmethod
    def of(cls, config: Config, options: WorldOptions | None = None) -> Worlds:
        """The worlds that `config` describes.

        Args:
            config: any.
            options: the world, the controller and the guardrails of the command line, which win over the config;
                None: none.

        Raises:
            CommandError: if the config leaves its world to the command line, which names none.
            ConfigError: if there is no such controller or guardrail, or a part of the config contradicts another.
        """
        section = config.environment
        options = WorldOptions() if options is None else options
        name = section.name if options.env is None else options.env
        if name == MODULE:
            raise CommandError("the config leaves its world to the command line: name it with --env MODULE:NAME")
        controller = section.controller if options.controller is None else options.controller
        guardrails = options.guardrails or section.guardrails or ()
        equipment = Equipment(
            controller=_controller(name, controller, given=options.controller is not None),
            guardrails=tuple(_guardrail(each, given=bool(options.guardrails)) for each in guardrails),
        )
        towns, groups = None, section.groups or {}
        if section.is_town:
            towns = Towns(town=town_config(config), script=script_config(config))

            def make(num_worlds: int) -> GroupedSimulation:
                return equipment.of(OneGroup(towns(num_worlds)))

            make_scored = make
        else:
            environment = Environment(
                name=name,
                settings=section.settings,
                vectorization=section.vectorization,
                max_episode_ticks=section.max_episode_ticks,
                spaces=SpaceSettings(
                    actions=section.actions,
                    observation_kinds=section.observation_kinds,
                    max_entities=section.max_entities,
                ),
                global_state=section.global_state,
                controller=equipment.controller,
                guardrails=equipment.guardrails,
            )
            make, make_scored = environment, environment.stepped_alone()
        return cls(
            environment=name,
            controller=controller,
            guardrails=guardrails,
            equipment=equipment,
            make=make if not groups else _Split(make, groups),
            make_scored=make_scored if not groups else _Split(make_scored, groups),
            towns=towns,
            config_bridge=bridge_config(config, ratio=0.0),
            says_blend=config.policy.blend is not None,
            groups=groups,
        )

    @classmethod
    def told(cls, message: Mapping[str, Any]) -> tuple[Config, Worlds]:
        """Return the config and the worlds that a message speaks of; see `message`."""
        options = dict(message["options"])
        guardrails, groups = (tuple(options.pop(name)) for name in ("guardrails", "groups"))
        config = config_from(message["config"], source="the config of the command").config
        return config, cls.of(config, WorldOptions(**options, guardrails=guardrails, groups=groups))

    def message(self, config: Config) -> dict[str, Any]:
        """Say in a message to a worker how they are built.

        Args:
            config: that they were made of, with everything that options changed in it.
        """
        return {"config": noted(config), "options": asdict(self.options)}

    def shown(self, town: Town) -> GroupedSimulation:
        """Return a town, made by `towns`, as `make` makes them: with this script, these guardrails and these groups."""
        return split_named(self.equipment.of(OneGroup(town)), self.groups)

    def by_script(
        self,
        simulation: GroupedSimulation,
        *,
        seed: int,
        recorded: Mapping[str, Observed] | None,
        behavior: str = SCRIPTED,
    ) -> tuple[dict[str, BatchRuntime], Mapping[str, UniformPolicy] | None]:
        """Give every agent of a world its script, or actions that are drawn where the world has none.

        Args:
            simulation: that `make` has built.
            seed: of every draw.
            recorded: the beginning of the groups that are recorded; None: nothing is recorded.
            behavior: that is the script, by its name in the world.

        Returns:
            The runtimes by group, and the policies that draw; None with a script.
        """
        drawn = behavior not in simulation.behaviors
        policies = {group: UniformPolicy.of(spec) for group, spec in simulation.specs.items()} if drawn else None
        controllers = script_side(simulation) if drawn else simulation.scripted(behavior)
        services = None
        if recorded is not None:
            guardrails = simulation.guardrails()
            services = {
                group: recorder_of(simulation.specs[group], observed, controllers[group], guardrails[group])
                for group, observed in recorded.items()
            }
        runtimes = runtimes_of(
            simulation,
            controllers,
            config=replace(self.bridge(simulation.specs), ratio=1.0 if drawn else 0.0),
            policies=policies,
            services=services,
            seed=seed,
        )
        return runtimes, policies

    @property
    def options(self) -> WorldOptions:
        """World, controller and guardrails as options name them."""
        return WorldOptions(env=self.environment, controller=self.controller, guardrails=self.guardrails)

    def bridge(self, specs: Mapping[str, SimulationSpec]) -> BridgeConfig:
        """Return the settings of the bridge at ratio 0.

        How long options bind is said by the config in the town, by the specifications elsewhere. Where actions are
        numbers and the config does not say otherwise, each decision is the script's or the policy's: a mixture of both
        has no density.

        Args:
            specs: of the world, by group of agents.

        Raises:
            ConfigError: if two groups disagree about a kind of option.
        """
        if self.towns is not None:
            return self.config_bridge
        ticks: dict[str, int] = {}
        for spec in specs.values():
            for kind in spec.vocabulary.kinds:
                own = spec.option_ticks.get(kind, 0)
                if ticks.setdefault(kind, own) != own:
                    raise ConfigError(
                        f"`{self.environment}`: options of kind `{kind}` bind for {own} ticks in `{spec.name}`, and "
                        f"for {ticks[kind]} in another group"
                    )
        bridge = replace(self.config_bridge, commitment=CommitmentConfig(ticks=ticks))
        has_numbers = any(isinstance(spec.actions, Box) for spec in specs.values())
        return replace(bridge, blend="switch") if has_numbers and not self.says_blend else bridge


def _controller(world: str, name: str | None, *, given: bool) -> ControllerFactory | None:
    """The script: the one that is named, else the one that is registered under the name of another world than the town.

    Args:
        world: its name.
        name: of the controller.
        given: by an option, not by the config.
    """
    if name is None:
        return None if world == TOWN else registered_controller(world)
    if given and is_code(CONTROLLERS, name):
        return load_controller(name)
    found = registered_controller(name)
    if found is None:
        raise _unregistered("controller", CONTROLLERS, name, given=given)
    return found


def _guardrail(name: str, *, given: bool) -> GuardrailFactory:
    if given and is_code(GUARDRAILS, name):
        return load_guardrail(name)
    found = registered_guardrail(name)
    if found is None:
        raise _unregistered("guardrail", GUARDRAILS, name, given=given)
    return found


def _unregistered(kind: str, group: str, name: str, *, given: bool) -> ConfigError:
    known = ", ".join(registered_names(group)) or "none"
    return ConfigError(
        f"no {kind} `{name}` is registered (there are: {known}); one of a module is named on the command line alone, "
        f"with --{kind} MODULE:NAME",
        file=f"--{kind}" if given else None,
        key=None if given else "environment.controller" if kind == "controller" else "environment.guardrails",
    )


def seed_of(config: Config) -> int:
    """The seed of the file: its scenario's, else its own, else 0."""
    if config.scenario.seed is not None:
        return config.scenario.seed
    return 0 if config.seed is None else config.seed
