"""Which rows of a table are pieces of one trajectory: long ones are cut where a shard or a buffer was full."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.trajectory import Array
from townlet_trajectory.dataset.source import TrajectoryTable


def whole_of_piece(table: TrajectoryTable) -> NDArray[np.int64]:
    """The whole trajectory that each piece belongs to.

    A piece goes on in another one of the same world, episode and agent that begins one tick after its last, unless it
    was terminated or truncated. Where several fit, the first goes on in the first, the second in the second: `joined`
    of a batch, without its look at the observations.

    Returns:
        [B]; numbers from 0, in the order of the first pieces in the table.
    """
    lives = _lives(table)
    open_ = np.flatnonzero(~(table.terminated | table.truncated))
    stops = np.column_stack((lives[open_], (table.first_ticks + table.lengths)[open_]))
    starts = np.column_stack((lives, table.first_ticks))
    seams = _distinct_numbers(np.concatenate((stops, starts)), len(stops))
    _, before, after = np.intersect1d(seams[: len(stops)], seams[len(stops) :], return_indices=True)
    heads = np.arange(len(table))
    heads[after] = open_[before]
    # Pointer jumping: each round doubles how far a piece sees back.
    while not np.array_equal(further := heads[heads], heads):
        heads = further
    return np.unique(heads, return_inverse=True)[1].astype(np.int64, copy=False)


def sums_of_wholes(wholes: NDArray[np.int64], values: Array) -> NDArray[np.float64]:
    """[W]; the sum of the `values` [B] of the pieces of each whole, in float64."""
    return np.bincount(wholes, weights=values.astype(np.float64, copy=False)).astype(np.float64, copy=False)


def overlapping(table: TrajectoryTable) -> NDArray[np.int64]:
    """Trajectories that claim a tick which another one of the same world, episode and agent claims as well.

    Returns:
        [K]; places in the table, ascending: of each overlap the one that begins later.
    """
    lives = _lives(table)
    order = np.lexsort((table.first_ticks, lives))
    first = np.diff(lives[order], prepend=-1) != 0
    # The latest stop so far of the same life: a running maximum over ranks, in which every later life is above.
    stops = np.column_stack((lives, table.first_ticks + table.lengths))[order]
    ranks = np.lexsort((stops[:, 1], stops[:, 0])).argsort()
    latest = stops[ranks.argsort()[np.maximum.accumulate(ranks)], 1]
    overlaps = ~first[1:] & (table.first_ticks[order][1:] < latest[:-1])
    return np.sort(order[1:][overlaps])


def _lives(table: TrajectoryTable) -> NDArray[np.int64]:
    """[B]; equal numbers, at least 0, for equal world, episode and agent id."""
    agents = np.unique(table.agent_ids, return_inverse=True)[1]
    return _numbers(np.column_stack((table.worlds, table.episodes, agents.astype(np.int64, copy=False))))


def _numbers(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """[N]; equal numbers, at least 0, for equal rows [N, K]."""
    keys = np.ascontiguousarray(rows).view(f"V{rows.shape[1] * rows.itemsize}")[:, 0]
    return np.unique(keys, return_inverse=True)[1].astype(np.int64, copy=False)


def _distinct_numbers(rows: NDArray[np.int64], num_first: int) -> NDArray[np.int64]:
    """[N]; the k-th row of the first part and the k-th of the second that equals it have one number of their own."""
    numbers = _numbers(rows) * 2
    numbers[num_first:] += 1
    order = np.argsort(numbers, kind="stable")
    ranked = numbers[order]
    repeats = np.empty_like(numbers)
    repeats[order] = np.arange(len(numbers)) - np.searchsorted(ranked, ranked)
    return (repeats << 32) + numbers // 2
