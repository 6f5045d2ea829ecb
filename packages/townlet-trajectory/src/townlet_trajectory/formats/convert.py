"""From any format to any other: captures, npz, shards, Minari, and batches in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from townlet_trajectory.data.batch import BatchSink, TrajectoryBatch
from townlet_trajectory.data.schema import TrajectorySchema
from townlet_trajectory.dataset.curation import reshard
from townlet_trajectory.dataset.info import DatasetInfo
from townlet_trajectory.dataset.memory import step_bytes
from townlet_trajectory.dataset.source import BatchSource, TrajectorySource
from townlet_trajectory.errors import ArtifactError, SchemaError
from townlet_trajectory.formats.batch_file import save_batch
from townlet_trajectory.formats.captures.directory import NOTE, CaptureForm, form_of
from townlet_trajectory.formats.open import FORMATS, OpenDataset, format_names, open_dataset, registered_format
from townlet_trajectory.storage.files import filled_directory, make_directory
from townlet_trajectory.storage.folders import local_path
from townlet_trajectory.storage.npz import MAX_NPZ_BYTES
from townlet_trajectory.storage.urls import Place, Url, named_place

PARQUET = "parquet"
"""The form that is written and not read back; see `formats.parquet`."""


def target_names() -> tuple[str, ...]:
    """Return the names of all forms that are written: this package's and `parquet`, then those of other packages."""
    own = (*FORMATS, PARQUET)
    return (*own, *(name for name in format_names() if name not in own))


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What was written."""

    target: Place
    num_trajectories: int
    """Pieces that met were put together."""
    num_steps: int
    left_out: tuple[str, ...]
    """Fields of `DatasetInfo` that the source said and the format has no place for."""


def convert(
    source: str | Path | Url | TrajectorySource | TrajectoryBatch,
    target: str | Path | Url,
    *,
    to: str,
    info: DatasetInfo | None = None,
    capture: CaptureForm | None = None,
    data_root: str | Path = ".",
    compression: str = "lz4",
) -> Conversion:
    """Write trajectories in another format. The target appears whole, or not at all.

    Every column, agent id, world, episode, tick and final observation is kept, but for `parquet`, which is no dataset.
    Pieces of a trajectory, which shards and recorders cut, are put together where they meet. Shards, Minari and Parquet
    are written block by block, in bounded memory; captures and npz, which are one whole, are collected first, up to 2
    GiB.

    Args:
        source: a path or URL of any format (`format_of`), a source, or a batch.
        target: must not exist: for shards a directory or URL, for npz a file, for the others a directory; of Minari,
            its last part is the dataset's id (`NAME-vN`) and the rest the folder of all datasets.
        to: one of `target_names()`.
        info: where the data comes from. None: what the source says.
        capture: for captures, what they say beside the trajectories. None: what the capture said from which the source
            was made.
        data_root: of a source of captures, where samples that are not below its manifest are looked for.
        compression: of shards.

    Raises:
        ArtifactError: if something is missing, damaged, exists already or cannot be written, or the trajectories take
            more than 2 GiB in a format that is written at once.
        CaptureError: if a capture cannot hold the schema; names the column.
        SchemaError: if another format cannot; names the column.
        MissingExtraError: if a format needs an extra that is not installed.
    """
    target = named_place(target)
    with ExitStack() as stack:
        opened = stack.enter_context(_opened(source, data_root))
        chosen = opened.info if info is None else info
        with dataset_sink(
            target, opened.source.schema, to=to, info=chosen, capture=capture, compression=compression
        ) as sink:
            num_trajectories = reshard(opened.source, sink)
        num_steps = int(opened.source.table.lengths.sum())
    left_out = _left_out(chosen, to)
    return Conversion(target=target, num_trajectories=num_trajectories, num_steps=num_steps, left_out=left_out)


@contextmanager
def _opened(
    source: str | Path | Url | TrajectorySource | TrajectoryBatch, data_root: str | Path
) -> Iterator[OpenDataset]:
    if isinstance(source, str | Path | Url):
        with open_dataset(source, data_root=data_root) as opened:
            yield opened
    else:
        inside = BatchSource(source) if isinstance(source, TrajectoryBatch) else source
        yield OpenDataset(source=inside, info=DatasetInfo())


@contextmanager
def dataset_sink(
    target: str | Path | Url,
    schema: TrajectorySchema,
    *,
    to: str,
    info: DatasetInfo,
    capture: CaptureForm | None = None,
    compression: str = "lz4",
) -> Iterator[BatchSink]:
    """Open what takes batches of one schema; the target appears whole when the block ends without an exception.

    Args:
        target: as `convert`, and so the other arguments.
        schema: of the batches.
        to: the format.
        info: where the data comes from.
        capture: for captures, what they say beside the trajectories. None: what `info` says.
        compression: of shards.

    Raises:
        ArtifactError, CaptureError, SchemaError, MissingExtraError: as `convert`.
    """
    place = named_place(target)
    if to not in target_names():
        raise SchemaError(f"`to` must be one of {target_names()}, got {to!r}")
    if to == "shards" and isinstance(place, Url):
        from townlet_trajectory.formats.shards.writer import ShardWriter  # needs an extra

        with ShardWriter(place, schema, info=info, compression=compression) as shards:
            yield shards
        return
    target = local_path(place, f"`{to}` is written to this machine")
    if os.path.lexists(target):
        raise ArtifactError(target, "write", "exists already")
    make_directory(target.parent)
    with _sink(target, to, schema, info, capture, compression) as sink:
        yield sink


@contextmanager
def _sink(
    target: Path, to: str, schema: TrajectorySchema, info: DatasetInfo, capture: CaptureForm | None, compression: str
) -> Iterator[BatchSink]:
    """What takes the batches; the target is complete when the block ends without an exception."""
    if to == "shards":
        from townlet_trajectory.formats.shards.writer import ShardWriter  # needs an extra, as the next one does

        with (
            filled_directory(target) as folder,
            ShardWriter(folder, schema, info=info, compression=compression) as shards,
        ):
            yield shards
    elif to == "minari":
        from townlet_trajectory.formats.minari.writer import MinariWriter

        with MinariWriter(target.parent, target.name, schema, info=info) as episodes:
            yield episodes
    elif to == PARQUET:
        from townlet_trajectory.formats.parquet import parquet_sink

        with parquet_sink(target, schema, info=info) as steps:
            yield steps
    elif to == "npz":
        collected = _Collected(target, schema)
        yield collected
        save_batch(target, collected.batch())
    elif to != "captures":
        with registered_format(to).sink(target, schema, info) as sink:
            yield sink
    else:
        form = form_of(info, target) if capture is None else capture
        collected = _Collected(target, schema)
        yield collected
        with filled_directory(target) as folder:
            form.write(folder, collected.batch())


class _Collected:
    """A sink in memory, up to what fits into one file."""

    def __init__(self, target: Path, schema: TrajectorySchema) -> None:
        self._target = target
        self._schema = schema
        self._batches: list[TrajectoryBatch] = []
        self._num_bytes = 0

    def write(self, batch: TrajectoryBatch) -> None:
        self._num_bytes += batch.num_steps * step_bytes(self._schema)
        if self._num_bytes > MAX_NPZ_BYTES:
            message = f"more than {MAX_NPZ_BYTES} bytes are written to shards or Minari alone"
            raise ArtifactError(self._target, "encode", message)
        self._batches.append(batch)

    def batch(self) -> TrajectoryBatch:
        return TrajectoryBatch.concatenate([TrajectoryBatch.empty(self._schema), *self._batches])


def _left_out(info: DatasetInfo, to: str) -> tuple[str, ...]:
    if to not in ("captures", "npz"):
        return ()
    said, nothing = info.document(), DatasetInfo().document()
    if to == "captures":
        said["notes"] = {name: note for name, note in info.notes.items() if name != NOTE}
    return tuple(field.name for field in fields(info) if said[field.name] != nothing[field.name])
