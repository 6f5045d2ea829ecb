"""Memory of the loop in the town while agents die and arrive; prints JSON lines. Run with OMP_NUM_THREADS=1. Linux.

Claim: the resident memory of the process does not grow with the ticks where nothing is recorded or the newest rows
are kept in memory: below 8 bytes a tick, a third of what one forgotten number would be. Where every row is written to
shards, the writer keeps a kilobyte of objects for each shard, its entry in the manifest; what the resident memory
shows beyond that, some tens of bytes a tick over 100,000 ticks, is the allocator's: rows wait for their shard, so
that it rises and falls by ten megabytes all the time.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from townlet_behavior import BridgeConfig, CommitmentConfig
from townlet_runtime.core.loop import BatchLoop
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.policy.policy import UniformPolicy
from townlet_runtime.simulation.recorded import schema_of
from townlet_runtime.town import Town, TownConfig
from townlet_trajectory import ShardWriter, TrajectoryService

CLAIMED = 8.0
"""Bytes a tick."""
SAMPLES = 400
"""Of the memory; the first quarter, in which buffers and caches fill, is left out."""
WINDOW = 20
"""Samples of which the least counts: rows wait in memory until a shard is full, so that memory rises and falls."""
KEPT_ROWS = 4096


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def recorder(town: Town, recording: str) -> Iterator[TrajectoryService | None]:
    """The recorder of a mode: `none`, `newest` or `shards`."""
    schema = schema_of(town.spec, masked=True)
    with ExitStack() as stack:
        if recording == "none":
            yield None
        elif recording == "newest":
            yield TrajectoryService(schema, max_rows=KEPT_ROWS, on_full="drop_oldest")
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            writer = stack.enter_context(ShardWriter(Path(folder) / "shards", schema, rows_per_shard=2 * KEPT_ROWS))
            yield TrajectoryService(schema, max_rows=KEPT_ROWS, on_full="spill", spill=writer)


def measure(recording: str, ticks: int) -> dict[str, float | int | str]:
    """Run so many ticks, half by the script and half at random, and fit a line to the memory."""
    config = TownConfig(num_agents=10, episode_ticks=250, local_window=3)
    town = Town(config, num_worlds=1)
    spec = town.spec
    policy = UniformPolicy.of(spec)
    with recorder(town, recording) as service:
        runtime = BatchRuntime(
            spec,
            town.scripted("idle"),
            config=BridgeConfig(ratio=0.5, commitment=CommitmentConfig(ticks=spec.option_ticks)),
            policy=policy,
            service=service,
            seed=0,
            guardrails=town.guardrails(),
        )
        loop = BatchLoop(town, runtime)
        loop.reset(seed=2**31)
        events = dict.fromkeys(("faint_events", "departure_events"), 0.0)
        chunk, begun = max(1, ticks // SAMPLES), time.perf_counter()
        samples = []
        for _ in range(SAMPLES):
            report = loop.run_for(chunk)
            events = {name: count + report.events[name] for name, count in events.items()}
            gc.collect()
            samples.append(resident_bytes())
        seconds = time.perf_counter() - begun
    settled = np.array(samples[SAMPLES // 4 :], float).reshape(-1, WINDOW).min(axis=1)
    slope, _ = np.polyfit(np.arange(len(settled)) * WINDOW * chunk, settled, 1)
    return {
        "benchmark": "memory",
        "recording": recording,
        "agents": config.num_agents,
        "ticks": chunk * SAMPLES,
        "faints": int(events["faint_events"]),
        "departures": int(events["departure_events"]),
        "bytes_per_tick": round(float(slope), 3),
        "claimed": CLAIMED,
        "first_mib": round(settled[0] / 2**20, 2),
        "last_mib": round(settled[-1] / 2**20, 2),
        "seconds": round(seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ticks", type=int, default=100_000)
    parser.add_argument("--recording", choices=("none", "newest", "shards"), action="append")
    arguments = parser.parse_args()
    for recording in arguments.recording or ("none", "newest", "shards"):
        print(json.dumps(measure(recording, arguments.ticks)), flush=True)


if __name__ == "__main__":
    main()
