"""What people showed in a watched world: counted as it comes, and taken out of the record to be learned from."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.errors import SimulationError
from townlet_trajectory import EpisodeLabel, TrajectoryBatch
from townlet_trajectory.data.pieces import joined, keep_steps, split_every

if TYPE_CHECKING:
    from townlet_runtime.core.telemetry import Decided

LEAST_STEPS = 10
"""Demonstrated steps from which on there is something to learn from, to choose by and to judge by."""
HELD_OUT = 0.2
"""Share of the demonstrated steps that is held out of one episode; whole episodes are together at most half of them."""
PIECE = 10
"""Steps of a trajectory to learn from, at most: the unit that the learner holds out to choose the best pass by. Whole
episodes of a short sitting would leave it little to learn from, and a few long pieces little to choose by."""
DEMONSTRATED = "demonstrated"
_LEFT_OUT = (EpisodeLabel.DISCARD, EpisodeLabel.FAILURE)


class ShownCount:
    """Counts the steps that people decided, and the episodes that have one, as they come."""

    def __init__(self) -> None:
        self.steps = 0
        self._beginnings = 0
        self._episodes: set[tuple[int, int]] = set()

    @property
    def episodes(self) -> int:
        """Those with a step that a person decided."""
        return len(self._episodes)

    def copy(self) -> ShownCount:
        """Return a count that goes on by itself."""
        return copy.deepcopy(self)

    def begin(self) -> None:
        """The world begins anew: it numbers its episodes anew, too."""
        self._beginnings += 1

    def count(self, decided: Iterable[Decided | None]) -> None:
        """Count a tick of all groups."""
        for each in decided:
            if each is None:
                continue
            rows = np.flatnonzero(each.decisions.demonstrated)
            self.steps += len(rows)
            self._episodes.update((self._beginnings, int(one)) for one in each.observed.episodes[rows])


@dataclass(frozen=True, kw_only=True, eq=False)
class Demonstrations:
    """The demonstrated steps of a sitting, in two parts of different episodes or times."""

    shown: TrajectoryBatch
    """Steps to learn from, demonstrated ones alone, in trajectories of at most `PIECE` of them, each an episode."""
    held_out: TrajectoryBatch
    """Demonstrated steps to judge by: nothing is learned from them."""
    episodes: int
    """With a demonstrated step."""

    @property
    def steps(self) -> int:
        """Demonstrated steps of both parts."""
        return self.shown.num_steps + self.held_out.num_steps


def demonstrations_of(beginnings: Sequence[Sequence[TrajectoryBatch]]) -> Demonstrations:
    """Take the demonstrated steps out of what was recorded, and hold a part of them out.

    Where there are two episodes or more, whole episodes are held out, because agents of one episode see each other;
    else the last steps in time. Episodes that were labelled `discard` or `failure` are left out of everything.

    Args:
        beginnings: pieces of each beginning of the world, which numbers its episodes from 0.

    Raises:
        SimulationError: if there are fewer than `LEAST_STEPS` demonstrated steps.
    """
    whole = _numbered(beginnings)
    if whole is not None:
        whole = whole.filter_trajectories(~np.isin(whole.episode_labels, _LEFT_OUT))
    given = np.zeros(0, np.bool_) if whole is None else np.asarray(whole.columns[DEMONSTRATED], np.bool_)
    if whole is None or int(given.sum()) < LEAST_STEPS:
        raise SimulationError(
            f"expected at least {LEAST_STEPS} demonstrated steps of episodes that are not labelled discard or failure,"
            f" got {int(given.sum())}: take an agent over and act"
        )
    episode_of_row = whole.episodes[whole.trajectory_of_row]
    episodes, counts = np.unique(episode_of_row[given], return_counts=True)
    if len(episodes) > 1:
        held = np.isin(episode_of_row, episodes[_held_out(counts)])
    else:
        # The last tick that is learned from; several agents may have been shown at one tick.
        held = whole.ticks > np.quantile(whole.ticks[given], 1.0 - HELD_OUT, method="lower")
    shown, held_out = keep_steps(whole, given & ~held), keep_steps(whole, given & held)
    if not held_out.num_steps:
        raise SimulationError("all demonstrated steps are of one tick, so none can be held out: show some more")
    pieces = split_every(shown, PIECE)
    # A learner holds episodes out as a whole, and takes pieces of one trajectory for one.
    pieces = replace(pieces, episodes=np.arange(len(pieces)))
    return Demonstrations(shown=pieces, held_out=held_out, episodes=len(episodes))


def _numbered(beginnings: Sequence[Sequence[TrajectoryBatch]]) -> TrajectoryBatch | None:
    """All pieces as one batch, joined, in which no two episodes have the same number."""
    first, numbered = 0, []
    for pieces in beginnings:
        batch = joined(TrajectoryBatch.concatenate(pieces))
        if len(batch):
            numbered.append(replace(batch, episodes=batch.episodes + first))
            first += int(batch.episodes.max()) + 1
    return TrajectoryBatch.concatenate(numbered) if numbered else None


def _held_out(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return places [H] of the episodes to hold out, the newest first, until their steps suffice; at least one.

    Args:
        counts: [E]; demonstrated steps of each, in their order.
    """
    total, chosen, held = int(counts.sum()), list[int](), 0
    for place in range(len(counts) - 1, 0, -1):
        if held + counts[place] <= total / 2:
            chosen.append(place)
            held += int(counts[place])
        if held >= HELD_OUT * total:
            break
    return np.array(chosen or [int(counts.argmin())])
