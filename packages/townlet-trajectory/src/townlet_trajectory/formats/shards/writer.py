"""Writes a shard directory while recording: what is on disk is a whole dataset at every instant."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.labels import WhichEpisode, meant_rows
from townlet_trajectory.data.pieces import split_every
from townlet_trajectory.data.ragged import offsets_of
from townlet_trajectory.data.schema import EpisodeLabel, TrajectorySchema, common_schema
from townlet_trajectory.dataset.info import DatasetInfo, DatasetManifest, ShardEntry, shard_file_names
from townlet_trajectory.dataset.source import TrajectorySource, TrajectoryTable, schema_and_rest, table_of
from townlet_trajectory.errors import ArtifactError, OrderError, TrajectoryError, require
from townlet_trajectory.formats.shards.columns import check_texts
from townlet_trajectory.formats.shards.layout import check_shard_schema, encode_shard
from townlet_trajectory.formats.shards.parts import PARTS
from townlet_trajectory.formats.shards.reader import PartsReader, open_shards, read_tables
from townlet_trajectory.formats.shards.targets import (
    Target,
    remove_shards,
    target_of,
    writable_manifest,
    write_manifest,
)
from townlet_trajectory.storage.files import DirectoryLock
from townlet_trajectory.storage.folders import LocalFolder, local_path
from townlet_trajectory.storage.manifest import FileEntry
from townlet_trajectory.storage.urls import Url, named_place


class ShardWriter:
    """Takes batches as they come and writes a shard whenever enough rows are there. A context manager.

    The directory is locked until `close`. A shard is two files, and then the manifest that lists them: when `write` has
    returned, every full shard survives a crash of the process and of the machine; the rows of the last, not yet full
    one are in memory until `flush` or `close`. Files that a crash left unlisted are removed when the dataset is opened
    again with `append`. A trajectory that is longer than a shard is cut into pieces (`joined` puts them together).

    With `writer`, and behind a URL, nothing is there before `close`, which writes the manifest last: then all of it is.
    Several writers may write parts of one dataset at the same time, each under a name of its own. If the block ends
    with an exception, nothing stays of a part.

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
        directory: str | Path | Url,
        schema: TrajectorySchema,
        *,
        info: DatasetInfo | None = None,
        compression: str = "lz4",
        rows_per_shard: int | None = None,
        append: bool = False,
        writer: str | None = None,
    ) -> None:
        """Begin a dataset, or go on with one.

        Args:
            directory: is created if it is missing; or a URL that fsspec opens.
            schema: of every batch; names of decision columns must differ from `shard_layout.STEP_COLUMNS`.
            info: where the data comes from; None is an empty one, or that of the dataset that is gone on with.
            compression: `lz4`, `zstd` (smaller and slower) or `none` (read without a copy).
            rows_per_shard: steps; None are as many as take about 16 MiB.
            append: go on with the dataset in `directory`, if there is one; not of a part, nor behind a URL.
            writer: name of the part that this writer writes, such as `worker-03`. None: it writes all of the dataset.

        Raises:
            SchemaError: if the schema has no form as a shard, or is not that of the dataset, or `writer` is no name.
            ArtifactError: if another writer holds the directory, it holds a dataset and `append` is false, the part was
                begun before, or it cannot be written.
            MissingExtraError: without pyarrow; of a URL without fsspec, or without what opens its scheme.
        """
        require("pyarrow", "arrow")
        self._rows_per_shard = check_shard_schema(schema, rows_per_shard)
        self._pending: list[TrajectoryBatch] = []
        self._target: Target = target_of(named_place(directory), writer)
        begun = DatasetManifest(schema=schema, info=info or DatasetInfo(), compression=compression)

        def reopened(there: DatasetManifest) -> DatasetManifest:
            both = common_schema([there.schema, begun.schema])
            return replace(begun, schema=both, info=info or there.info, shards=there.shards)

        self._manifest = begun = self._target.begin(begun, reopened if append else None)
        self._next_number = begun.shards[-1].number + 1 if begun.shards else 0
        self._num_before = len(begun.shards)
        self._closed = False

    @property
    def manifest(self) -> DatasetManifest:
        """Of what is written."""
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
            table = table_of(part) if isinstance(part, TrajectoryBatch) else _table_of_shard(self._target, part)
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
        """Write the rows that are still in memory, of a part its manifest, and let the directory go; nothing happens
        the second time. Raises `ArtifactError` if a file cannot be written; the writer is then still open."""
        if not self._closed:
            self.flush()
            self._target.finish(self._manifest)
            self._closed = True
        return self._manifest

    def _abandon(self) -> None:
        self._closed = True
        self._target.break_off(self._manifest)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None and not self._target.keeps_unfinished:
            self._abandon()
            return
        try:
            self.close()
        except ArtifactError as failure:
            if error is None:
                raise
            error.add_note(f"the steps that were not yet in a shard are lost: {failure}")
        finally:
            if not self._closed:
                self._abandon()

    def _add_shards(self, groups: Sequence[Sequence[TrajectoryBatch]]) -> None:
        """Write a shard of each group, and then list them all, or none."""
        if not groups:
            return
        first = self._next_number
        try:
            shards = tuple(self._write_shard(group) for group in groups)
            longer = replace(self._manifest, shards=(*self._manifest.shards, *shards))
        except TrajectoryError:
            remove_shards(self._target.folder, range(first, self._next_number))
            raise
        self._write_manifest(longer)

    def _write_shard(self, group: Sequence[TrajectoryBatch]) -> ShardEntry:
        # A number is never used twice, not even after a failure: the manifest on disk may list it nevertheless.
        number = self._next_number
        self._next_number += 1
        batch = group[0] if len(group) == 1 else TrajectoryBatch.concatenate(group)
        contents = encode_shard(batch, compression=self._manifest.compression)
        for name, data in zip(shard_file_names(number), contents, strict=True):
            self._target.folder.write(name, data)
        steps, trajectories = map(FileEntry.of, contents)
        return ShardEntry(
            number=number,
            steps=steps,
            trajectories=trajectories,
            num_steps=batch.num_steps,
            num_trajectories=len(batch),
        )

    def _write_manifest(self, manifest: DatasetManifest) -> None:
        self._target.list_shards(manifest)
        self._manifest = manifest


def write_shards(
    directory: str | Path | Url,
    batches: TrajectoryBatch | Iterable[TrajectoryBatch],
    *,
    info: DatasetInfo | None = None,
    compression: str = "lz4",
    rows_per_shard: int | None = None,
    append: bool = False,
    writer: str | None = None,
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
        writer: as `ShardWriter` takes it.

    Returns:
        The manifest of what is written.

    Raises:
        SchemaError: if there is no batch, to know the schema from.
        ArtifactError: if it cannot be written.
    """
    schema, rest = schema_and_rest(batches)
    with ShardWriter(
        directory,
        schema,
        info=info,
        compression=compression,
        rows_per_shard=rows_per_shard,
        append=append,
        writer=writer,
    ) as shards:
        for batch in rest:
            shards.write(batch)
        return shards.close()


def label_shards(
    directory: str | Path, label: EpisodeLabel, choose: Callable[[TrajectorySource], NDArray[np.bool_]]
) -> tuple[TrajectoryTable, NDArray[np.bool_]]:
    """Label trajectories of a dataset that lies on disk: its manifest is written anew, and no shard.

    Of a dataset in parts each manifest is, one after the other: after a crash some parts are labelled.

    Args:
        directory: of the dataset; no other writer may hold it.
        label: in place of what was said before.
        choose: of the dataset, a mask [B]: which trajectories, or pieces, are labelled.

    Returns:
        The trajectories, as they were labelled before, and the mask.

    Raises:
        ArtifactError: if it is missing or damaged, a URL, another writer holds it, or a manifest cannot be written.
        MissingExtraError: without pyarrow.
    """
    root = local_path(directory, "labels are changed in place in a directory of this machine")
    with ExitStack() as stack:
        reader = open_shards(root)
        folders = [root / PARTS / name for name in reader.parts] if isinstance(reader, PartsReader) else [root]
        for folder in folders:
            stack.enter_context(DirectoryLock(folder))
        reader = open_shards(root)  # as it is now that nobody else writes
        chosen = choose(reader)
        first = 0
        for folder in folders:
            manifest = writable_manifest(folder)
            stop = first + manifest.num_trajectories
            write_manifest(LocalFolder(folder), _chosen_labelled(manifest, label, chosen[first:stop]))
            first = stop
    return reader.table, chosen


def _chosen_labelled(manifest: DatasetManifest, label: EpisodeLabel, chosen: NDArray[np.bool_]) -> DatasetManifest:
    """A manifest with `label` for those of its trajectories that are `chosen` [B]."""
    bounds = offsets_of(np.array([shard.num_trajectories for shard in manifest.shards], np.int64))
    shards = [
        shard.relabelled(label, np.flatnonzero(chosen[first:stop])) if chosen[first:stop].any() else shard
        for shard, first, stop in zip(manifest.shards, bounds[:-1], bounds[1:], strict=True)
    ]
    return replace(manifest, shards=tuple(shards))


def _table_of_shard(target: Target, shard: ShardEntry) -> TrajectoryTable:
    [table] = read_tables(target.folder, [shard])
    return table


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
