"""Labels of episodes: which trajectories are meant by one, and which of several holds for a whole trajectory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.schema import EpisodeLabel, label_named

LEARNED_FROM = tuple(label for label in EpisodeLabel if label != EpisodeLabel.DISCARD)
"""The labels of episodes that are learned from, unless others are asked for."""


def labels_named(names: Iterable[str] | None) -> tuple[EpisodeLabel, ...]:
    """The labels of these names in lower case, `LEARNED_FROM` where there are none; `SchemaError` if one is unknown."""
    return LEARNED_FROM if names is None else tuple(map(label_named, names))


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


@dataclass(frozen=True, kw_only=True)
class WhichEpisode:
    """Which trajectories are meant: the latest one of an agent, or all of the latest episode of a world."""

    world: int
    agent_id: str | None = None
    """None: all agents in the world's episode."""
    ended: bool = False
    """Of an agent, the latest one that was terminated or truncated. False: the latest one."""
    episode: int | None = None
    """Number of the world's episode. None: any."""
    not_episode: int | None = None
    """Number of the one that goes on, where an earlier one is meant."""


class Identified(Protocol):
    """Whose some trajectories [B] are."""

    @property
    def worlds(self) -> NDArray[np.int64]:
        """[B]."""

    @property
    def episodes(self) -> NDArray[np.int64]:
        """[B]; numbers of the worlds' episodes."""

    @property
    def agent_ids(self) -> NDArray[np.object_]:
        """[B] str."""


def meant_rows(
    which: WhichEpisode, whose: Identified, order: NDArray[np.int64], goes_on: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Find the trajectories, or pieces, that are meant.

    Args:
        which: what is asked for.
        whose: the trajectories.
        order: [B]; greater for later ones.
        goes_on: [B]; whether each has not ended.

    Returns:
        [K]; their places, ascending.
    """
    mine = whose.worlds == which.world
    if which.episode is not None:
        mine &= whose.episodes == which.episode
    if which.not_episode is not None:
        mine &= whose.episodes != which.not_episode
    if which.agent_id is not None:
        mine &= whose.agent_ids == which.agent_id
        if which.ended:
            mine &= ~goes_on
    rows = np.flatnonzero(mine)
    if not rows.size:
        return rows
    place = int(order[rows].argmax())
    if which.agent_id is not None:
        return rows[place : place + 1]
    same: NDArray[np.bool_] = whose.episodes[rows] == whose.episodes[rows[place]]
    return rows[same]
