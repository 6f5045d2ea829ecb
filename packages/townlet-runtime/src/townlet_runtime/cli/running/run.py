"""`townlet run`: a world lives for some ticks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager

from townlet_behavior.errors import BehaviorError
from townlet_runtime.cli.console import (
    ENVIRONMENT_FAILED,
    CommandError,
    Console,
    Json,
    Progress,
    StopFlag,
    one_line,
    stop_on_signals,
    table,
)
from townlet_runtime.cli.running.setup import RunOptions, WorldSetup, prepared, record_world, require_shares
from townlet_runtime.cli.telemetry import DEFAULT_EVERY, TelemetryLoop, open_telemetry, telemetry_stream
from townlet_runtime.cli.views.render import frame_of, screen
from townlet_runtime.cli.worlds import Worlds
from townlet_runtime.core.loop import GroupedLoop, LoopReport
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.core.stretches import Telemetry
from townlet_runtime.errors import ConfigError, TownletError
from townlet_runtime.simulation.interface import GroupedSimulation
from townlet_runtime.town import Town
from townlet_trajectory.evaluation.results import RANDOM

TICK_FAILED = ENVIRONMENT_FAILED
"""Exit code; what is wrong before the first tick is 2, as of every command."""
_CHUNK_TICKS = 100
"""Ticks between two looks at signals and progress."""
_NAP_S = 0.1
SOURCES = ("scripted", "learned", "external")


def run_world(options: RunOptions, console: Console) -> int:
    """Run the world, print its counts, and return the exit code, which is `TICK_FAILED` where a tick failed."""
    _check(options, console)
    world = prepared(options, console)
    simulation, ticks = world.simulation, world.ticks
    with closing(simulation):
        frame = frame_of(simulation, world.town, world.worlds.environment) if options.render else None
        with (
            _loop(simulation, world.setup.runtimes, world.town, options, console) as loop,
            stop_on_signals() as stop,
            console.progress(total=ticks, unit="ticks") as progress,
            screen(frame) as show,
        ):
            pace = _Pace(options.ticks_per_second, stop)
            try:
                reports = list(_ticks(loop, ticks, pace, progress, show))
            except (TownletError, BehaviorError) as error:
                console.trace(error)
                console.error(one_line(error))
                return TICK_FAILED
        if options.record is not None and reports:
            batches = {group: runtime.collect_trajectory() for group, runtime in world.setup.runtimes.items()}
            record_world(world, options.record, batches, console, ticks=sum(report.ticks for report in reports))
    if reports:
        _show_result(LoopReport.of_all(reports), simulation, world.worlds, world.setup, options, console)
    return stop.code


def _show_result(
    report: LoopReport,
    simulation: GroupedSimulation,
    worlds: Worlds,
    world: WorldSetup,
    options: RunOptions,
    console: Console,
) -> None:
    # As many as there is room for: the population of a town.
    room = [spec.capacity for spec in simulation.specs.values()]
    agents = max(room) if worlds.groups else sum(room)  # a group that was split off has the room of all
    sources = _sources(report, drawn=world.drawn)
    written = [] if options.telemetry_path is None else [f"Telemetry stream written to {options.telemetry_path}"]
    console.result(_record(report, sources, agents=agents), [*written, *_lines(report, sources, agents=agents)])


@contextmanager
def _loop(
    simulation: GroupedSimulation,
    runtimes: Mapping[str, BatchRuntime],
    town: Town | None,
    options: RunOptions,
    console: Console,
) -> Iterator[GroupedLoop]:
    """Give a loop, which tells of its ticks where telemetry was asked for."""
    with ExitStack() as stack:
        telemetry = None
        if options.telemetry is not None:
            telemetry = open_telemetry(options.telemetry, every=options.telemetry_every or DEFAULT_EVERY)
            stack.callback(_close, telemetry, console)
        if options.telemetry_path is None and not options.stream_telemetry:
            yield GroupedLoop(simulation, runtimes, telemetry=telemetry)
            return
        stream = stack.enter_context(telemetry_stream(options.telemetry_path))
        yield TelemetryLoop(simulation, runtimes, stream=stream, town=town, telemetry=telemetry)


def _close(telemetry: Telemetry, console: Console) -> None:
    telemetry.close()
    if telemetry.sink_errors:
        console.warning(f"--telemetry: {telemetry.sink_errors:,} calls of the sink failed, so records are missing")


def _check(options: RunOptions, console: Console) -> None:
    require_shares(options)
    if options.stream_telemetry and options.telemetry_path is not None:
        raise CommandError("--stream-telemetry cannot be combined with --telemetry-path")
    if options.telemetry_every is not None and options.telemetry is None:
        raise CommandError("--telemetry-every has no effect without --telemetry")
    if options.telemetry_path is not None and options.telemetry == str(options.telemetry_path):
        raise CommandError("--telemetry and --telemetry-path: both write to one file")
    for name, is_given in (("--render", options.render), ("--stream-telemetry", options.stream_telemetry)):
        if is_given and console.json:
            raise ConfigError("writes to standard output, where --json allows nothing but its object", file=name)
    if options.render and options.stream_telemetry:
        raise CommandError("--render and --stream-telemetry: both write to standard output")


class _Pace:
    """Lets a tick begin when its time has come.

    Args:
        ticks_per_second: at most; None: as fast as it goes.
        stop: tells that a signal has come.
    """

    def __init__(self, ticks_per_second: float | None, stop: StopFlag) -> None:
        self.ticks_per_second = ticks_per_second
        self.stop = stop
        self._begun = time.monotonic()

    def wait(self, done: int) -> None:
        """Sleep until `done` ticks are due, in naps so that a signal is heard."""
        if self.ticks_per_second is None:
            return
        due = self._begun + done / self.ticks_per_second
        while (left := due - time.monotonic()) > 0.0 and not self.stop():
            time.sleep(min(left, _NAP_S))


def _ticks(
    loop: GroupedLoop, ticks: int, pace: _Pace, progress: Progress, show: Callable[[], None] | None
) -> Iterator[LoopReport]:
    one_by_one = show is not None or pace.ticks_per_second is not None
    done = 0
    while done < ticks and not pace.stop():
        chunk = min(1 if one_by_one else _CHUNK_TICKS, ticks - done)
        yield loop.run_for(chunk)
        done += chunk
        if show is not None:
            show()
        progress.update("run", done)
        pace.wait(done)


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
        "reward_terms": _means(report),
        "events": report.events,
        "vetoes": report.vetoes,
        "policy_errors": report.policy_errors,
    }


def _lines(report: LoopReport, sources: Mapping[str, int], *, agents: int) -> list[str]:
    share = 100.0 / max(report.agent_ticks, 1)
    rows = [(name, f"{count:,}", f"{share * count:.1f} %") for name, count in sources.items()]
    return [
        f"Completed {report.ticks} ticks in {report.wall_time_s:.3f}s ({report.ticks_per_s:.1f} ticks/sec)",
        f"{agents:,} agent{'s' * (agents != 1)}, {report.agent_decisions_per_s:,.0f} agent-decisions/s",
        f"mean reward per agent and tick {report.mean_reward:.5f}",
        *(f"  {name} {mean:.5f}" for name, mean in _means(report).items()),
        *table(("decisions by", "count", "share"), rows),
        *([f"{report.vetoes:,} of them vetoed by guardrails"] if report.vetoes else []),
        *([f"{report.policy_errors:,} by the script in place of unusable output"] if report.policy_errors else []),
        *_event_lines(report),
    ]


def _means(report: LoopReport) -> dict[str, float]:
    """Means of the named parts of the reward, per agent and tick."""
    return {name: total / max(report.agent_ticks, 1) for name, total in report.reward_terms.items()}


def _event_lines(report: LoopReport) -> list[str]:
    """A table of the world's own events; nothing where it counts none."""
    if not report.events:
        return []
    rate = 1000.0 / max(report.agent_ticks, 1)
    rows = [(name.replace("_", " "), f"{count:,.10g}", f"{rate * count:.3f}") for name, count in report.events.items()]
    return ["", *table(("events", "count", "per 1,000 agent-ticks"), rows)]
