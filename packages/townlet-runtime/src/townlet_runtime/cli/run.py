"""`townlet run`: the town lives for some ticks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from townlet_runtime.cli.console import Console, Json, Progress, table
from townlet_runtime.cli.exits import StopFlag, stop_on_signals
from townlet_runtime.cli.named_policy import NamedPolicy, load_policy
from townlet_runtime.cli.record import capture_info, record_captures
from townlet_runtime.cli.render import Screen, screen
from townlet_runtime.cli.worlds import Worlds, load, option, seed_of
from townlet_runtime.config import Config, bridge_config
from townlet_runtime.errors import ConfigError
from townlet_runtime.loop import LoopReport, SimulationLoop
from townlet_runtime.observing import schema_of
from townlet_runtime.runtime import PolicyRuntime
from townlet_runtime.town import Town
from townlet_trajectory import TrajectoryService

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
    policy: Path | None
    ratio: float | None
    ticks: int | None
    record: Path | None
    render: bool
    seed: int | None
    settings: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What the run came to."""

    ticks: int
    agents: int
    """Population of the town."""
    wall_time_s: float
    agent_ticks: int
    sources: dict[str, int]
    """Decisions of agents and ticks, by who made the choice that was carried out."""
    mean_reward: float
    """Per agent and tick."""

    @property
    def ticks_per_s(self) -> float:
        return self.ticks / self.wall_time_s

    @property
    def agent_decisions_per_s(self) -> float:
        return self.agent_ticks / self.wall_time_s


def run_town(options: RunOptions, console: Console) -> int:
    """Run the town, print what it came to, and return the exit code."""
    _check(options, console)
    named = None if options.policy is None else load_policy(options.policy)
    path = options.config if options.config is not None or named is None else named.config
    config = load(path, options.settings, option("seed", options.seed, "--seed"), console).config
    seed = seed_of(config) if options.seed is None else options.seed
    ticks = options.ticks or config.scenario.ticks or DEFAULT_TICKS
    town = Worlds.of(config)(1)
    if named is not None:
        named.require_fit(town.spec)
    if options.record is not None:
        _require_room(ticks * town.config.population)
    loop = _loop(town, config, named, options, seed=seed)
    loop.reset(seed)
    with stop_on_signals() as stop, console.progress(total=ticks, unit="ticks") as progress:
        with screen(town, enabled=options.render) as view:
            reports = list(_ticks(loop, ticks, stop, progress, view))
    if options.record is not None and reports:
        policy = None if named is None else named.policy
        info = capture_info(config, path=path, ticks=loop.tick, seed=seed, policy=policy)
        manifest = record_captures(
            options.record, loop.runtime.collect_trajectory(), town.spec, policy=policy, info=info
        )
        console.note(f"recorded {manifest}")
    if reports:
        totals = _totals(reports, agents=town.config.population)
        console.result(_record(totals), _lines(totals))
    return stop.code


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


def _loop(town: Town, config: Config, named: NamedPolicy | None, options: RunOptions, *, seed: int) -> SimulationLoop:
    spec = town.spec
    ratio = options.ratio if options.ratio is not None else 0.0 if named is None else 1.0
    recording = options.record is not None
    # The town always masks, and schema and mask must agree.
    service = (
        TrajectoryService(schema_of(spec, masked=True), max_rows=MAX_RECORDED_ROWS, on_full="raise")
        if recording
        else None
    )
    runtime = PolicyRuntime(
        spec,
        town.scripted("scripted"),
        config=bridge_config(config, ratio=ratio),
        policy=None if named is None else named.policy,
        service=service,
        seed=seed,
        # Greedy steps have no probabilities to learn from; what is recorded is for learning.
        greedy=not recording,
    )
    return SimulationLoop(town, runtime)


def _ticks(loop: SimulationLoop, ticks: int, stop: StopFlag, progress: Progress, view: Screen) -> Iterator[LoopReport]:
    done = 0
    while done < ticks and not stop():
        chunk = min(1 if view.draws_every_tick else _CHUNK_TICKS, ticks - done)
        yield loop.run_for(chunk)
        done += chunk
        view.show()
        progress.update("run", done)


def _totals(reports: Sequence[LoopReport], *, agents: int) -> Totals:
    agent_ticks = sum(report.agent_ticks for report in reports)
    sources: Counter[str] = Counter()
    for report in reports:
        sources.update(report.ticks_by_source)
    reward_sum = sum(report.mean_reward * report.agent_ticks for report in reports)
    return Totals(
        ticks=sum(report.ticks for report in reports),
        agents=agents,
        wall_time_s=sum(report.wall_time_s for report in reports),
        agent_ticks=agent_ticks,
        sources={name: sources[name] for name in SOURCES},
        mean_reward=reward_sum / max(agent_ticks, 1),
    )


def _record(totals: Totals) -> dict[str, Json]:
    return {
        "ticks": totals.ticks,
        "agents": totals.agents,
        "ticks_per_s": totals.ticks_per_s,
        "agent_decisions_per_s": totals.agent_decisions_per_s,
        "sources": totals.sources,
        "mean_reward": totals.mean_reward,
    }


def _lines(totals: Totals) -> list[str]:
    share = 100.0 / max(totals.agent_ticks, 1)
    rows = [(name, f"{count:,}", f"{share * count:.1f} %") for name, count in totals.sources.items()]
    return [
        f"Completed {totals.ticks} ticks in {totals.wall_time_s:.3f}s ({totals.ticks_per_s:.1f} ticks/sec)",
        f"{totals.agents:,} agents, {totals.agent_decisions_per_s:,.0f} agent-decisions/s",
        f"mean reward per agent and tick {totals.mean_reward:.5f}",
        *table(("decisions by", "count", "share"), rows),
    ]
