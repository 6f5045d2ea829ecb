"""Labels of episodes: which trajectories are meant by one, and which of several holds for a whole trajectory."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.schema import EpisodeLabel


def latest_labels(labels: NDArray[np.int8], firsts: NDArray[np.int64]) -> NDArray[np.int8]:
    """Find the latest label that is not `NONE` of each run of pieces.

    Args:
        labels: [B]; of the pieces, those of one whole one after the other, by tick.
        firsts: [W]; the first piece of each run, ascending from 0.

    Returns:
        [W]; `NONE` where no piece of the run has another.
    """
    if not len(firsts):
        return labels[:0]
    said = np.where(labels != EpisodeLabel.NONE, np.arange(len(labels)), -1)
    latest = np.maximum.reduceat(said, firsts)
    return np.where(latest < 0, np.int8(EpisodeLabel.NONE), labels[latest])


class Identified(Protocol):
    """Whose some trajectories [B] are."""

    @property
    def worlds(self) -> NDArray[np.int64]: ...

    @property
    def episodes(self) -> NDArray[np.int64]: ...

    @property
    def agent_ids(self) -> NDArray[np.object_]: ...


def meant_rows(
    whose: Identified,
    order: NDArray[np.int64],
    goes_on: NDArray[np.bool_],
    *,
    world: int,
    episode: int | None,
    agent_id: str | None,
    ended: bool,
) -> NDArray[np.int64]:
    """Find the latest trajectory of an agent, or all of the latest episode of a world.

    Args:
        whose: the trajectories.
        order: [B]; greater for later ones.
        goes_on: [B]; whether each had not ended yet.
        world: in which world.
        episode: of this episode only; None: of any.
        agent_id: whose latest trajectory is meant; None: all of the latest episode are.
        ended: of an agent, the latest that has ended. False: the latest one.

    Returns:
        [K]; their places, ascending.
    """
    mine = whose.worlds == world
    if episode is not None:
        mine &= whose.episodes == episode
    if agent_id is not None:
        mine &= whose.agent_ids == agent_id
        if ended:
            mine &= ~goes_on
    rows = np.flatnonzero(mine)
    if not rows.size:
        return rows
    place = int(order[rows].argmax())
    return (
        rows[place : place + 1] if agent_id is not None else rows[whose.episodes[rows] == whose.episodes[rows[place]]]
    )
