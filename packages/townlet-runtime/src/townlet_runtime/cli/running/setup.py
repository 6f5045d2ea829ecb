"""A world with its runtimes, as the options of `townlet run` and `townlet live` describe it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from townlet_runtime.cli.console import Console
from townlet_runtime.cli.named_policy import NamedPolicy, load_policy
from townlet_runtime.cli.recording import Target, recorder_of, require_room
from townlet_runtime.cli.world_options import WorldOptions, require_code, require_same_world
from townlet_runtime.cli.worlds import Worlds, load, option, require_unchanged, seed_of
from townlet_runtime.config.schema import Config
from townlet_runtime.core.loop import runtimes_of
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.errors import ConfigError
from townlet_runtime.policy.onnx import FilePolicy
from townlet_runtime.policy.policy import UniformPolicy, memory_size
from townlet_runtime.runs.begun import BegunFile
from townlet_runtime.runs.directory import registry_of
from townlet_runtime.simulation.interface import GroupedSimulation
from townlet_runtime.simulation.script import script_side
from townlet_runtime.town import Town
from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.evaluation.interfaces import training_seeds
from townlet_trajectory.evaluation.results import SCRIPTED

DEFAULT_TICKS = 1000


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of `townlet run`; None where one was not given."""

    config: Path | None
    world: WorldOptions
    policy: Path | None
    ratio: float | None
    ticks: int | None
    ticks_per_second: float | None
    record: Target | None
    render: bool
    picture: str | None = None
    """Render mode that the world is asked for where it lists it and no setting says another; None: none."""
    seed: int | None
    settings: Sequence[str]
    telemetry_path: Path | None = None
    stream_telemetry: bool = False
    telemetry: str | None = None
    telemetry_every: int | None = None
    keeps: bool = False
    """Whether what happens is recorded in memory to learn from, also where it is written nowhere."""


@dataclass(frozen=True, kw_only=True)
class WorldSetup:
    """Policies and runtimes of one world, which has begun."""

    policies: Mapping[str, FilePolicy | UniformPolicy] | None
    """By group; None: the script alone."""
    drawn: bool
    """Whether there is neither script nor policy, and actions are drawn."""
    runtimes: Mapping[str, BatchRuntime]


@dataclass(frozen=True, kw_only=True)
class PreparedWorld:
    """A world that has begun, and what it was made from."""

    simulation: GroupedSimulation
    """Closed by who asked for it."""
    setup: WorldSetup
    worlds: Worlds
    town: Town | None
    """The same as a town; None of another world."""
    config: Config
    path: Path | None
    """Of the config; None: the defaults."""
    seed: int
    ticks: int


def require_shares(options: RunOptions) -> None:
    """Refuse a share of decisions or a pace that there is not.

    Raises:
        ConfigError: names the option.
    """
    if options.ratio is not None and not 0.0 <= options.ratio <= 1.0:
        raise ConfigError(f"expected a share in [0, 1], got {options.ratio}", file="--ratio")
    if options.ticks_per_second is not None and options.ticks_per_second <= 0.0:
        raise ConfigError(f"expected more than 0, got {options.ticks_per_second}", file="--ticks-per-second")
    if options.ratio and options.policy is None:
        raise ConfigError("a ratio above 0 needs a policy that decides (--policy)", file="--ratio")


def prepared(options: RunOptions, console: Console) -> PreparedWorld:
    """Make one world with its runtimes, and begin it.

    Args:
        options: of the command.
        console: of the command.

    Raises:
        ConfigError, CommandError: if options contradict each other, or a policy is for another world.
    """
    begun = None
    if options.policy is not None and options.policy.is_dir() and registry_of(options.policy) is None:
        # Before its files are compared with the manifest: a changed config is named by its key.
        begun = require_unchanged(options.policy)
        if not options.world.elsewhere(begun):
            needs_script = options.record is not None or (options.ratio is not None and options.ratio < 1.0)
            require_code(options.policy, begun, options.world, script=needs_script)
    named = None if options.policy is None else load_policy(options.policy)
    path = options.config if options.config is not None or named is None else named.config
    chosen = options.world
    sets_world = any(setting.startswith("environment.name=") for setting in options.settings)
    if named is not None and path is None and not sets_world:
        chosen = named.world_options(chosen)
    overrides = [*chosen.overrides(), *option("seed", options.seed, "--seed")]
    config = load(path, options.settings, overrides, console).config
    seed = seed_of(config) if options.seed is None else options.seed
    ticks = options.ticks or config.scenario.ticks or DEFAULT_TICKS
    worlds = Worlds.of(config, chosen)
    town = None if worlds.towns is None else worlds.towns(1)
    simulation = worlds.make(1) if town is None else worlds.shown(town)
    if options.picture is not None:
        from townlet_runtime.cli.running.pictures import with_pictures

        simulation, worlds = with_pictures(simulation, worlds, config, chosen, options.picture, console)
    try:
        if begun is not None:
            _require_same_world(simulation, begun, options)
        setup = _set_up(simulation, worlds, named, options, seed=seed, ticks=ticks)
    except BaseException:
        simulation.close()
        raise
    if setup.drawn:
        console.note(f"{worlds.environment} has no script, and no policy was named: actions are drawn")
    return PreparedWorld(
        simulation=simulation,
        setup=setup,
        worlds=worlds,
        town=town,
        config=config,
        path=path,
        seed=seed,
        ticks=ticks,
    )


def record_world(
    world: PreparedWorld, target: Target, batches: Mapping[str, TrajectoryBatch], console: Console, *, ticks: int
) -> list[str]:
    """Write what a world did, and say where.

    Args:
        world: that did it.
        target: where it is written to.
        batches: by group of agents.
        console: of the command.
        ticks: that were done.

    Returns:
        The manifest of captures, else a place for each group.

    Raises:
        ConfigError: if a sink cannot be opened.
        ArtifactError: if a file cannot be written.
    """
    # what writes is read where something is to be written
    from townlet_runtime.cli.commands.capture import Origin, write_recording

    origin = Origin(
        config=world.config,
        path=world.path,
        worlds=world.worlds,
        policies=world.setup.policies,
        ticks=ticks,
        seed=world.seed,
        hashes={group: runtime.policy_hashes for group, runtime in world.setup.runtimes.items()},
    )
    places = write_recording(target, batches, world.simulation.specs, origin)
    for place in places:
        console.note(f"recorded {place}")
    return places


def _require_same_world(simulation: GroupedSimulation, begun: BegunFile, options: RunOptions) -> None:
    """Compare the world with the one that the policy's run noted, unless another one is meant."""
    another = options.config is not None or options.settings or options.world.elsewhere(begun)
    if options.policy is not None and not another:
        require_same_world(options.policy, begun, simulation.specs)


def _set_up(
    simulation: GroupedSimulation,
    worlds: Worlds,
    named: NamedPolicy | None,
    options: RunOptions,
    *,
    seed: int,
    ticks: int,
) -> WorldSetup:
    specs = simulation.specs
    if named is not None:
        named.require_fit(specs)
    recording = options.record is not None or options.keeps
    if options.record is not None:
        options.record.require(worlds.environment, is_town=worlds.towns is not None)
        require_room(ticks, specs, option="--record", remedy="--ticks")
    drawn = named is None and SCRIPTED not in simulation.behaviors
    policies: Mapping[str, FilePolicy | UniformPolicy] | None = None if named is None else named.playing
    if drawn:
        policies = {group: UniformPolicy.of(spec) for group, spec in specs.items()}
    ratio = options.ratio if options.ratio is not None else 0.0 if policies is None else 1.0
    if SCRIPTED not in simulation.behaviors and ratio < 1.0:
        raise ConfigError(f"`{worlds.environment}` has no script that the other decisions could go to", file="--ratio")
    opponents = {} if named is None else named.opponents
    observed = simulation.reset(seeds=training_seeds(seed, 1))
    script = script_side(simulation)
    guardrails = simulation.guardrails()
    services = None
    if recording:
        services = {
            group: recorder_of(
                spec,
                observed[group],
                script[group],
                guardrails[group],
                state_size=0 if policies is None else memory_size(policies.get(group)),
                numbers_policies=options.keeps,
            )
            for group, spec in specs.items()
        }
    runtimes = runtimes_of(
        simulation,
        script,
        config=replace(worlds.bridge(specs), ratio=ratio),
        policies=policies,
        services=services,
        seed=seed,
        # Greedy steps have no probabilities to learn from; what is recorded is for learning.
        greedy=not recording and not drawn,
        drawn=opponents,
    )
    for group in opponents:
        runtimes[group].set_anneal_ratio(1.0)
    for group, runtime in runtimes.items():
        runtime.begin(observed[group], tick=0)
    return WorldSetup(policies=policies, drawn=drawn, runtimes=runtimes)
