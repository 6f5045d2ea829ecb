"""What is known of trajectories without their tensors, and which of them are pieces of one: long ones are cut."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.checks import check_array
from townlet_trajectory.data.labels import latest_labels
from townlet_trajectory.data.schema import Array, ArraySpec
from townlet_trajectory.data.split import unit_hash
from townlet_trajectory.data.trajectory import ManyTrajectories
from townlet_trajectory.errors import ShapeError


@dataclass(frozen=True, kw_only=True, eq=False)
class TrajectoryTable(ManyTrajectories):
    """Identity, length and end of B trajectories, known without reading a tensor."""

    first_ticks: NDArray[np.int64]
    """[B]."""
    lengths: NDArray[np.int64]
    """[B]; steps, at least 1."""
    tags: tuple[frozenset[str], ...] = ()
    """[B]; what each was tagged with. Empty where nothing is tagged."""

    def __post_init__(self) -> None:
        size = len(self)
        self.check_trajectories(size)
        for name in ("first_ticks", "lengths"):
            check_array(name, vars(self)[name], ArraySpec("int64"), size)
        if self.lengths.min(initial=1) < 1:
            raise ShapeError(f"`lengths` must be at least 1, got {self.lengths.min()}")
        if self.tags and len(self.tags) != size:
            raise ShapeError(f"`tags` must be empty or [{size}], got {len(self.tags)}")

    def __len__(self) -> int:
        """Trajectories (B)."""
        return len(self.lengths)


def rows_of_table(table: TrajectoryTable, rows: NDArray[np.int64]) -> TrajectoryTable:
    """The trajectories `rows` [K] of a table, in that order."""
    names = [field.name for field in fields(TrajectoryTable) if field.name != "tags"]
    return TrajectoryTable(
        **{name: vars(table)[name][rows] for name in names},
        tags=tuple(table.tags[row] for row in rows.tolist()) if table.tags else (),
    )


def labels_of_wholes(table: TrajectoryTable) -> NDArray[np.int8]:
    """[B]; for each piece, the label of its whole trajectory: that of the latest piece whose label is not `NONE`."""
    if not table.episode_labels.any():
        return table.episode_labels
    wholes = whole_of_piece(table)
    order = np.lexsort((table.first_ticks, wholes))
    firsts = np.flatnonzero(np.diff(wholes[order], prepend=-1))
    return latest_labels(table.episode_labels[order], firsts)[wholes]


def whole_of_piece(table: TrajectoryTable) -> NDArray[np.int64]:
    """The whole trajectory that each piece belongs to.

    A piece goes on in another one of the same world, episode and agent that begins one tick after its last, unless it
    was terminated or truncated. Where several fit, the first goes on in the first, the second in the second: `joined`
    of a batch, without its look at the observations.

    Returns:
        [B]; numbers from 0, in the order of the first pieces in the table.
    """
    return np.unique(first_piece_of(table), return_inverse=True)[1].astype(np.int64, copy=False)


def first_piece_of(table: TrajectoryTable) -> NDArray[np.int64]:
    """[B]; the place in the table of the first piece of the trajectory of each piece; see `whole_of_piece`."""
    lives = _lives(table)
    open_ = np.flatnonzero(~(table.terminated | table.truncated))
    stops = np.column_stack((lives[open_], (table.first_ticks + table.lengths)[open_]))
    before, after = matching_rows(stops, np.column_stack((lives, table.first_ticks)))
    return first_pieces(len(table), open_[before], after)


def first_pieces(num_pieces: int, before: NDArray[np.int64], after: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find the first piece of the trajectory of each piece.

    Args:
        num_pieces: B.
        before: [K]; pieces that go on.
        after: [K]; the pieces in which they do.

    Returns:
        [B].
    """
    heads = np.arange(num_pieces)
    heads[after] = before
    # Pointer jumping: each round doubles how far a piece sees back.
    while not np.array_equal(further := heads[heads], heads):
        heads = further
    return heads


def matching_rows(first: Array, second: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair the rows of `first` [M, K] and `second` [N, K] that are equal byte for byte, the k-th with the k-th."""
    codes = _numbers(np.concatenate((first, second)))
    ranks = _distinct(codes[: len(first)]), _distinct(codes[len(first) :])
    _, of_first, of_second = np.intersect1d(*ranks, assume_unique=True, return_indices=True)
    return of_first, of_second


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


def _numbers(rows: Array) -> NDArray[np.int64]:
    """[N]; equal numbers, at least 0, for equal rows [N, K]."""
    keys = np.ascontiguousarray(rows).view(f"V{rows.shape[1] * rows.itemsize}")[:, 0]
    return np.unique(keys, return_inverse=True)[1].astype(np.int64, copy=False)


def _distinct(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The k-th of equal codes as a number that the k-th of the same codes elsewhere has, too, and nothing else."""
    order = np.argsort(codes, kind="stable")
    ranked = codes[order]
    distinct = np.empty_like(codes)
    distinct[order] = ((np.arange(len(codes)) - np.searchsorted(ranked, ranked)) << 32) + ranked
    return distinct


def trajectory_hash(seed: int, table: TrajectoryTable) -> NDArray[np.float64]:
    """A number in [0, 1) for each trajectory, uniform over trajectories; pieces of one have the number of the first.

    It depends on (seed, world, episode, agent id, first tick) alone. Returns [B].
    """
    first = first_piece_of(table)
    ids, which = np.unique(table.agent_ids[first], return_inverse=True)
    digests = [hashlib.blake2b(str(name).encode(errors="surrogatepass"), digest_size=8).digest() for name in ids]
    agents = np.frombuffer(b"".join(digests), "<u8")[which]
    return unit_hash(seed, table.worlds[first], table.episodes[first], agents, table.first_ticks[first])
