"""The rows of a recorder, tick by tick, put together as trajectories."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.schema import Array, TrajectorySchema
from townlet_trajectory.recording.buffer import RolloutBuffer
from townlet_trajectory.recording.labels import EpisodeLabels
from townlet_trajectory.recording.roster import NOBODY, Ended, Presence


def grouped(
    schema: TrajectorySchema, buffer: RolloutBuffer, ended: Ended, in_progress: Presence, labels: EpisodeLabels
) -> TrajectoryBatch:
    """Put the complete rows together as trajectories sorted by world, slot and beginning.

    Args:
        schema: of the rows.
        buffer: the rows.
        ended: the trajectories that ended, with their final observations.
        in_progress: the agents of the tick in progress, whose observations are the final ones of what goes on.
        labels: of the trajectories.
    """
    whose, ranks = ranked([block[3] for block in buffer.blocks()])
    num_steps = np.bincount(ranks, minlength=len(whose.numbers))
    places = np.empty_like(ranks)
    places[_stable_order(ranks, len(num_steps))] = np.arange(len(ranks))

    by_number = np.argsort(whose.numbers)
    has_rows = np.isin(in_progress.numbers, whose.numbers)
    ended_ranks = by_number[np.searchsorted(whose.numbers, ended.numbers, sorter=by_number)]
    open_ranks = by_number[np.searchsorted(whose.numbers, in_progress.numbers[has_rows], sorter=by_number)]
    terminated, truncated = np.zeros(len(num_steps), np.bool_), np.zeros(len(num_steps), np.bool_)
    terminated[ended_ranks] = ended.terminated
    truncated[ended_ranks] = ended.truncated
    final_observations = {}
    for name, spec in schema.observations.items():
        final: Array = np.empty((len(num_steps), *spec.shape), spec.dtype)
        final[ended_ranks] = ended.final_observations[name]
        if open_ranks.size:
            final[open_ranks] = buffer.in_progress(name)[has_rows]
        final_observations[name] = final
    rows = buffer.rows(places)
    return TrajectoryBatch(
        schema=schema,
        offsets=np.concatenate((np.zeros(1, np.int64), np.cumsum(num_steps))),
        observations=rows.observations,
        final_observations=final_observations,
        columns=rows.decisions,
        rewards=rows.rewards,
        ticks=rows.ticks,
        terminated=terminated,
        truncated=truncated,
        agent_ids=whose.agent_ids,
        worlds=whose.worlds,
        episodes=whose.episodes,
        episode_labels=labels.of(whose.numbers),
    )


def ranked(presences: Sequence[Presence]) -> tuple[Presence, NDArray[np.int64]]:
    """Return the trajectories of some ticks, each once, in the order of a batch, and which of them each row is of."""
    # Ticks between which nobody came or went share one object.
    different = {id(presence): presence for presence in [NOBODY, *presences]}
    whose = Presence(*(np.concatenate(columns) for columns in zip(*different.values(), strict=True)))
    numbers, first, inverse = np.unique(whose.numbers, return_index=True, return_inverse=True)
    order = np.lexsort((numbers, whose.slots[first], whose.worlds[first]))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    ends = np.cumsum([len(presence.numbers) for presence in different.values()])
    ranks = dict(zip(different, np.split(rank[inverse], ends[:-1]), strict=True))
    rows = np.concatenate([ranks[id(presence)] for presence in [NOBODY, *presences]])
    return whose.take(first[order]), rows


def _stable_order(ranks: NDArray[np.int64], num_ranks: int) -> NDArray[np.int64]:
    # numpy sorts 16-bit integers by radix: several times faster, and stable as well.
    if num_ranks <= 1 << 16:
        return np.argsort(ranks.astype(np.uint16), kind="stable")
    return np.argsort(ranks, kind="stable")
