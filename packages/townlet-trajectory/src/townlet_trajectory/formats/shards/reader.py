"""Reads a dataset of shards one shard at a time, each verified: of one writer, or of parts that many wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.ragged import offsets_of
from townlet_trajectory.data.schema import TrajectorySchema, common_schema
from townlet_trajectory.data.trajectory import Array
from townlet_trajectory.dataset.info import (
    DatasetInfo,
    DatasetManifest,
    ShardEntry,
    parse_dataset_manifest,
    shard_file_names,
)
from townlet_trajectory.dataset.source import TrajectoryTable, block_bounds, joined_tables, require_decision, table_of
from townlet_trajectory.errors import ArtifactError, ManifestError, require
from townlet_trajectory.formats.shards.columns import decode_columns
from townlet_trajectory.formats.shards.layout import decode_shard, decode_table, step_bytes
from townlet_trajectory.formats.shards.parts import PARTS, digest_of_parts, found_parts, joined_info
from townlet_trajectory.storage.folders import Folder, folder_of
from townlet_trajectory.storage.json import MAX_JSON_BYTES
from townlet_trajectory.storage.manifest import MANIFEST_NAME, MAX_FILE_BYTES, FileEntry, verified
from townlet_trajectory.storage.urls import Url, named_place

_MAX_NAMED = 8


class ShardReader:
    """A dataset as its manifest described it when the reader was made; what is recorded after that is not seen.

    Each shard is a block of the `TrajectorySource` that this is: its file is read whole, compared with the manifest's
    SHA-256, and decoded from the bytes that were compared.
    """

    def __init__(self, directory: str | Path | Url) -> None:
        """Read the manifest of `directory`, a path or a URL. Raises `ArtifactError` if it is missing, damaged, or of a
        newer major version; `MissingExtraError` without pyarrow, or what opens the URL."""
        require("pyarrow", "arrow")
        self._folder = folder_of(directory)
        self.manifest: DatasetManifest = read_dataset_manifest(directory)
        self.schema: TrajectorySchema = self.manifest.schema
        shards = self.manifest.shards
        self.block_offsets = offsets_of(np.array([shard.num_trajectories for shard in shards], np.int64))
        self.encoded_bytes = np.array([shard.steps.size + shard.trajectories.size for shard in shards], np.int64)
        self.fingerprint: str = self.manifest.sha256

    @property
    def info(self) -> DatasetInfo:
        """Where it came from."""
        return self.manifest.info

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Names of parts that are not read: none, as there are no parts."""
        return ()

    @property
    def num_steps(self) -> int:
        """Steps of all shards."""
        return self.manifest.num_steps

    @cached_property
    def table(self) -> TrajectoryTable:
        """All trajectories, shard after shard, as `read_table` does once."""
        return self.read_table()

    def read_table(self) -> TrajectoryTable:
        """Read the tables of trajectories of all shards. Raises `ArtifactError` as `load_block`."""
        empty = table_of(TrajectoryBatch.empty(self.schema))
        table = joined_tables([empty, *read_tables(self._folder, self.manifest.shards)])
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
        steps, trajectories = ((self._folder.path(name), data) for name, data in _read_files(self._folder, shard.files))
        batch = decode_shard(
            steps,
            trajectories,
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
        [(_, data)] = _read_files(self._folder, {steps: shard.steps})
        specs = {name: self.schema.decisions[name]}
        columns = decode_columns(data, self._folder.path(steps), specs, num_rows=shard.num_steps)
        column: Array = columns[name]
        return column

    def verify(self) -> None:
        """Compare every file with its SHA-256; `ArtifactError` if one is missing or differs."""
        for shard in self.manifest.shards:
            for _ in _read_files(self._folder, shard.files):
                pass


def read_tables(folder: Folder, shards: Sequence[ShardEntry]) -> Iterator[TrajectoryTable]:
    """Read the tables of trajectories of shards of `folder`, with the labels that they were given since. Raises
    `ArtifactError` if one is missing, damaged, or contradicts the manifest."""
    names = [shard_file_names(shard.number)[1] for shard in shards]
    files = {name: shard.trajectories for name, shard in zip(names, shards, strict=True)}
    known: dict[str, str] = {}
    for shard, (name, data) in zip(shards, _read_files(folder, files), strict=True):
        table = decode_table(
            data, folder.path(name), num_steps=shard.num_steps, num_trajectories=shard.num_trajectories
        )
        # Equal ids of all shards are one object: they would take more than all else that is known of a trajectory.
        ids = np.empty(len(table), np.object_)
        ids[:] = [known.setdefault(agent_id, agent_id) for agent_id in table.agent_ids.tolist()]
        yield replace(table, agent_ids=ids, episode_labels=shard.labelled(table.episode_labels))


def _read_files(folder: Folder, files: Mapping[str, FileEntry]) -> Iterator[tuple[str, bytes]]:
    """Each file with its bytes, verified."""
    sizes = {name: entry.size for name, entry in files.items()}
    for name, data in folder.read_each(sizes, origin=folder.path(MANIFEST_NAME)):
        yield name, verified(data, files[name], folder.path(name))


class PartsReader:
    """A dataset that several writers wrote, each a part of its own; see `parts`.

    The order is that of the parts' names and of the shards in each, whoever was first. Equal numbers of worlds in two
    parts are different worlds: those of the first part keep their numbers, those of the next follow. What is recorded
    after the reader was made is not seen.
    """

    def __init__(self, directory: str | Path | Url) -> None:
        """Read the manifests of all complete parts of `directory`, a path or a URL. Raises `ArtifactError` if there is
        none, or one is damaged or of a newer major version; `SchemaError` if their schemas or groups differ;
        `MissingExtraError` without pyarrow."""
        place = named_place(directory)
        complete, self.unfinished = found_parts(place)
        """Names of parts without a manifest: they are being written, or were broken off, and are not read."""
        self.parts: dict[str, ShardReader] = {name: ShardReader(place / PARTS / name) for name in complete}
        if not self.parts:
            names = f", and of {', '.join(self.unfinished[:_MAX_NAMED])} none is" if self.unfinished else ""
            raise ArtifactError(str(place), "open", f"expected {MANIFEST_NAME} or complete parts{names}")
        readers = [*self.parts.values()]
        for reader in readers[1:]:
            readers[0].schema.require_equal(reader.schema)
        self.schema: TrajectorySchema = common_schema([reader.schema for reader in readers])
        self.info: DatasetInfo = joined_info({name: reader.manifest.info for name, reader in self.parts.items()})
        self.fingerprint: str = digest_of_parts({name: reader.fingerprint for name, reader in self.parts.items()})
        self._first_blocks = np.cumsum([0, *(len(reader.manifest.shards) for reader in readers)])
        self.block_offsets = offsets_of(np.concatenate([np.diff(reader.block_offsets) for reader in readers]))
        self.encoded_bytes = np.concatenate([reader.encoded_bytes for reader in readers])

    @property
    def num_steps(self) -> int:
        """Steps of all parts."""
        return sum(reader.manifest.num_steps for reader in self.parts.values())

    @property
    def num_bytes(self) -> int:
        """About what the whole dataset takes in memory."""
        return sum(reader.num_bytes for reader in self.parts.values())

    @property
    def table(self) -> TrajectoryTable:
        """All trajectories, part after part; reads all tables of trajectories once. Raises `ArtifactError` as
        `load_block`."""
        return self._joined[0]

    def load_block(self, block: int) -> TrajectoryBatch:
        """The trajectories of shard `block`, counted through all parts; see `ShardReader.load_block`."""
        number, reader, inside = self._place(block)
        batch = reader.load_block(inside)
        shift = self._joined[1][number]
        return replace(batch, schema=self.schema, worlds=batch.worlds + shift)

    def decision_column(self, block: int, name: str) -> Array:
        """One decision column of the rows of a shard; see `ShardReader.decision_column`."""
        _, reader, inside = self._place(block)
        return reader.decision_column(inside, name)

    def verify(self) -> None:
        """Compare every file with its SHA-256; `ArtifactError` if one is missing or differs."""
        for reader in self.parts.values():
            reader.verify()

    @cached_property
    def _joined(self) -> tuple[TrajectoryTable, list[int]]:
        """The table, and what is added to the numbers of the worlds of each part."""
        tables, shifts, following = [], [], 0
        for reader in self.parts.values():
            table = reader.read_table()  # which the reader need not keep beside the whole
            shift = following - min(0, int(table.worlds.min(initial=0)))
            tables.append(replace(table, worlds=table.worlds + shift) if shift else table)
            shifts.append(shift)
            following = max(following, shift + int(table.worlds.max(initial=-1)) + 1)
        return joined_tables(tables), shifts

    def _place(self, block: int) -> tuple[int, ShardReader, int]:
        block_bounds(self, block)
        number = int(np.searchsorted(self._first_blocks, block, side="right")) - 1
        return number, [*self.parts.values()][number], block - int(self._first_blocks[number])


def open_shards(directory: str | Path | Url) -> ShardReader | PartsReader:
    """Open a dataset of shards, of one writer or of parts.

    Args:
        directory: a path, or a URL that fsspec opens.

    Raises:
        ArtifactError: if there is none, or a manifest is damaged or of a newer major version.
        MissingExtraError: without pyarrow; of a URL without fsspec, or without what fsspec opens its scheme with.
    """
    folder = folder_of(directory)
    return ShardReader(folder.place) if folder.holds(MANIFEST_NAME) else PartsReader(folder.place)


def read_shards(directory: str | Path | Url, *, max_bytes: int = MAX_FILE_BYTES) -> TrajectoryBatch:
    """Read all trajectories of a dataset into memory, in the order in which they were written, of parts by their names.

    Pieces of a trajectory that was cut stay pieces: `joined` puts them together. Raises `ArtifactError` if a file is
    missing, damaged, or contradicts the manifest; `ManifestError` if it would take more than `max_bytes` of memory; a
    `ShardReader` reads one shard at a time.
    """
    reader = open_shards(directory)
    if (total := reader.num_bytes) > max_bytes:
        place = str(named_place(directory))
        raise ManifestError(place, "read", f"at most {max_bytes} bytes are read, the dataset decodes to {total}")
    blocks = [reader.load_block(block) for block in range(len(reader.block_offsets) - 1)]
    return TrajectoryBatch.concatenate(blocks) if blocks else TrajectoryBatch.empty(reader.schema)


def read_dataset_manifest(directory: str | Path | Url) -> DatasetManifest:
    """The manifest of a dataset directory; `ArtifactError` if it is missing, damaged, or of a newer major version."""
    folder = folder_of(directory)
    origin = folder.path(MANIFEST_NAME)
    return parse_dataset_manifest(folder.read(MANIFEST_NAME, max_bytes=MAX_JSON_BYTES, origin=origin), origin)
