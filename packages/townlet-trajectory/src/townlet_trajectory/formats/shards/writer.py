"""Writes a shard directory while recording: what is on disk is a whole dataset at every instant."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.pieces import split_every
from townlet_trajectory.data.schema import TrajectorySchema, common_schema
from townlet_trajectory.dataset.info import DATASET_VERSION, DatasetInfo, DatasetManifest, ShardEntry, shard_file_names
from townlet_trajectory.dataset.source import schema_and_rest
from townlet_trajectory.errors import ArtifactError, ManifestError, OrderError, TrajectoryError, require, system_errors
from townlet_trajectory.formats.shards.columns import check_texts
from townlet_trajectory.formats.shards.layout import check_shard_schema, encode_shard
from townlet_trajectory.formats.shards.reader import read_dataset_manifest
from townlet_trajectory.storage.files import DirectoryLock, make_directory, write_bytes_atomic
from townlet_trajectory.storage.json import MAX_JSON_BYTES
from townlet_trajectory.storage.locks import remove_if_there
from townlet_trajectory.storage.manifest import MANIFEST_NAME, FileEntry

_SHARD_FILE = re.compile(r"(steps|trajectories)-\d{6,9}\.arrow")


class ShardWriter:
    """Takes batches as they come and writes a shard whenever enough rows are there. A context manager.

    The directory is locked until `close`. A shard is two files, and then the manifest that lists them: when `write` has
    returned, every full shard survives a crash of the process and of the machine; the rows of the last, not yet full
    one are in memory until `flush` or `close`. Files that a crash left unlisted are removed when the dataset is opened
    again with `append`. A trajectory that is longer than a shard is cut into pieces (`joined` puts them together).

    Examples:
        >>> import numpy as np
        >>> from townlet_trajectory import ArraySpec, Trajectory, TrajectoryBatch, TrajectorySchema, read_shards
        >>> columns = {"observations": {"x": ArraySpec("float32")}, "decisions": {"action": ArraySpec("int64")}}
        >>> alice = Trajectory(
        ...     schema=TrajectorySchema(**columns, vocabulary=("wait", "eat")),
        ...     observations={"x": np.float32([0, 1, 2, 3])}, columns={"action": np.array([0, 1, 1])},
        ...     rewards=np.float32([0.0, 1.0, 0.5]), ticks=np.array([1, 2, 3]),
        ...     terminated=True, truncated=False, agent_id="alice", world=0, episode=0,
        ... )
        >>> with ShardWriter("recorded", alice.schema) as writer:
        ...     writer.write(TrajectoryBatch.from_trajectories([alice]))
        >>> read_shards("recorded").rewards.tolist()
        [0.0, 1.0, 0.5]
    """

    def __init__(
        self,
        directory: str | Path,
        schema: TrajectorySchema,
        *,
        info: DatasetInfo | None = None,
        compression: str = "lz4",
        rows_per_shard: int | None = None,
        append: bool = False,
    ) -> None:
        """Begin a dataset, or go on with one.

        Args:
            directory: is created if it is missing.
            schema: of every batch; names of decision columns must differ from `shard_layout.STEP_COLUMNS`.
            info: where the data comes from; None is an empty one, or that of the dataset that is gone on with.
            compression: `lz4`, `zstd` (smaller and slower) or `none` (read without a copy).
            rows_per_shard: steps; None are as many as take about 16 MiB.
            append: go on with the dataset in `directory`, if there is one.

        Raises:
            SchemaError: if the schema has no form as a shard, or is not that of the dataset.
            ArtifactError: if another writer holds the directory, it holds a dataset and `append` is false, or it cannot
                be written.
            MissingExtraError: without pyarrow.
        """
        require("pyarrow", "arrow")
        self._directory = Path(directory)
        self._rows_per_shard = check_shard_schema(schema, rows_per_shard)
        self._pending: list[TrajectoryBatch] = []
        begun = DatasetManifest(schema=schema, info=info or DatasetInfo(), compression=compression)
        make_directory(directory)
        with ExitStack() as stack:
            stack.enter_context(DirectoryLock(directory))
            if os.path.lexists(self._directory / MANIFEST_NAME):
                begun = self._reopened(begun, keep_info=info is None, append=append)
            self._remove_unlisted(begun)
            self._write_manifest(begun)
            self._lock = stack.pop_all()
        self._next_number = begun.shards[-1].number + 1 if begun.shards else 0
        self._closed = False

    @property
    def manifest(self) -> DatasetManifest:
        """Of what is on disk."""
        return self._manifest

    def write(self, batch: TrajectoryBatch) -> None:
        """Take `batch`, and write what is full. If this raises, nothing of `batch` was taken. Raises `OrderError` after
        `close`; `SchemaError` if the schema differs, or an agent id is not Unicode text; `ArtifactError` if a file
        cannot be written."""
        if self._closed:
            raise OrderError("the writer is closed")
        self._manifest.schema.require_equal(batch.schema)
        check_texts(batch.agent_ids)
        if batch.lengths.max(initial=0) > self._rows_per_shard:
            batch = split_every(batch, self._rows_per_shard)
        full, pending = _filled(self._pending, batch, self._rows_per_shard)
        self._add_shards(full)
        self._pending = pending

    def flush(self) -> None:
        """Write the rows that are still in memory as a shard of their own, however small. Raises `OrderError` after
        `close`; `ArtifactError` if a file cannot be written; the rows are then still in memory."""
        if self._closed:
            raise OrderError("the writer is closed")
        if self._pending:
            self._add_shards([self._pending])
            self._pending = []

    def close(self) -> DatasetManifest:
        """Write the rows that are still in memory and let the directory go; nothing happens the second time. Raises
        `ArtifactError` if a file cannot be written; the writer is then still open."""
        if not self._closed:
            self.flush()
            self._closed = True
            self._lock.close()
        return self._manifest

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            self.close()
        except ArtifactError as failure:
            if error is None:
                raise
            error.add_note(f"the steps that were not yet in a shard are lost: {failure}")
        finally:
            self._closed = True
            self._lock.close()

    def _reopened(self, begun: DatasetManifest, *, keep_info: bool, append: bool) -> DatasetManifest:
        """The manifest that is there, to go on with as `begun` says."""
        if not append:
            raise ArtifactError(self._directory, "write", "holds a dataset already; `append` goes on with it")
        there = read_dataset_manifest(self._directory)
        if there.schema_version[1] > DATASET_VERSION[1]:
            message = f"version {there.schema_version} is read, but only {DATASET_VERSION} gone on with"
            raise ManifestError(self._directory, "write", message)
        schema = common_schema([there.schema, begun.schema])
        return replace(begun, schema=schema, info=there.info if keep_info else begun.info, shards=there.shards)

    def _remove_unlisted(self, manifest: DatasetManifest) -> None:
        listed = {name for shard in manifest.shards for name in shard.files}
        with system_errors(self._directory, "read"):
            names = [name for name in os.listdir(self._directory) if _SHARD_FILE.fullmatch(name)]
        unlisted = [name for name in names if name not in listed]
        if unlisted and not os.path.lexists(self._directory / MANIFEST_NAME):
            raise ArtifactError(self._directory, "write", f"holds shards without a manifest: {sorted(unlisted)[:4]}")
        for name in unlisted:
            remove_if_there(self._directory / name)

    def _add_shards(self, groups: Sequence[Sequence[TrajectoryBatch]]) -> None:
        """Write a shard of each group, and then list them all, or none."""
        if not groups:
            return
        first = self._next_number
        try:
            shards = tuple(self._write_shard(group) for group in groups)
            longer = replace(self._manifest, shards=(*self._manifest.shards, *shards))
        except TrajectoryError:
            for number in range(first, self._next_number):
                for name in shard_file_names(number):
                    with suppress(ArtifactError):
                        remove_if_there(self._directory / name)
            raise
        self._write_manifest(longer)

    def _write_shard(self, group: Sequence[TrajectoryBatch]) -> ShardEntry:
        # A number is never used twice, not even after a failure: the manifest on disk may list it nevertheless.
        number = self._next_number
        self._next_number += 1
        batch = group[0] if len(group) == 1 else TrajectoryBatch.concatenate(group)
        contents = encode_shard(batch, compression=self._manifest.compression)
        for name, data in zip(shard_file_names(number), contents, strict=True):
            write_bytes_atomic(self._directory / name, data)
        steps, trajectories = map(FileEntry.of, contents)
        return ShardEntry(
            number=number,
            steps=steps,
            trajectories=trajectories,
            num_steps=batch.num_steps,
            num_trajectories=len(batch),
        )

    def _write_manifest(self, manifest: DatasetManifest) -> None:
        data = manifest.encode()
        if len(data) > MAX_JSON_BYTES:
            message = f"at most {MAX_JSON_BYTES} bytes are read, got {len(data)}"
            raise ManifestError(self._directory / MANIFEST_NAME, "encode", message)
        write_bytes_atomic(self._directory / MANIFEST_NAME, data)
        self._manifest = manifest


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

    Args:
        directory: is created if it is missing.
        batches: at least one.
        info: as `ShardWriter` takes it.
        compression: as `ShardWriter` takes it.
        rows_per_shard: as `ShardWriter` takes it.
        append: as `ShardWriter` takes it.

    Returns:
        The manifest of what is on disk.

    Raises:
        SchemaError: if there is no batch, to know the schema from.
        ArtifactError: if it cannot be written.
    """
    schema, rest = schema_and_rest(batches)
    with ShardWriter(
        directory, schema, info=info, compression=compression, rows_per_shard=rows_per_shard, append=append
    ) as writer:
        for batch in rest:
            writer.write(batch)
        return writer.close()


def _filled(
    pending: Sequence[TrajectoryBatch], batch: TrajectoryBatch, max_rows: int
) -> tuple[list[list[TrajectoryBatch]], list[TrajectoryBatch]]:
    """Share trajectories out to shards of at most `max_rows` rows, in order.

    Returns:
        The parts of each shard that is full (the next trajectory does not fit), and what remains.
    """
    full: list[list[TrajectoryBatch]] = []
    parts, room = [*pending], max_rows - sum(part.num_steps for part in pending)
    first = 0
    while first < len(batch):
        # As many trajectories as end within the room that is left.
        stop = int(np.searchsorted(batch.offsets, batch.offsets[first] + room, side="right")) - 1
        if stop > first:
            parts.append(batch[first:stop])
            room -= parts[-1].num_steps
        if stop < len(batch) or room == 0:
            full.append(parts)
            parts, room = [], max_rows
        first = stop
    if parts and 0 < len(parts[-1]) < len(batch):
        # A copy, so that the rest of the batch can be freed.
        parts[-1] = parts[-1].select(np.arange(len(parts[-1])))
    return full, parts
