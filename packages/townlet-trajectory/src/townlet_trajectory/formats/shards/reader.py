"""Reads a shard directory one shard at a time, each verified."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.ragged import offsets_of
from townlet_trajectory.data.schema import TrajectorySchema
from townlet_trajectory.data.trajectory import Array
from townlet_trajectory.dataset.info import DatasetManifest, ShardEntry, parse_dataset_manifest, shard_file_names
from townlet_trajectory.dataset.source import TrajectoryTable, block_bounds, joined_tables, require_decision, table_of
from townlet_trajectory.errors import ManifestError, require
from townlet_trajectory.formats.shards.columns import decode_columns
from townlet_trajectory.formats.shards.layout import decode_shard, decode_table, step_bytes
from townlet_trajectory.storage.json import MAX_JSON_BYTES
from townlet_trajectory.storage.manifest import MANIFEST_NAME, MAX_FILE_BYTES, read_entry
from townlet_trajectory.storage.paths import read_below


class ShardReader:
    """A dataset as its manifest described it when the reader was made; what is recorded after that is not seen.

    Each shard is a block of the `TrajectorySource` that this is: its file is read whole, compared with the manifest's
    SHA-256, and decoded from the bytes that were compared.
    """

    def __init__(self, directory: str | Path) -> None:
        """Read the manifest of `directory`. Raises `ArtifactError` if it is missing, damaged, or of a newer major
        version; `MissingExtraError` without pyarrow."""
        require("pyarrow", "arrow")
        self._directory = Path(directory)
        self.manifest: DatasetManifest = read_dataset_manifest(directory)
        self.schema: TrajectorySchema = self.manifest.schema
        shards = self.manifest.shards
        self.block_offsets = offsets_of(np.array([shard.num_trajectories for shard in shards], np.int64))
        self.encoded_bytes = np.array([shard.steps.size + shard.trajectories.size for shard in shards], np.int64)
        self.fingerprint: str = self.manifest.sha256

    @cached_property
    def table(self) -> TrajectoryTable:
        """All trajectories, shard after shard; reads the tables of trajectories of all shards once. Raises
        `ArtifactError` as `load_block`."""
        empty = table_of(TrajectoryBatch.empty(self.schema))
        table = joined_tables([empty, *(read_table(self._directory, shard) for shard in self.manifest.shards)])
        tags = frozenset(self.manifest.info.tags)
        return replace(table, tags=(tags,) * len(table)) if tags else table

    @property
    def num_bytes(self) -> int:
        """About what the whole dataset takes in memory."""
        final_bytes = sum(spec.row_bytes for spec in self.schema.observations.values())
        return self.manifest.num_steps * step_bytes(self.schema) + self.manifest.num_trajectories * final_bytes

    def load_block(self, block: int) -> TrajectoryBatch:
        """The trajectories of shard `block`, verified. Raises `IndexError` if there is no such shard; `ArtifactError`
        if a file is missing or damaged, or contradicts the manifest or the other."""
        block_bounds(self, block)
        shard = self.manifest.shards[block]
        steps, trajectories = shard_file_names(shard.number)
        batch = decode_shard(
            (self._directory / steps, self._read(shard, steps)),
            (self._directory / trajectories, self._read(shard, trajectories)),
            self.schema,
            num_steps=shard.num_steps,
            num_trajectories=shard.num_trajectories,
        )
        return replace(batch, episode_labels=shard.labelled(batch.episode_labels)) if shard.labels else batch

    def decision_column(self, block: int, name: str) -> Array:
        """One decision column of the rows of a shard, [rows, ...]; the file is verified, the others are not decoded.
        Raises `IndexError`, `ArtifactError` as `load_block`; `SchemaError` if there is no such decision column."""
        block_bounds(self, block)
        require_decision(self.schema, name)
        shard = self.manifest.shards[block]
        steps, _ = shard_file_names(shard.number)
        columns = decode_columns(
            self._read(shard, steps),
            self._directory / steps,
            {name: self.schema.decisions[name]},
            num_rows=shard.num_steps,
        )
        column: Array = columns[name]
        return column

    def verify(self) -> None:
        """Compare every file with its SHA-256; `ArtifactError` if one is missing or differs."""
        for shard in self.manifest.shards:
            for name in shard.files:
                self._read(shard, name)

    def _read(self, shard: ShardEntry, name: str) -> bytes:
        return _read(self._directory, shard, name)


def read_table(directory: Path, shard: ShardEntry) -> TrajectoryTable:
    """Read the table of trajectories of a shard of `directory`, with the labels that they were given since. Raises
    `ArtifactError` if it is missing, damaged, or contradicts the manifest."""
    _, name = shard_file_names(shard.number)
    table = decode_table(
        _read(directory, shard, name),
        directory / name,
        num_steps=shard.num_steps,
        num_trajectories=shard.num_trajectories,
    )
    return replace(table, episode_labels=shard.labelled(table.episode_labels))


def _read(directory: Path, shard: ShardEntry, name: str) -> bytes:
    return read_entry(directory, name, shard.files[name], origin=directory / MANIFEST_NAME)


def read_shards(directory: str | Path, *, max_bytes: int = MAX_FILE_BYTES) -> TrajectoryBatch:
    """Read all trajectories of a dataset into memory, in the order in which they were written.

    Pieces of a trajectory that was cut stay pieces: `joined` puts them together. Raises `ArtifactError` if a file is
    missing, damaged, or contradicts the manifest; `ManifestError` if it would take more than `max_bytes` of memory; a
    `ShardReader` reads one shard at a time.
    """
    reader = ShardReader(directory)
    if (total := reader.num_bytes) > max_bytes:
        raise ManifestError(directory, "read", f"at most {max_bytes} bytes are read, the dataset decodes to {total}")
    blocks = [reader.load_block(block) for block in range(len(reader.manifest.shards))]
    return TrajectoryBatch.concatenate(blocks) if blocks else TrajectoryBatch.empty(reader.schema)


def read_dataset_manifest(directory: str | Path) -> DatasetManifest:
    """The manifest of a dataset directory; `ArtifactError` if it is missing, damaged, or of a newer major version."""
    root = Path(directory)
    data = read_below(root, MANIFEST_NAME, max_bytes=MAX_JSON_BYTES, origin=root)
    return parse_dataset_manifest(data, root / MANIFEST_NAME)
