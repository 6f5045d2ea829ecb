"""Shard directories: whole datasets written and read with one call each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.dataset.info import DatasetInfo, DatasetManifest
from townlet_trajectory.errors import ManifestError, SchemaError
from townlet_trajectory.formats.shards.reader import ShardReader
from townlet_trajectory.formats.shards.writer import ShardWriter
from townlet_trajectory.storage.manifest import MAX_FILE_BYTES

__all__ = ["ShardReader", "ShardWriter", "read_shards", "write_shards"]


def write_shards(
    directory: str | Path,
    batches: TrajectoryBatch | Iterable[TrajectoryBatch],
    *,
    info: DatasetInfo | None = None,
    compression: str = "lz4",
    rows_per_shard: int | None = None,
    append: bool = False,
) -> DatasetManifest:
    """Write batches of equal schemas as a dataset; what `ShardWriter` does, in one call.

    If the iterable raises, the dataset holds what it gave before.

    Raises:
        SchemaError: if there is no batch, to know the schema from.
        ArtifactError: if it cannot be written.
    """
    rest = iter((batches,) if isinstance(batches, TrajectoryBatch) else batches)
    first = next(rest, None)
    if first is None:
        raise SchemaError("at least one batch is needed, to know the schema")
    with ShardWriter(
        directory, first.schema, info=info, compression=compression, rows_per_shard=rows_per_shard, append=append
    ) as writer:
        writer.write(first)
        for batch in rest:
            writer.write(batch)
        return writer.close()


def read_shards(directory: str | Path, *, max_bytes: int = MAX_FILE_BYTES) -> TrajectoryBatch:
    """All trajectories of a dataset in memory, in the order in which they were written.

    Pieces of a trajectory that was cut stay pieces: `joined` puts them together.

    Raises:
        ArtifactError: if a file is missing, damaged, or contradicts the manifest.
        ManifestError: if it would take more than `max_bytes` of memory; a `ShardReader` reads one shard at a time.
    """
    reader = ShardReader(directory)
    if (total := reader.num_bytes) > max_bytes:
        raise ManifestError(directory, "read", f"at most {max_bytes} bytes are read, the dataset decodes to {total}")
    blocks = [reader.load_block(block) for block in range(len(reader.manifest.shards))]
    return TrajectoryBatch.concatenate(blocks) if blocks else TrajectoryBatch.empty(reader.schema)
