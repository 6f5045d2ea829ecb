"""Writes a shard directory while recording: what is on disk is a whole dataset at every instant."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.labels import WhichEpisode, meant_rows
from townlet_trajectory.data.pieces import split_every
from townlet_trajectory.data.schema import EpisodeLabel, TrajectorySchema, common_schema
from townlet_trajectory.dataset.info import DATASET_VERSION, DatasetInfo, DatasetManifest, ShardEntry, shard_file_names
from townlet_trajectory.dataset.source import TrajectorySource, TrajectoryTable, schema_and_rest, table_of
from townlet_trajectory.errors import ArtifactError, ManifestError, OrderError, TrajectoryError, require, system_errors
from townlet_trajectory.formats.shards.columns import check_texts
from townlet_trajectory.formats.shards.layout import check_shard_schema, encode_shard
from townlet_trajectory.formats.shards.reader import ShardReader, read_dataset_manifest, read_table
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
        self._num_before = len(begun.shards)
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

    def label(self, label: EpisodeLabel, which: WhichEpisode) -> bool:
        """Label what this writer has taken; of shards the manifest is written anew. False if there is nothing of it.

        Raises `OrderError` after `close`; `ArtifactError` if a table cannot be read, or the manifest cannot be written:
        nothing is labelled then.
        """
        if self._closed:
            raise OrderError("the writer is closed")
        parts: list[ShardEntry | TrajectoryBatch] = [*self._manifest.shards[self._num_before :], *self._pending]
        found = False
        for place in reversed(range(len(parts))):  # the latest first
            part = parts[place]
            table = table_of(part) if isinstance(part, TrajectoryBatch) else read_table(self._directory, part)
            last, goes_on = table.first_ticks + table.lengths, ~(table.terminated | table.truncated)
            rows = meant_rows(which, table, last, goes_on)
            if rows.size:
                found, which = True, replace(which, episode=int(table.episodes[rows[0]]))
                parts[place] = _labelled(part, label, rows)
            if found and (which.agent_id is not None or (not rows.size and bool(np.any(table.worlds == which.world)))):
                break
        shards = tuple(part for part in parts if isinstance(part, ShardEntry))
        if shards != self._manifest.shards[self._num_before :]:
            before = self._manifest.shards[: self._num_before]
            self._write_manifest(replace(self._manifest, shards=(*before, *shards)))
        self._pending = [part for part in parts if isinstance(part, TrajectoryBatch)]
        return found

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
        there = _writable_manifest(self._directory)
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
        _write_manifest(self._directory, manifest)
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


def label_shards(
    directory: str | Path, label: EpisodeLabel, choose: Callable[[TrajectorySource], NDArray[np.bool_]]
) -> tuple[TrajectoryTable, NDArray[np.bool_]]:
    """Label trajectories of a dataset that lies on disk: its manifest is written anew, and no shard.

    Args:
        directory: of the dataset; no other writer may hold it.
        label: in place of what was said before.
        choose: of the dataset, a mask [B]: which trajectories, or pieces, are labelled.

    Returns:
        The trajectories, as they were labelled before, and the mask.

    Raises:
        ArtifactError: if it is missing or damaged, another writer holds it, or the manifest cannot be written.
        MissingExtraError: without pyarrow.
    """
    with DirectoryLock(directory):
        manifest, reader = _writable_manifest(Path(directory)), ShardReader(directory)
        chosen = choose(reader)
        shards = [
            shard.relabelled(label, np.flatnonzero(chosen[first:stop])) if chosen[first:stop].any() else shard
            for shard, first, stop in zip(
                manifest.shards, reader.block_offsets[:-1], reader.block_offsets[1:], strict=True
            )
        ]
        _write_manifest(Path(directory), replace(manifest, shards=tuple(shards)))
    return reader.table, chosen


def _writable_manifest(directory: Path) -> DatasetManifest:
    there = read_dataset_manifest(directory)
    if there.schema_version[1] > DATASET_VERSION[1]:
        message = f"version {there.schema_version} is read, but only {DATASET_VERSION} gone on with"
        raise ManifestError(directory, "write", message)
    return there


def _write_manifest(directory: Path, manifest: DatasetManifest) -> None:
    data = manifest.encode()
    if len(data) > MAX_JSON_BYTES:
        message = f"at most {MAX_JSON_BYTES} bytes are read, got {len(data)}"
        raise ManifestError(directory / MANIFEST_NAME, "encode", message)
    write_bytes_atomic(directory / MANIFEST_NAME, data)


def _labelled(
    part: ShardEntry | TrajectoryBatch, label: EpisodeLabel, rows: NDArray[np.int64]
) -> ShardEntry | TrajectoryBatch:
    if isinstance(part, ShardEntry):
        return part.relabelled(label, rows)
    labels = part.episode_labels.copy()
    labels[rows] = label
    return replace(part, episode_labels=labels)


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
