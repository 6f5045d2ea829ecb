"""What is written with the extras, as steps that can be broken off. See `fault_operations`."""

from __future__ import annotations

from pathlib import Path

from fault_formats import batch_digest
from fault_formats_extras import minari_digest
from fault_operations import ABSENT, Operation
from strategies import SCHEMA, make_trajectory

from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.formats.minari.writer import to_minari
from townlet_trajectory.formats.shards.reader import ShardReader
from townlet_trajectory.formats.shards.writer import ShardWriter


def batch_of(number: int) -> TrajectoryBatch:
    """Two steps that nobody else has."""
    return TrajectoryBatch.from_trajectories([make_trajectory(number, 2, episode=number)])


def record(folder: Path, *numbers: int) -> None:
    """Begin or go on with a dataset, so that there is a shard for each number, in this order."""
    with ShardWriter(folder / "d", SCHEMA, rows_per_shard=2, compression="none", append=True) as writer:
        for number in numbers[len(writer.manifest.shards) :]:
            writer.write(batch_of(number))


def shards_found(folder: Path) -> object:
    """The content of each shard that a reader finds."""
    if not (folder / "d" / "manifest.json").exists():
        return ABSENT
    reader = ShardReader(folder / "d")
    return tuple(batch_digest(reader.load_block(block)) for block in range(len(reader.manifest.shards)))


def _some_of_them(state: object, old: object, new: object) -> bool:
    """Shards are added one after the other: those that were there, and the first of the others."""
    return isinstance(state, tuple) and isinstance(new, tuple) and state == new[: len(state)]


def _write_minari(folder: Path) -> None:
    to_minari(batch_of(3), "town-v0", root=folder)


def _minari(folder: Path) -> object:
    return minari_digest(folder) if (folder / "town-v0").exists() else ABSENT


OPERATIONS_OF_EXTRAS: tuple[Operation, ...] = (
    Operation(name="begin shards", act=lambda folder: record(folder, 1, 2), read=shards_found, between=_some_of_them),
    Operation(
        name="go on with shards",
        prepare=lambda folder: record(folder, 1),
        act=lambda folder: record(folder, 1, 2, 3),
        read=shards_found,
        between=_some_of_them,
    ),
    Operation(name="write minari", act=_write_minari, read=_minari),
)
