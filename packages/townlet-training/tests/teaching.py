"""A teacher of corridors, and held-out play in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from corridor import RIGHT, WAIT, CorridorCollector, agents
from numpy.typing import NDArray

from townlet_training.config import ONE_GROUP
from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.evaluation.interfaces import Actor
from townlet_trajectory.evaluation.teaching import Played, Taught


class ClockTeacher:
    """Right where the clock is even, else wait; a share of the answers, drawn anew every time, is the other one.

    It declines in the third cell, and takes 2 tokens and 0.5 of money for an answer.
    """

    def __init__(self, *, wrong: float = 0.0, seed: int = 0, declines: bool = False) -> None:
        self._wrong, self._declines = wrong, declines
        self._rng = np.random.default_rng(seed)
        self.num_asked = 0

    def label(self, batch: TrajectoryBatch, rows: NDArray[np.int64]) -> Taught:
        clock, cell = (batch.observations[name][rows].argmax(axis=1) for name in ("clock", "cell"))
        turned = self._rng.random(len(rows)) < self._wrong
        answers = np.where((clock % 2 == 0) ^ turned, RIGHT, WAIT)
        self.num_asked += len(rows)
        declined = self._declines & (cell == 2)
        return Taught(actions=np.where(declined, -1, answers), tokens=2 * len(rows), cost=0.5 * len(rows))


class CorridorPlay:
    """A `HeldOutPlay`: one tick after the other in fresh corridors, the first steps of which are the teacher's."""

    def __init__(self, teacher: ClockTeacher, *, num_ticks: int = 24) -> None:
        self._teacher, self._num_ticks = teacher, num_ticks

    def play(self, student: Actor, *, seeds: NDArray[np.int64], sample: bool, num_taught: int) -> Played:
        collector = CorridorCollector(len(seeds), seed=int(seeds[0]))
        batch = collector.collect(agents(student), num_ticks=self._num_ticks, ratio=1.0).batches[ONE_GROUP]
        batch = replace(batch, worlds=batch.worlds)
        if not num_taught:
            return Played(batch, np.arange(batch.num_steps), None)
        first = np.arange(batch.num_steps) - np.repeat(batch.offsets[:-1], batch.lengths)
        rows = np.flatnonzero(first < num_taught)
        return Played(batch, rows, self._teacher.label(batch, rows))
