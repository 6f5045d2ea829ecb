"""Batches from many recorders, workers or files as one, whatever order they arrive in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.batch import TrajectoryBatch

_DIGEST_BYTES = 32


def merged(batches: Sequence[TrajectoryBatch]) -> TrajectoryBatch:
    """All trajectories of batches of equal schemas in canonical order: the order of arrival changes nothing.

    Nothing is put together or left out: `joined` joins the pieces of a trajectory, and one that was given twice is
    there twice.

    Raises:
        SchemaError: if there is no batch, or schemas differ.
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
