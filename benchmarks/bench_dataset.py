"""How fast recorded experience is read, and how small it is: our shards beside other formats. JSON lines.

64 agents x 256 steps of map (4, 11, 11), 64 features, legal actions, action, log-probability, value, reward and end;
about as compressible as what agents of the town see (lz4: maps to 3 %, features to 13 %). The files are in the page
cache ("warm").

- `read_mb_per_s`: decoded megabytes (10^6 bytes) per second of CPU time, opening included, all in memory afterwards.
- `minibatch_ms`: CPU time from the folder to 1,024 random steps, opening included. Ours through `TrajectoryDataset`.
- `write_mb_per_s`: the same as reading, of one writing; ours waits for the disk (fsync), which is not CPU time.

Medians of `ROUNDS` rounds in which all take turns; one thread. Ours verify the SHA-256 of every byte that they read,
and what they return is checked (finite, consecutive); the others check nothing or (npz) a CRC. The peers' lines say
how many times as fast our lz4 shards are. A peer that cannot be imported is named with the reason.
"""

# /// script
# dependencies = ["minari[hdf5]>=0.5.3", "pyarrow>=18", "zarr>=3"]
# ///

from __future__ import annotations

import gc
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read once, when numpy is imported

import numpy as np
from dataset_formats import FORMATS, NUM_ACTIONS, NUM_AGENTS, NUM_TICKS, SHAPES, Columns, Format, Loaded
from numpy.typing import NDArray

from townlet_trajectory import ArraySpec, TrajectoryBatch, TrajectorySchema
from townlet_trajectory.dataset.dataset import TrajectoryDataset
from townlet_trajectory.dataset.source import BatchSource, TrajectorySource
from townlet_trajectory.formats.batch_file import load_batch, save_batch
from townlet_trajectory.formats.shards.reader import ShardReader, read_shards
from townlet_trajectory.formats.shards.writer import write_shards

ROUNDS = 7
BATCH_SIZE = 1024
BUDGET_BYTES = 256 << 20
SEEN = ("map", "features", "action_mask")
DECIDED = ("action", "behavior_log_prob", "value")
SCHEMA = TrajectorySchema(
    observations={name: ArraySpec(*SHAPES[name]) for name in SEEN},
    decisions={name: ArraySpec(*SHAPES[name]) for name in DECIDED},
    vocabulary=tuple(f"action_{index}" for index in range(NUM_ACTIONS)),
)


def recorded() -> Columns:
    """[64 * 256, ...]: one cell in 25 of a map is set and it changes every 8 ticks; of the features half stay 0, most
    of the others step between a few levels, and five walk."""
    rng = np.random.default_rng(0)
    size = NUM_AGENTS * NUM_TICKS
    changes = (NUM_AGENTS, NUM_TICKS // 8)
    seen = np.repeat(rng.random((*changes, 4, 11, 11)) < 0.04, 8, axis=1).astype(np.float32)
    features = np.zeros((NUM_AGENTS, NUM_TICKS, 64), np.float32)
    features[:, :, :27] = np.repeat(rng.integers(0, 5, (*changes, 27)) / 4, 8, axis=1)
    features[:, :, 27:32] = np.cumsum(rng.normal(0.0, 0.01, (NUM_AGENTS, NUM_TICKS, 5)), axis=1)
    done = np.zeros((NUM_AGENTS, NUM_TICKS), np.bool_)
    done[:, -1] = True
    return {
        "map": seen.reshape(size, 4, 11, 11),
        "features": features.reshape(size, 64),
        "action_mask": np.repeat(rng.random((size // 8, NUM_ACTIONS)) < 0.7, 8, axis=0),
        "action": np.repeat(rng.integers(0, NUM_ACTIONS, size // 4), 4),
        "behavior_log_prob": -rng.random(size, np.float32),
        "value": rng.normal(size=size).astype(np.float32),
        "reward": (0.1 * rng.integers(-1, 2, size)).astype(np.float32),
        "done": done.reshape(size),
    }


def batch_of(columns: Columns) -> TrajectoryBatch:
    """One trajectory per agent; each ended truly."""
    agent_ids = np.array([f"agent_{index}" for index in range(NUM_AGENTS)], object)
    return TrajectoryBatch(
        schema=SCHEMA,
        offsets=np.arange(0, NUM_AGENTS * NUM_TICKS + 1, NUM_TICKS, dtype=np.int64),
        observations={name: columns[name] for name in SEEN},
        final_observations={name: columns[name][NUM_TICKS - 1 :: NUM_TICKS] for name in SEEN},
        columns={name: columns[name] for name in DECIDED},
        rewards=columns["reward"].astype(np.float32),
        ticks=np.tile(np.arange(NUM_TICKS), NUM_AGENTS),
        terminated=np.ones(NUM_AGENTS, np.bool_),
        truncated=np.zeros(NUM_AGENTS, np.bool_),
        agent_ids=agent_ids,
        worlds=np.zeros(NUM_AGENTS, np.int64),
        episodes=np.zeros(NUM_AGENTS, np.int64),
    )


def loaded(batches: Sequence[TrajectoryBatch]) -> Loaded:
    def columns() -> Columns:
        whole = TrajectoryBatch.concatenate(batches)
        done = np.zeros(whole.num_steps, np.bool_)
        done[whole.row_of_last] = whole.terminated
        return {**whole.observations, **whole.columns, "reward": whole.rewards, "done": done}

    return columns


def first_of(source: TrajectorySource, rows: NDArray[np.int64]) -> Columns:
    """The first minibatch of a shuffled epoch; the dataset draws its own rows, `rows` only seeds it."""
    dataset = TrajectoryDataset(
        source, batch_size=len(rows), unit="steps", seed=int(rows[0]), memory_budget_bytes=BUDGET_BYTES
    )
    steps = next(iter(dataset))
    return {**steps.observations, **steps.columns, "reward": steps.rewards, "done": steps.terminated}


def shards(compression: str) -> Callable[[], Format]:
    """Read shard by shard, as datasets larger than memory are."""

    def read(folder: Path) -> Loaded:
        reader = ShardReader(folder / "shards")
        return loaded([reader.load_block(block) for block in range(len(reader.manifest.shards))])

    return lambda: Format(
        write=lambda folder, columns: write_shards(folder / "shards", batch_of(columns), compression=compression),
        read=read,
        minibatch=lambda folder, rows: first_of(ShardReader(folder / "shards"), rows),
    )


def whole_shards() -> Format:
    """The same put together into one batch, which copies every column."""
    by_shard = shards("lz4")()
    return Format(
        write=by_shard.write,
        read=lambda folder: loaded([read_shards(folder / "shards")]),
        minibatch=by_shard.minibatch,
    )


def batch_file() -> Format:
    return Format(
        write=lambda folder, columns: save_batch(folder / "batch.npz", batch_of(columns)),
        read=lambda folder: loaded([load_batch(folder / "batch.npz")]),
        minibatch=lambda folder, rows: first_of(BatchSource(load_batch(folder / "batch.npz")), rows),
    )


OURS: dict[str, Callable[[], Format]] = {
    "townlet shards, none": shards("none"),
    "townlet shards, lz4": shards("lz4"),
    "townlet shards, zstd": shards("zstd"),
    "townlet shards, lz4, one batch": whole_shards,
    "townlet npz, compressed": batch_file,
}
CLAIMED = "townlet shards, lz4"

Line = dict[str, str | int | float]


def checked(format_: Format, folder: Path, columns: Columns) -> None:
    """Raise `AssertionError` unless everything comes back, and 1,024 different rows of it."""
    back = format_.read(folder)()
    for name, (dtype, _) in SHAPES.items():
        if back[name].dtype != dtype or not np.array_equal(back[name], columns[name]):
            raise AssertionError(f"{folder.name} changed `{name}`")
    values = format_.minibatch(folder, np.arange(BATCH_SIZE))["value"]
    if len(np.unique(values)) < 0.99 * BATCH_SIZE or not np.isin(values, columns["value"]).all():
        raise AssertionError(f"{folder.name} did not return {BATCH_SIZE} rows")


def timed(call: Callable[[], object]) -> float:
    gc.collect()  # what others left behind is not paid for here
    begun = time.process_time()
    call()
    return time.process_time() - begun


def measure(root: Path, columns: Columns) -> list[Line]:
    """One line per format."""
    megabytes = sum(array.nbytes for array in columns.values()) / 1e6
    formats: dict[str, Format] = {}
    lines: list[Line] = []
    for name, make in {**FORMATS, **OURS}.items():
        try:
            formats[name] = make()
        except ImportError as error:
            lines.append({"benchmark": "dataset", "name": name, "missing": str(error)})
    writing = {}
    for name, format_ in formats.items():
        for folder in (root / "first" / name, root / name):  # the first writing imports
            folder.mkdir(parents=True)
            writing[name] = timed(partial(format_.write, folder, columns))
        checked(format_, root / name, columns)
    gc.freeze()  # or every collection would walk through all that was imported
    reading: dict[str, list[float]] = {name: [] for name in formats}
    drawing: dict[str, list[float]] = {name: [] for name in formats}
    rng = np.random.default_rng(1)
    for _ in range(ROUNDS):
        for name, format_ in formats.items():
            rows = np.sort(rng.choice(NUM_AGENTS * NUM_TICKS, BATCH_SIZE, replace=False))
            reading[name].append(timed(partial(format_.read, root / name)))
            drawing[name].append(timed(partial(format_.minibatch, root / name, rows)))
    return [*lines, *(results(root, megabytes, writing, medians(reading), medians(drawing)))]


def medians(seconds: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(rounds) for name, rounds in seconds.items()}


def results(
    root: Path, megabytes: float, writing: dict[str, float], reading: dict[str, float], drawing: dict[str, float]
) -> Iterator[Line]:
    """One line per format, from CPU seconds by name."""
    for name in reading:
        files = [path for path in (root / name).rglob("*") if path.is_file()]
        line: Line = {
            "benchmark": "dataset",
            "name": name,
            "read_mb_per_s": round(megabytes / reading[name]),
            "minibatch_ms": round(1e3 * drawing[name], 1),
            "disk_mb": round(sum(path.stat().st_size for path in files) / 1e6, 2),
            "write_mb_per_s": round(megabytes / writing[name]),
        }
        if name in FORMATS:
            line["townlet_reads_times_as_fast"] = round(reading[name] / reading[CLAIMED], 2)
            line["townlet_minibatch_times_as_fast"] = round(drawing[name] / drawing[CLAIMED], 2)
        yield line


def main() -> None:
    columns = recorded()
    with tempfile.TemporaryDirectory() as folder:
        for line in measure(Path(folder), columns):
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
