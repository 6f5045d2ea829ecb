"""Datasets made of datasets: filtered, merged, split, laid out anew; read and written block by block.

Every function reads a source and writes to sinks, of which `ShardWriter` is one. It holds one block at a time,
`reshard` a few. What was cut into pieces is judged whole: a long trajectory is not short because a shard was full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.batch import BatchSink, TrajectoryBatch
from townlet_trajectory.data.pieces import joined
from townlet_trajectory.data.split import is_held_out
from townlet_trajectory.data.table import labels_of_wholes, overlapping, whole_of_piece
from townlet_trajectory.dataset.filter import TrajectoryFilter
from townlet_trajectory.dataset.source import TrajectorySource, blocks_of, joined_tables, require_equal_schemas
from townlet_trajectory.errors import DatasetError

DEFAULT_WINDOW_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class CurationResult:
    """Counts of the trajectories of a source; pieces of one count once."""

    total: int
    accepted: int
    num_steps: int
    """Steps of the accepted ones."""

    @property
    def rejected(self) -> int:
        return self.total - self.accepted


def filter_dataset(source: TrajectorySource, sink: BatchSink, condition: TrajectoryFilter) -> CurationResult:
    """Write the trajectories that meet a condition, in the order of the source.

    Args:
        source: what to read.
        sink: where accepted trajectories go.
        condition: pieces of one trajectory are judged whole.

    Returns:
        How many trajectories there were, how many met the condition, and the steps of those.

    Raises:
        SchemaError: if the condition is about a column that the source has not.
        ArtifactError: if something cannot be read or written; what was written before stays.
    """
    kept = condition.kept(source)
    for block, first, stop in blocks_of(source):
        if kept[first:stop].any():
            _write(source.load_block(block), kept[first:stop], sink)
    return _result(source, kept)


def split_dataset(
    source: TrajectorySource, train: BatchSink, held_out: BatchSink, *, fraction: float, seed: int
) -> tuple[CurationResult, CurationResult]:
    """Write each trajectory to one of two sinks; all of a world's episode go to the same one.

    The side is that of `TrajectoryBatch.split_by_episode`: a function of (seed, world, episode) alone. Data that comes
    later moves nothing.

    Args:
        source: what to read.
        train: where the rest goes.
        held_out: where about `fraction` of the episodes goes.
        fraction: in [0, 1].
        seed: of the split.

    Returns:
        What each sink was given, (train, held out).

    Raises:
        ShapeError: if `fraction` is not in [0, 1].
        ArtifactError: as `filter_dataset`.
    """
    apart = is_held_out(fraction, seed=seed, worlds=source.table.worlds, episodes=source.table.episodes)
    for block, first, stop in blocks_of(source):
        batch = source.load_block(block)
        _write(batch, ~apart[first:stop], train)
        _write(batch, apart[first:stop], held_out)
    return _result(source, ~apart), _result(source, apart)


def merge_datasets(sources: Sequence[TrajectorySource], sink: BatchSink, *, renumber_worlds: bool = False) -> int:
    """Write all trajectories of sources with equal schemas, one source after the other.

    Args:
        sources: at least one.
        sink: where they go.
        renumber_worlds: give the worlds of each source numbers of their own. Two runs that were recorded apart need it:
            their worlds have the same numbers, and are not the same worlds.

    Returns:
        How many trajectories (and pieces) were written.

    Raises:
        DatasetError: if there is no source, or an agent is at the same tick of the same episode in two sources.
        SchemaError: if schemas differ.
        ArtifactError: as `filter_dataset`.
    """
    require_equal_schemas(sources)
    if not renumber_worlds:
        _require_apart(sources)
    next_world = 0
    for source in sources:
        worlds = source.table.worlds
        shift = next_world - int(worlds.min(initial=0)) if renumber_worlds else 0
        next_world = int(worlds.max(initial=-1)) + shift + 1
        for block, _, _ in blocks_of(source):
            batch = source.load_block(block)
            sink.write(replace(batch, worlds=batch.worlds + shift) if shift else batch)
    return sum(len(source.table) for source in sources)


def reshard(source: TrajectorySource, sink: BatchSink, *, window_bytes: int = DEFAULT_WINDOW_BYTES) -> int:
    """Write all trajectories anew, pieces of one put together where they meet in a window.

    Pieces that stay apart are given the label of their whole, which the latest of them may be the only one to have.
    A trajectory that goes on is held back for its next piece, unless those held back take half of the window. Its size
    and compression are the sink's: `ShardWriter(..., rows_per_shard=..., compression=...)`.

    Args:
        source: what to read.
        sink: where everything goes.
        window_bytes: decoded bytes that are collected before pieces are put together and written.

    Returns:
        How many trajectories (and pieces) were written.

    Raises:
        DatasetError: if `window_bytes` is less than 1.
        ArtifactError: as `filter_dataset`.
    """
    if window_bytes < 1:
        raise DatasetError(f"`window_bytes` must be at least 1, got {window_bytes!r}")
    written = 0
    window: list[TrajectoryBatch] = []
    labels = labels_of_wholes(source.table)
    for block, first, stop in blocks_of(source):
        batch = source.load_block(block)
        if not np.array_equal(batch.episode_labels, labels[first:stop]):
            batch = replace(batch, episode_labels=labels[first:stop])
        window.append(batch)
        if sum(map(_num_bytes, window)) >= window_bytes:
            held, count = _write_ended(window, sink, window_bytes // 2)
            window, written = [held], written + count
    if window:
        rest = joined(TrajectoryBatch.concatenate(window))
        written += _write(rest, np.ones(len(rest), np.bool_), sink)
    return written


def _write(batch: TrajectoryBatch, kept: NDArray[np.bool_], sink: BatchSink) -> int:
    """Write the trajectories of a mask [B]; nothing where there is none. Returns how many."""
    if kept.any():
        sink.write(batch if kept.all() else batch.select(np.flatnonzero(kept)))
    return int(np.count_nonzero(kept))


def _write_ended(window: list[TrajectoryBatch], sink: BatchSink, hold_bytes: int) -> tuple[TrajectoryBatch, int]:
    """Write what a window holds but for what goes on; return that, and how many were written."""
    batch = joined(TrajectoryBatch.concatenate(window))
    goes_on = ~(batch.terminated | batch.truncated)
    held = batch.select(np.flatnonzero(goes_on))
    if _num_bytes(held) > hold_bytes:
        goes_on[:] = False
        held = TrajectoryBatch.empty(batch.schema)
    return held, _write(batch, ~goes_on, sink)


def _num_bytes(batch: TrajectoryBatch) -> int:
    """Bytes of the arrays that grow with the steps."""
    columns = (*batch.observations.values(), *batch.columns.values(), batch.rewards, batch.ticks)
    return sum(array.nbytes for array in columns)


def _result(source: TrajectorySource, kept: NDArray[np.bool_]) -> CurationResult:
    wholes = whole_of_piece(source.table)
    return CurationResult(
        total=len(np.unique(wholes)),
        accepted=len(np.unique(wholes[kept])),
        num_steps=int(source.table.lengths[kept].sum()),
    )


def _require_apart(sources: Sequence[TrajectorySource]) -> None:
    """Raise `DatasetError` if sources overlap in a way that none of them does by itself."""
    table = joined_tables([source.table for source in sources])
    firsts = np.cumsum([0, *(len(source.table) for source in sources)])
    alone = [overlapping(source.table) + first for source, first in zip(sources, firsts[:-1], strict=True)]
    clashes = np.setdiff1d(overlapping(table), np.concatenate(alone))
    if len(clashes):
        place = int(clashes[0])
        number = int(np.searchsorted(firsts, place, side="right")) - 1
        raise DatasetError(
            f"source {number}: agent {table.agent_ids[place]!r} of world {table.worlds[place]}, episode "
            f"{table.episodes[place]} has ticks that it has in another source ({len(clashes)} such trajectories); "
            f"`renumber_worlds=True` keeps runs apart that were recorded apart"
        )
