"""What was said of the trajectories of a recorder, and which of them are meant by what is said next."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.labels import WhichEpisode, meant_rows
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
        if self._by_number:
            self._by_number = {one: self._by_number[one] for one in numbers.tolist() if one in self._by_number}


class Meant(NamedTuple):
    """The trajectories that a call means."""

    numbers: NDArray[np.int64]
    """[K]; those that a recorder knows of."""
    elsewhere: WhichEpisode | None
    """What a sink has to label. None: nothing, for the latest piece is not there."""


def meant_by(which: WhichEpisode, kept: Presence, open: Presence, num_recorded: int) -> Meant:
    """Find the trajectories that a call of `TrajectoryService.label_episode` means.

    Args:
        which: as the call says.
        kept: trajectories with rows in the recorder, each once.
        open: trajectories that go on, and had a decision.
        num_recorded: trajectories of smaller numbers had a row, wherever it is now.
    """
    known = Presence(*(np.concatenate(columns) for columns in zip(kept, open, strict=True)))
    now = open.episodes[open.worlds == which.world]
    if which.ended and which.agent_id is None and now.size:
        which = replace(which, not_episode=int(now.max()))
    rows = meant_rows(which, known, known.numbers, np.isin(known.numbers, open.numbers))
    numbers = np.unique(known.numbers[rows])
    # The latest piece says what is true of a whole trajectory, and where a row is here it is not in the sink.
    here = np.isin(numbers, kept.numbers) | (numbers >= num_recorded)
    if which.agent_id is not None and here.any():
        return Meant(numbers, None)
    return Meant(numbers, replace(which, episode=int(known.episodes[rows[0]])) if rows.size else which)
