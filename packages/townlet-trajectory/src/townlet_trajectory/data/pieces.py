"""Trajectories cut into pieces, pieces joined again, and batches merged in an order of their own.

A piece is a trajectory like any other. One that was cut off before its end is neither terminated nor truncated, and its
final observation is the first one of the next piece. `joined` undoes every cut, also those that a recorder makes where
it is collected from, or where it is full. A trajectory that is cut gives its label to every piece; of pieces with
different labels the latest that is not `NONE` is that of the whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.checks import check_array
from townlet_trajectory.data.labels import latest_labels
from townlet_trajectory.data.schema import Array, ArraySpec
from townlet_trajectory.data.table import first_pieces, matching_rows
from townlet_trajectory.errors import SchemaError, ShapeError

POSSESSED = "possessed"
"""Name of the decision column that says whether an external owner held the agent."""

_DIGEST_BYTES = 32
_IDENTITY = ("agent_ids", "worlds", "episodes")


def split_where(batch: TrajectoryBatch, cut_before_rows: NDArray[np.bool_]) -> TrajectoryBatch:
    """Cut trajectories before the rows where `cut_before_rows` [R] is true; rows that are first anyway may be marked.

    The rows stay where they are and are not copied. Raises `SchemaError`, `ShapeError` if `cut_before_rows` is not bool
    [R].
    """
    check_array("cut_before_rows", cut_before_rows, ArraySpec("bool"), batch.num_steps)
    begins = cut_before_rows.copy()
    begins[batch.offsets[:-1]] = True
    offsets = np.append(np.flatnonzero(begins), batch.num_steps)
    whole = batch.trajectory_of_row[offsets[:-1]]
    is_last = np.diff(whole, append=-1) != 0
    inner, lasts = np.flatnonzero(~is_last), np.flatnonzero(is_last)
    final_observations: dict[str, Array] = {}
    for name, array in batch.final_observations.items():
        final_observations[name] = final = np.empty((len(whole), *array.shape[1:]), array.dtype)
        final[inner] = batch.observations[name][offsets[inner + 1]]
        final[lasts] = array
    return replace(
        batch,
        offsets=offsets,
        final_observations=final_observations,
        terminated=batch.terminated[whole] & is_last,
        truncated=batch.truncated[whole] & is_last,
        episode_labels=batch.episode_labels[whole],
        **{name: vars(batch)[name][whole] for name in _IDENTITY},
    )


def split_every(batch: TrajectoryBatch, num_steps: int) -> TrajectoryBatch:
    """Cut each trajectory into pieces of `num_steps` steps, the last with what is left. Raises `ShapeError` if
    `num_steps` is less than 1."""
    if num_steps < 1:
        raise ShapeError(f"`num_steps` must be at least 1, got {num_steps}")
    step = np.arange(batch.num_steps) - np.repeat(batch.offsets[:-1], batch.lengths)
    return split_where(batch, step % num_steps == 0)


def split_at_changes(batch: TrajectoryBatch, values: Array) -> TrajectoryBatch:
    """Cut trajectories wherever `values` [R, ...] are others than in the row before. Raises `ShapeError` if there is
    not one value for each row."""
    if len(values) != batch.num_steps:
        raise ShapeError(f"`values` must have {batch.num_steps} rows, got {len(values)}")
    changes = np.zeros(batch.num_steps, np.bool_)
    changes[1:] = (values[1:] != values[:-1]).any(axis=tuple(range(1, values.ndim)))
    return split_where(batch, changes)


def split_at_possession(batch: TrajectoryBatch) -> TrajectoryBatch:
    """Cut where an external owner takes an agent over or lets it go (column `possessed`). Raises `SchemaError` if there
    is no such column."""
    return split_at_changes(batch, _decision(batch, POSSESSED))


def split_at_policy_swap(batch: TrajectoryBatch, swaps: str | NDArray[np.bool_]) -> TrajectoryBatch:
    """Cut where another policy begins to decide, so that each piece was decided by one.

    `swaps` is the decision column that says which policy decided (its number, say): swaps are where it changes. Or a
    mask [R], true at the first rows of a new policy: `np.isin(batch.ticks, ticks_of_swaps)`, for example. Raises
    `SchemaError` or `ShapeError` if there is no such column, or the mask is not bool [R].
    """
    if isinstance(swaps, str):
        return split_at_changes(batch, _decision(batch, swaps))
    return split_where(batch, swaps)


def split_by_world_episode(batch: TrajectoryBatch) -> list[TrajectoryBatch]:
    """One batch for each episode of each world, by ascending world and episode; trajectories keep their order.

    A trajectory never reaches beyond the end of an episode, so none has to be cut.
    """
    order = np.lexsort((batch.episodes, batch.worlds))
    worlds, episodes = batch.worlds[order], batch.episodes[order]
    begins = np.flatnonzero((np.diff(worlds) != 0) | (np.diff(episodes) != 0)) + 1
    return [batch.select(indices) for indices in np.split(order, begins)] if len(batch) else []


def keep_steps(batch: TrajectoryBatch, keep: NDArray[np.bool_]) -> TrajectoryBatch:
    """The steps where `keep` [R] is true: each run of them is a piece; copies of the rows. Raises `SchemaError`,
    `ShapeError` if `keep` is not bool [R]."""
    check_array("keep", keep, ArraySpec("bool"), batch.num_steps)
    pieces = split_at_changes(batch, keep)
    return pieces.filter_trajectories(keep[pieces.offsets[:-1]])


def joined(batch: TrajectoryBatch) -> TrajectoryBatch:
    """Put the pieces of each trajectory together, wherever they are; it then stands where its first piece did.

    A piece goes on in another one of the same world, episode and agent id that begins one tick after its last, with
    the observation that was its final one, bit for bit; unless it was terminated or truncated. Where several fit, as
    after merging a recording with itself, the first goes on in the first, the second in the second.
    """
    before, after = _continued(batch)
    if not before.size:
        return batch
    heads = first_pieces(len(batch), before, after)
    order = np.lexsort((batch.ticks[batch.offsets[:-1]], heads))
    pieces = batch if np.array_equal(order, np.arange(len(batch))) else batch.select(order)
    return in_one(pieces, np.flatnonzero(np.diff(heads[order], prepend=-1)))


def in_one(pieces: TrajectoryBatch, firsts: NDArray[np.int64]) -> TrajectoryBatch:
    """Make one trajectory of each run of pieces, which go on in each other; what the last row of one led to is the
    first row of the next.

    Args:
        pieces: B pieces.
        firsts: [W]; the first piece of each run, ascending from 0.
    """
    lasts = np.append(firsts[1:], len(pieces)) - 1
    return replace(
        pieces,
        offsets=np.append(pieces.offsets[firsts], pieces.num_steps),
        final_observations={name: array[lasts] for name, array in pieces.final_observations.items()},
        terminated=pieces.terminated[lasts],
        truncated=pieces.truncated[lasts],
        episode_labels=latest_labels(pieces.episode_labels, firsts),
        **{name: vars(pieces)[name][firsts] for name in _IDENTITY},
    )


def merged(batches: Sequence[TrajectoryBatch]) -> TrajectoryBatch:
    """All trajectories of batches of equal schemas in canonical order: the order of arrival changes nothing.

    Nothing is put together or left out: `joined` joins the pieces of a trajectory, and one that was given twice is
    there twice. Raises `SchemaError` if there is no batch, or schemas differ.
    """
    return canonical(TrajectoryBatch.concatenate(batches))


def canonical(batch: TrajectoryBatch) -> TrajectoryBatch:
    """The trajectories by ascending world, episode, agent id (code points) and first tick.

    Where two agree in all four, as in two runs of one town, their content decides. So equal sets of trajectories come
    in equal order.
    """
    keys = (batch.ticks[batch.offsets[:-1]], agent_codes(batch), batch.episodes, batch.worlds)
    order = np.lexsort(keys)
    same = np.ones(max(0, len(batch) - 1), np.bool_)
    for key in keys:
        same &= key[order[1:]] == key[order[:-1]]
    if same.any():
        tied = order[np.append(False, same) | np.append(same, False)]
        order = np.lexsort((_content_ranks(batch, tied), *keys))
    return batch if np.array_equal(order, np.arange(len(batch))) else batch.select(order)


def agent_codes(batch: TrajectoryBatch) -> NDArray[np.int64]:
    """[B]; the rank of each agent id among those of the batch, equal for equal ids."""
    return np.unique(batch.agent_ids, return_inverse=True)[1].astype(np.int64, copy=False)


def _decision(batch: TrajectoryBatch, name: str) -> Array:
    if name not in batch.columns:
        raise SchemaError(f"there is no decision column `{name}`, but {sorted(batch.columns)}")
    return batch.columns[name]


def _continued(batch: TrajectoryBatch) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of pieces, the second of which goes on where the first was cut off; no piece is twice on one side."""
    ends, firsts = np.flatnonzero(~(batch.terminated | batch.truncated)), batch.offsets[:-1]
    if not ends.size:
        return ends, ends
    agents = agent_codes(batch)
    at_ends = (batch.worlds[ends], batch.episodes[ends], agents[ends], batch.ticks[batch.row_of_last[ends]] + 1)
    at_beginnings = (batch.worlds, batch.episodes, agents, batch.ticks[firsts])
    before, after = matching_rows(
        _as_bytes(*at_ends, *(batch.final_observations[name][ends] for name in batch.observations)),
        _as_bytes(*at_beginnings, *(array[firsts] for array in batch.observations.values())),
    )
    return ends[before], after


def _as_bytes(*columns: Array) -> NDArray[np.uint8]:
    """Rows of columns of N rows, side by side, as bytes [N, bytes of a row]."""
    return np.concatenate(
        [np.ascontiguousarray(column).reshape(len(column), -1).view(np.uint8) for column in columns], axis=1
    )


def _content_ranks(batch: TrajectoryBatch, tied: NDArray[np.int64]) -> NDArray[np.int64]:
    """[B]; the ranks of the digests of the trajectories `tied`; 0 elsewhere."""
    digests = b"".join(_digest(batch, index) for index in tied.tolist())
    ranks = np.zeros(len(batch), np.int64)
    ranks[tied] = np.unique(np.frombuffer(digests, f"V{_DIGEST_BYTES}"), return_inverse=True)[1]
    return ranks


def _digest(batch: TrajectoryBatch, index: int) -> bytes:
    """Of all that a trajectory holds beside its identity."""
    rows = slice(int(batch.offsets[index]), int(batch.offsets[index + 1]))
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    digest.update(batch.terminated[index].tobytes() + batch.truncated[index].tobytes())
    if batch.episode_labels[index]:  # the order of what has no label is that of before there were labels
        digest.update(b"label" + batch.episode_labels[index].tobytes())
    digest.update(batch.rewards[rows].tobytes())
    # By name: schemas are equal whatever the order of their columns.
    for columns, part in (
        (batch.observations, rows),
        (batch.final_observations, slice(index, index + 1)),
        (batch.columns, rows),
    ):
        for name in sorted(columns):
            digest.update(columns[name][part].tobytes())
    return digest.digest()
