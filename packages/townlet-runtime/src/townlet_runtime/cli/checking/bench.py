"""`townlet bench`: how long a tick of a world takes."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from townlet_runtime.cli.console import SUCCESS, Console, end_on_signals
from townlet_runtime.cli.world_options import WorldOptions
from townlet_runtime.cli.worlds import Worlds, load, seed_of
from townlet_runtime.core.loop import GroupedLoop, LoopReport

_CHUNK_TICKS = 100


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """The options of `townlet bench`."""

    config: Path | None
    world: WorldOptions
    ticks: int


def measure_ticks(options: BenchOptions, console: Console) -> int:
    """Let one world live by its script, or by drawn actions where it has none; print the time of a tick.

    Deciding, stepping and counting are measured; building the world and its beginning are not, and nothing is recorded.

    Raises:
        ConfigError: if the config is wrong.
    """
    config = load(options.config, (), options.world.overrides(), console).config
    worlds, seed = Worlds.of(config, options.world), seed_of(config)
    console.mute_ticks()
    with closing(worlds.make(1)) as simulation, end_on_signals():
        runtimes, _ = worlds.by_script(simulation, seed=seed, recorded=None)
        loop = GroupedLoop(simulation, runtimes)
        loop.reset(seed)
        with console.progress(total=options.ticks, unit="ticks") as progress:
            reports: list[LoopReport] = []
            for done in range(0, options.ticks, _CHUNK_TICKS):
                progress.update("run", done)
                reports.append(loop.run_for(min(_CHUNK_TICKS, options.ticks - done)))
    report = LoopReport.of_all(reports)
    average = report.wall_time_s / report.ticks
    record = {
        "ticks": report.ticks,
        "average_tick_seconds": average,
        "ticks_per_s": report.ticks_per_s,
        "agents": report.agents,
    }
    console.result(record, [f"average_tick_seconds={average:.6f}"])
    return SUCCESS
