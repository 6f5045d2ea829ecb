"""`townlet run`: a world lives for some ticks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from townlet_runtime.cli.capture import capture_info, record_captures
from townlet_runtime.cli.console import Console, Json, Progress, StopFlag, stop_on_signals, table
from townlet_runtime.cli.named_policy import NamedPolicy, load_policy
from townlet_runtime.cli.render import screen
from townlet_runtime.cli.worlds import Worlds, load, option, require_unchanged, seed_of, world_options
from townlet_runtime.core.loop import GroupedLoop, LoopReport, runtimes_of, script_side
from townlet_runtime.core.runtime import PolicyRuntime
from townlet_runtime.errors import ConfigError
from townlet_runtime.policy.onnx import FilePolicy, OnnxPolicy, RecurrentOnnxPolicy
from townlet_runtime.policy.policy import UniformPolicy
from townlet_runtime.simulation.interface import AGENTS, GroupedSimulation, OneGroup, SimulationSpec, schema_of
from townlet_runtime.town import Town
from townlet_trajectory import TrajectoryService
from townlet_trajectory.evaluation.results import RANDOM, SCRIPTED

DEFAULT_TICKS = 1000
_CHUNK_TICKS = 100
"""Ticks between two looks at signals and progress."""
MAX_RECORDED_ROWS = 2_000_000
"""Steps of agents that `--record` keeps in memory."""
SOURCES = ("scripted", "learned", "external")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of `townlet run`; None where one was not given."""

    config: Path | None
    env: str | None
    controller: str | None
    policy: Path | None
    ratio: float | None
    ticks: int | None
    record: Path | None
    render: bool
    seed: int | None
    settings: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class WorldSetup:
    """Policies and runtimes of one world."""

    policies: Mapping[str, FilePolicy | UniformPolicy] | None
    """By group; None: the script alone."""
    drawn: bool
    """Whether there is neither script nor policy, and actions are drawn."""
    runtimes: Mapping[str, PolicyRuntime]


def run_world(options: RunOptions, console: Console) -> int:
    """Run the world, print its counts, and return the exit code."""
    _check(options, console)
    if options.policy is not None and options.policy.is_dir():
        # Before its files are compared with the manifest: a changed config is named by its key.
        require_unchanged(options.policy)
    named = None if options.policy is None else load_policy(options.policy)
    path = options.config if options.config is not None or named is None else named.config
    overrides = [*world_options(options.env, options.controller), *option("seed", options.seed, "--seed")]
    config = load(path, options.settings, overrides, console).config
    seed = seed_of(config) if options.seed is None else options.seed
    ticks = options.ticks or config.scenario.ticks or DEFAULT_TICKS
    worlds = Worlds.of(config, options.controller)
    town = None if worlds.towns is None else worlds.towns(1)
    with closing(worlds.make(1) if town is None else OneGroup(town)) as simulation:
        world = _set_up(simulation, town, worlds, named, options, seed=seed, ticks=ticks)
        if world.drawn:
            console.note(f"{config.environment.name} has no script, and no policy was named: actions are drawn")
        loop = GroupedLoop(simulation, world.runtimes)
        loop.reset(seed)
        with stop_on_signals() as stop, console.progress(total=ticks, unit="ticks") as progress:
            with screen(town, enabled=options.render) as show:
                reports = list(_ticks(loop, ticks, stop, progress, show))
    if options.record is not None and reports:
        runtime = world.runtimes[AGENTS]
        policy = None if world.policies is None else _recordable(world.policies[AGENTS])
        info = capture_info(config, path=path, ticks=runtime.tick, seed=seed, policy=policy)
        batch = runtime.collect_trajectory()
        manifest = record_captures(options.record, batch, simulation.specs[AGENTS], policy=policy, info=info)
        console.note(f"recorded {manifest}")
    if reports:
        # As many as there is room for: the population of a town.
        agents = sum(spec.capacity for spec in simulation.specs.values())
        report = LoopReport.of_all(reports)
        sources = _sources(report, drawn=world.drawn)
        console.result(_record(report, sources, agents=agents), _lines(report, sources, agents=agents))
    return stop.code


def _set_up(
    simulation: GroupedSimulation,
    town: Town | None,
    worlds: Worlds,
    named: NamedPolicy | None,
    options: RunOptions,
    *,
    seed: int,
    ticks: int,
) -> WorldSetup:
    if town is None:
        _require_town(worlds.environment, options)
    if named is not None:
        named.require_fit(simulation.specs)
    if options.record is not None:
        for policy in () if named is None else named.policies.values():
            _recordable(policy)
        _require_room(ticks * sum(spec.capacity for spec in simulation.specs.values()))
    drawn = named is None and SCRIPTED not in simulation.behaviors
    policies: Mapping[str, FilePolicy | UniformPolicy] | None = None if named is None else named.policies
    if drawn:
        policies = {group: _uniform(spec) for group, spec in simulation.specs.items()}
    ratio = options.ratio if options.ratio is not None else 0.0 if policies is None else 1.0
    if SCRIPTED not in simulation.behaviors and ratio < 1.0:
        raise ConfigError(f"`{worlds.environment}` has no script that the other decisions could go to", file="--ratio")
    recording = options.record is not None
    runtimes = runtimes_of(
        simulation,
        script_side(simulation),
        config=replace(worlds.bridge, ratio=ratio),
        policies=policies,
        services={group: _service(spec) for group, spec in simulation.specs.items()} if recording else None,
        seed=seed,
        # Greedy steps have no probabilities to learn from; what is recorded is for learning.
        greedy=not recording and not drawn,
    )
    return WorldSetup(policies=policies, drawn=drawn, runtimes=runtimes)


def _uniform(spec: SimulationSpec) -> UniformPolicy:
    return UniformPolicy(vocabulary=spec.vocabulary.keys, observation_shapes=spec.observation_shapes)


def _service(spec: SimulationSpec) -> TrajectoryService:
    # The town always masks, and schema and mask must agree.
    return TrajectoryService(schema_of(spec, masked=True), max_rows=MAX_RECORDED_ROWS, on_full="raise")


def _check(options: RunOptions, console: Console) -> None:
    if options.ratio is not None and not 0.0 <= options.ratio <= 1.0:
        raise ConfigError(f"expected a share in [0, 1], got {options.ratio}", file="--ratio")
    if options.ratio and options.policy is None:
        raise ConfigError("a ratio above 0 needs a policy that decides (--policy)", file="--ratio")
    if options.render and console.json:
        raise ConfigError("draws on standard output, where --json allows nothing but its object", file="--render")


def _require_room(rows: int) -> None:
    if rows > MAX_RECORDED_ROWS:
        raise ConfigError(
            f"keeps at most {MAX_RECORDED_ROWS:,} steps of agents in memory, and these are {rows:,}; lower --ticks",
            file="--record",
        )


def _recordable(policy: FilePolicy | UniformPolicy) -> OnnxPolicy | UniformPolicy:
    if isinstance(policy, RecurrentOnnxPolicy):
        raise ConfigError("samples hold no recurrent state, and the policy has some", file="--record")
    return policy


def _require_town(environment: str, options: RunOptions) -> None:
    for label, given in (("--render", options.render), ("--record", options.record is not None)):
        if given:
            raise ConfigError(f"is for the town, and the world is `{environment}`", file=label)


def _ticks(
    loop: GroupedLoop, ticks: int, stop: StopFlag, progress: Progress, show: Callable[[], None] | None
) -> Iterator[LoopReport]:
    done = 0
    while done < ticks and not stop():
        chunk = min(_CHUNK_TICKS if show is None else 1, ticks - done)
        yield loop.run_for(chunk)
        done += chunk
        if show is not None:
            show()
        progress.update("run", done)


def _sources(report: LoopReport, *, drawn: bool) -> dict[str, int]:
    """Count agent-ticks by the source of the action that was carried out, each in its place."""
    counts = report.ticks_by_source
    return {RANDOM if drawn and name == "learned" else name: counts.get(name, 0) for name in SOURCES}


def _record(report: LoopReport, sources: Mapping[str, int], *, agents: int) -> dict[str, Json]:
    return {
        "ticks": report.ticks,
        "agents": agents,
        "ticks_per_s": report.ticks_per_s,
        "agent_decisions_per_s": report.agent_decisions_per_s,
        "sources": sources,
        "mean_reward": report.mean_reward,
    }


def _lines(report: LoopReport, sources: Mapping[str, int], *, agents: int) -> list[str]:
    share = 100.0 / max(report.agent_ticks, 1)
    rows = [(name, f"{count:,}", f"{share * count:.1f} %") for name, count in sources.items()]
    return [
        f"Completed {report.ticks} ticks in {report.wall_time_s:.3f}s ({report.ticks_per_s:.1f} ticks/sec)",
        f"{agents:,} agent{'s' * (agents != 1)}, {report.agent_decisions_per_s:,.0f} agent-decisions/s",
        f"mean reward per agent and tick {report.mean_reward:.5f}",
        *table(("decisions by", "count", "share"), rows),
    ]
