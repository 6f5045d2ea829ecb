"""Trajectories of a source in one order, whole, and in blocks that do not depend on how they are stored."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.labels import latest_labels
from townlet_trajectory.data.pieces import in_one
from townlet_trajectory.data.ragged import offsets_of
from townlet_trajectory.data.schema import ACTION_MASK, Array, TrajectorySchema
from townlet_trajectory.data.table import TrajectoryTable, first_piece_of
from townlet_trajectory.dataset.memory import BLOCK_BYTES, decoded_bytes, step_bytes
from townlet_trajectory.dataset.source import TrajectorySource, block_bounds, require_decision
from townlet_trajectory.errors import DatasetError


class CanonicalOrder:
    """The trajectories of a source by ascending world, episode, first tick and agent id, pieces of one joined.

    Equal trajectories make equal blocks in equal order, whatever form they were read from. Two that agree in all of
    that are ordered by length and end, then as in the source. Pieces are found by the table (`whole_of_piece`), and
    compared where they are read.

    A block is read by reading the blocks of the source that its pieces are in, one at a time; the last of them is kept
    for the next. Where a source keeps its trajectories in quite another order, that is many: write it once in this
    order (`reshard(CanonicalOrder(source), sink)`) to read it often.

    Args:
        source: what to read.
        block_bytes: decoded columns of a block, about; a longer trajectory is a block of its own.

    Raises:
        DatasetError: if `block_bytes` is less than 1.
    """

    def __init__(self, source: TrajectorySource, *, block_bytes: int = BLOCK_BYTES) -> None:
        if block_bytes < 1:
            raise DatasetError(f"`block_bytes` must be at least 1, got {block_bytes!r}")
        self._source = source
        self._block_bytes = block_bytes
        self.schema: TrajectorySchema = source.schema
        self._pieces, self._firsts = _in_order(source.table)
        """[P]: places in the source's table; [W + 1]: the pieces `firsts[i] : firsts[i + 1]` are trajectory i."""
        self.table: TrajectoryTable = _of_wholes(source.table, self._pieces, self._firsts)
        stripes = offsets_of(self.table.lengths)[:-1] * step_bytes(self.schema) // block_bytes
        starts = np.flatnonzero(np.diff(stripes, prepend=-1))
        self.block_offsets: NDArray[np.int64] = np.append(starts, len(self.table)).astype(np.int64)
        self._blocks = np.searchsorted(source.block_offsets, self._pieces, side="right") - 1
        """[P]; the block of the source that each piece is in."""
        self.encoded_bytes = self._encoded_bytes()
        self._kept: tuple[int, TrajectoryBatch] | None = None

    def __getstate__(self) -> dict[str, object]:
        """What another process is sent: everything but what was read."""
        return {**vars(self), "_kept": None}

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"canonical {self._block_bytes} {self._source.fingerprint}".encode()).hexdigest()

    def load_block(self, block: int) -> TrajectoryBatch:
        first, stop = block_bounds(self, block)
        pieces = slice(int(self._firsts[first]), int(self._firsts[stop]))
        numbers, blocks = self._pieces[pieces], self._blocks[pieces]
        places: list[NDArray[np.int64]] = []
        parts: list[TrajectoryBatch] = []
        for source_block in self._kept_first(np.unique(blocks)):
            places.append(np.flatnonzero(blocks == source_block))
            inside = numbers[places[-1]] - self._source.block_offsets[source_block]
            parts.append(self._read(source_block).select(inside))
        batch, order = TrajectoryBatch.concatenate(parts), np.argsort(np.concatenate(places))
        parts.clear()
        if not np.array_equal(order, np.arange(len(order))):
            batch = batch.select(order)
        firsts = self._firsts[first:stop] - self._firsts[first]
        _require_met(batch, np.setdiff1d(np.arange(len(batch)), firsts))
        return in_one(batch, firsts)

    def decision_column(self, block: int, name: str) -> Array:
        require_decision(self.schema, name)
        return self.load_block(block).columns[name]

    def _kept_first(self, blocks: NDArray[np.int64]) -> list[int]:
        kept = -1 if self._kept is None else self._kept[0]
        return sorted(blocks.tolist(), key=lambda block: (block != kept, block))

    def _read(self, block: int) -> TrajectoryBatch:
        if self._kept is None or self._kept[0] != block:
            self._kept = None  # let it go before the next one is read
            self._kept = (block, self._source.load_block(block))
        return self._kept[1]

    def _encoded_bytes(self) -> NDArray[np.int64]:
        """[K]; bytes, stored and decoded, of the greatest of the source's blocks that each block is made of."""
        sizes = self._source.encoded_bytes + decoded_bytes(self._source)
        if not len(self.table):
            return np.zeros(0, np.int64)
        return np.maximum.reduceat(sizes[self._blocks], self._firsts[self.block_offsets[:-1]])


def _in_order(table: TrajectoryTable) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pieces [P] whole after whole in canonical order, those of one by tick; and where each whole begins [W + 1]."""
    head = first_piece_of(table)
    heads = np.unique(head)
    of_piece = np.searchsorted(heads, head)
    last = heads.copy()
    by_tick = np.argsort(table.first_ticks, kind="stable")
    last[of_piece[by_tick]] = by_tick
    lengths = np.bincount(of_piece, weights=table.lengths, minlength=len(heads)).astype(np.int64)
    agents = np.unique(table.agent_ids, return_inverse=True)[1].astype(np.int64, copy=False)
    ends = (lengths, table.terminated[last], table.truncated[last])
    identity = (agents[heads], table.first_ticks[heads], table.episodes[heads], table.worlds[heads])
    rank = np.argsort(np.lexsort((*ends[::-1], *identity)))
    pieces = np.lexsort((table.first_ticks, rank[of_piece]))
    return pieces, offsets_of(np.bincount(rank[of_piece], minlength=len(heads)))


def _of_wholes(table: TrajectoryTable, pieces: NDArray[np.int64], firsts: NDArray[np.int64]) -> TrajectoryTable:
    first, last = pieces[firsts[:-1]], pieces[firsts[1:] - 1]
    return TrajectoryTable(
        agent_ids=table.agent_ids[first],
        worlds=table.worlds[first],
        episodes=table.episodes[first],
        first_ticks=table.first_ticks[first],
        lengths=np.add.reduceat(table.lengths[pieces], firsts[:-1]) if len(first) else table.lengths[first],
        terminated=table.terminated[last],
        truncated=table.truncated[last],
        episode_labels=latest_labels(table.episode_labels[pieces], firsts[:-1]),
        tags=tuple(table.tags[place] for place in first.tolist()) if table.tags else (),
    )


def _require_met(batch: TrajectoryBatch, later: NDArray[np.int64]) -> None:
    """Raise `DatasetError` unless each of the pieces `later` begins with the observation that the one before led to; a
    mask of legal actions, which no final observation needs, is not looked at."""
    for name, array in batch.observations.items():
        if name == ACTION_MASK or not later.size:
            continue
        differ = array[batch.offsets[later]] != batch.final_observations[name][later - 1]
        if differ.any():
            piece = int(later[np.flatnonzero(differ.reshape(len(later), -1).any(axis=1))[0]])
            raise DatasetError(
                f"two pieces of agent {batch.agent_ids[piece]!r} of world {batch.worlds[piece]}, episode "
                f"{batch.episodes[piece]} meet at tick {batch.ticks[batch.offsets[piece]]} and show another `{name}` "
                "there: recordings of different runs need worlds of their own numbers (`renumber_worlds`)"
            )
