"""A dataset larger than its memory budget, written, shuffled and read whole: rates and peak memory. JSON lines.

`--gigabytes` (10^9 bytes, decoded) of random steps, map (4, 11, 11), 64 features and the columns of a decision, are
written as shards below `--folder` and deleted at the end, also after a failure. Random numbers do not compress: this is
the worst case for reading. A process of its own then takes one shuffled epoch of minibatches through
`TrajectoryDataset` with a budget of `--budget-mb` (2^20 bytes) and makes sure that every step came exactly once.

- `peak_rss_mb`: most memory that process ever held (2^20 bytes); `imports_rss_mb`: what one holds that only imports.
- `shards_in_a_batch`: how many shards the steps of a minibatch come from, on average: how well they are mixed.
- Rates are of wall-clock time; the files are in the page cache as far as they fit there. One thread.
"""

# /// script
# dependencies = ["pyarrow>=18"]
# ///

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read once, when numpy is imported

import numpy as np

from townlet_trajectory import ArraySpec, TrajectoryBatch, TrajectorySchema, default_decision_columns
from townlet_trajectory.dataset.dataset import TrajectoryDataset
from townlet_trajectory.formats.shards.reader import ShardReader
from townlet_trajectory.formats.shards.writer import ShardWriter

NUM_AGENTS, NUM_TICKS = 64, 256
BATCH_SIZE = 1024
SCHEMA = TrajectorySchema(
    observations={"map": ArraySpec("float32", (4, 11, 11)), "features": ArraySpec("float32", (64,))},
    decisions=default_decision_columns(),
    vocabulary=tuple(f"action_{index}" for index in range(12)),
)
STEP_BYTES = sum(spec.row_bytes for spec in (*SCHEMA.observations.values(), *SCHEMA.decisions.values())) + 4 + 8
"""One step with its reward and tick."""

Report = dict[str, str | int | float]


def random_batch(episode: int) -> TrajectoryBatch:
    """64 trajectories of 256 steps, cut off by the time limit."""
    rng = np.random.default_rng(episode)
    rows = NUM_AGENTS * NUM_TICKS
    observations = {name: rng.random((rows, *spec.shape), np.float32) for name, spec in SCHEMA.observations.items()}
    return TrajectoryBatch(
        schema=SCHEMA,
        offsets=np.arange(0, rows + 1, NUM_TICKS, dtype=np.int64),
        observations=observations,
        final_observations={name: array[:NUM_AGENTS] for name, array in observations.items()},
        columns={name: (2 * rng.random(rows)).astype(spec.dtype) for name, spec in SCHEMA.decisions.items()},
        rewards=rng.random(rows, np.float32),
        ticks=np.tile(np.arange(NUM_TICKS), NUM_AGENTS),
        terminated=np.zeros(NUM_AGENTS, np.bool_),
        truncated=np.ones(NUM_AGENTS, np.bool_),
        agent_ids=np.array([f"agent_{index}" for index in range(NUM_AGENTS)], object),
        worlds=np.zeros(NUM_AGENTS, np.int64),
        episodes=np.full(NUM_AGENTS, episode, np.int64),
    )


def write(arguments: argparse.Namespace) -> Report:
    num_batches = max(1, round(arguments.gigabytes * 1e9 / (NUM_AGENTS * NUM_TICKS * STEP_BYTES)))
    seconds = 0.0
    with ShardWriter(arguments.folder / "dataset", SCHEMA, compression=arguments.compression) as writer:
        for episode in range(num_batches):
            batch = random_batch(episode)
            begun = time.perf_counter()
            writer.write(batch)
            seconds += time.perf_counter() - begun
    return {"seconds": seconds}


def imports(arguments: argparse.Namespace) -> Report:
    importlib.import_module("pyarrow")  # which the package does when it needs it
    return {}


def read(arguments: argparse.Namespace) -> Report:
    """One epoch."""
    imports(arguments)
    begun, begun_cpu = time.perf_counter(), time.process_time()
    reader = ShardReader(arguments.folder / "dataset")
    manifest = reader.manifest
    dataset = TrajectoryDataset(
        reader, batch_size=BATCH_SIZE, unit="steps", seed=0, memory_budget_bytes=arguments.budget_mb << 20
    )
    seen = np.zeros(manifest.num_steps, np.bool_)
    shard_ends = np.cumsum([shard.num_steps for shard in manifest.shards])
    num_batches = shards_in_batches = 0
    first_batch_s = 0.0
    for batch in dataset:
        first_batch_s = first_batch_s or time.perf_counter() - begun
        if seen[batch.steps].any():
            raise AssertionError("a step came twice")
        seen[batch.steps] = True
        num_batches += 1
        shards_in_batches += len(np.unique(np.searchsorted(shard_ends, batch.steps, side="right")))
    if not seen.all():
        raise AssertionError(f"{np.count_nonzero(~seen)} of {manifest.num_steps} steps did not come")
    return {
        "steps": manifest.num_steps,
        "shards": len(manifest.shards),
        "seconds": time.perf_counter() - begun,
        "cpu_seconds": time.process_time() - begun_cpu,
        "first_batch_s": first_batch_s,
        "shards_in_a_batch": shards_in_batches / num_batches,
    }


CHILDREN = {"write": write, "imports": imports, "read": read}


def peak_rss_mb() -> float:
    """Most memory that this process ever held; Linux counts kibibytes, macOS bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def in_child(name: str, folder: str, arguments: argparse.Namespace) -> Report:
    """What `CHILDREN[name]` reports, and the peak memory of the process that ran it."""
    options = ["--child", name, "--folder", folder, "--gigabytes", str(arguments.gigabytes)]
    options += ["--budget-mb", str(arguments.budget_mb), "--compression", arguments.compression]
    command = [sys.executable, str(Path(__file__).resolve()), *options]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def measure(arguments: argparse.Namespace) -> Iterator[Report]:
    """This process only starts others: what it held would be counted in a child's peak."""
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="townlet-budget-") as folder:
        written = in_child("write", folder, arguments)
        disk = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        bare = in_child("imports", folder, arguments)
        epoch = in_child("read", folder, arguments)
    decoded_mb = epoch["steps"] * STEP_BYTES / 1e6
    yield {
        "benchmark": "budget",
        "compression": arguments.compression,
        "decoded_gb": round(decoded_mb / 1e3, 2),
        "disk_gb": round(disk / 1e9, 2),
        "write_mb_per_s": round(decoded_mb / written["seconds"]),
        "write_peak_rss_mb": round(written["peak_rss_mb"]),
    }
    yield {
        "benchmark": "budget",
        "budget_mb": arguments.budget_mb,
        "peak_rss_mb": round(epoch["peak_rss_mb"]),
        "imports_rss_mb": round(bare["peak_rss_mb"]),
        "peak_above_imports_mb": round(epoch["peak_rss_mb"] - bare["peak_rss_mb"]),
        "steps": epoch["steps"],
        "shards": epoch["shards"],
        "steps_per_s": round(epoch["steps"] / epoch["seconds"]),
        "read_mb_per_s": round(decoded_mb / epoch["seconds"]),
        "read_mb_per_cpu_s": round(decoded_mb / epoch["cpu_seconds"]),
        "first_batch_s": round(epoch["first_batch_s"], 3),
        "shards_in_a_batch": round(epoch["shards_in_a_batch"], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where there is room")
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--budget-mb", type=int, default=256)
    parser.add_argument("--compression", choices=("lz4", "zstd", "none"), default="lz4")
    parser.add_argument("--child", choices=sorted(CHILDREN), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps({**CHILDREN[arguments.child](arguments), "peak_rss_mb": peak_rss_mb()}))
        return
    needed, free = 1.1 * arguments.gigabytes * 1e9, shutil.disk_usage(arguments.folder).free
    if free < needed:
        parser.error(f"{arguments.folder} has {free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB are needed")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the folder is deleted then, too
    for report in measure(arguments):
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
