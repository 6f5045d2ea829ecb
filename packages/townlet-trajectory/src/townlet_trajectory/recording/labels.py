"""What was said of the trajectories of a recorder, and which of them are meant by what is said next."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.labels import meant_rows
from townlet_trajectory.data.schema import EpisodeLabel
from townlet_trajectory.recording.roster import Presence


class EpisodeLabels:
    """The labels of trajectories by their number."""

    def __init__(self) -> None:
        self._by_number: dict[int, int] = {}

    def of(self, numbers: NDArray[np.int64]) -> NDArray[np.int8]:
        """[B]; the labels of the trajectories `numbers` [B]."""
        if not self._by_number:
            return np.zeros(len(numbers), np.int8)
        return np.array([self._by_number.get(number, EpisodeLabel.NONE) for number in numbers.tolist()], np.int8)

    def give(self, label: EpisodeLabel, numbers: NDArray[np.int64]) -> None:
        """Label the trajectories `numbers` [K], in place of what was said of them before."""
        self._by_number |= dict.fromkeys(numbers.tolist(), int(label))

    def keep(self, numbers: NDArray[np.int64]) -> None:
        """Forget the labels of all trajectories but `numbers` [K]."""
        self._by_number = {one: self._by_number[one] for one in numbers.tolist() if one in self._by_number}


class Meant(NamedTuple):
    """The trajectories that a call means."""

    numbers: NDArray[np.int64]
    """[K]; those that a recorder knows of."""
    episode: int | None
    """Number of their episode; None: the recorder knows of none that could be meant."""
    is_all: bool
    """Whether a sink has nothing of it that has to be labelled there."""


def meant_by(kept: Presence, open: Presence, *, world: int, agent_id: str | None, ended: bool) -> Meant:
    """Find the trajectories that a call of `TrajectoryService.label_episode` means.

    Args:
        kept: trajectories with rows in the recorder, each once.
        open: trajectories that go on, and had a row, wherever it is now.
        world: as the call says.
        agent_id: as the call says.
        ended: as the call says.
    """
    known = Presence(*(np.concatenate(columns) for columns in zip(kept, open, strict=True)))
    now, episode = open.episodes[open.worlds == world], None
    if ended and agent_id is None and now.size:
        episode = int(now.max()) - 1
    goes_on = np.isin(known.numbers, open.numbers)
    rows = meant_rows(known, known.numbers, goes_on, world=world, episode=episode, agent_id=agent_id, ended=ended)
    if rows.size:
        episode = int(known.episodes[rows[0]])
    numbers = np.unique(known.numbers[rows])
    # The next piece of a trajectory is the latest, and says what is true of all of it.
    return Meant(numbers, episode, agent_id is not None and bool(np.isin(numbers, kept.numbers).any()))
