"""An evaluator that shares its episodes with a second process, and lets it play some before they are asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.core.second_process import SecondProcess, WaveTask
from townlet_trajectory.evaluation.interfaces import NO_OPPONENTS, AnyActor, EpisodeScores, Opponents

if TYPE_CHECKING:
    from townlet_runtime.core.rollouts import Evaluator

Players = Mapping[str, AnyActor] | str
"""Policies by group, or the name of a behavior."""
Packed = Callable[[Mapping[str, AnyActor]], bytes | None]
"""Turns policies into bytes, of which the other process makes the same policies; None where that cannot be."""
_Key = tuple[str, bool, bytes]
"""A behavior's name or the digest of policies, whether these draw their actions, and the seeds."""


class SharedEvaluator:
    """Scores as its `Evaluator` does, bit for bit, with half of the work in a second process.

    A score follows from its seed, the player and the wave that it is played in, and the waves from the seeds alone; so
    it does not matter which process plays a wave, nor when. Both play those that are asked for; in between the other
    process plays what was announced by `play_ahead`. Episodes with opponents are played in this process.

    Args:
        own: plays in this process; the second one has an equal evaluator.
        second: the other process, which has begun.
        packed: makes policies ready to be sent.
    """

    def __init__(self, own: Evaluator, second: SecondProcess, *, packed: Packed) -> None:
        self._own = own
        self._second = second
        self._packed = packed
        self._ahead: dict[_Key, list[WaveTask]] = {}

    def evaluate(
        self,
        actors: Mapping[str, AnyActor],
        *,
        seeds: NDArray[np.int64],
        sample: bool,
        opponents: Opponents = NO_OPPONENTS,
    ) -> EpisodeScores:
        """Let `actors` act alone, one episode for each seed; see `Evaluator.evaluate`.

        Raises:
            SecondProcessError: if the other process raised, or ended.
        """
        data = None if opponents else self._packed(actors)
        if data is None:
            return self._own.evaluate(actors, seeds=seeds, sample=sample, opponents=opponents)
        return self._scores(actors, data, seeds=seeds, sample=sample)

    def baseline(self, name: str, *, seeds: NDArray[np.int64], opponents: Opponents = NO_OPPONENTS) -> EpisodeScores:
        """Score a behavior by name; see `Evaluator.baseline`.

        Raises:
            SecondProcessError: if the other process raised, or ended.
        """
        if opponents:
            return self._own.baseline(name, seeds=seeds, opponents=opponents)
        return self._scores(name, b"", seeds=seeds, sample=False)

    def play_ahead(self, players: Players, *, seeds: NDArray[np.int64], sample: bool) -> None:
        """Let the other process play what will be asked for, as soon as it has nothing else to do.

        Args:
            players: policies, as they are now, or the name of a behavior.
            seeds: [n], all that will be asked for at once.
            sample: as of `evaluate`; false for a behavior.
        """
        data = b"" if isinstance(players, str) else self._packed(players)
        if data is None:
            return
        tasks = self._tasks(players, data, seeds=seeds, sample=sample)
        self._ahead[_key(players, data, seeds, sample)] = tasks
        self._second.submit(tasks)

    def _scores(self, players: Players, data: bytes, *, seeds: NDArray[np.int64], sample: bool) -> EpisodeScores:
        tasks = self._ahead.pop(_key(players, data, seeds, sample), None)
        if tasks is None:
            tasks = self._tasks(players, data, seeds=seeds, sample=sample)
            self._second.submit(tasks)
        self._second.prefer(tasks)
        while (task := self._second.take(tasks)) is not None:
            task.scores.set_result(self._own.wave(players, seeds=task.seeds, sample=sample))
        played, left = [], len(seeds)
        for task in tasks:
            played.append(task.result().first(min(left, len(task.seeds))))
            left -= len(task.seeds)
        return reduce(EpisodeScores.followed_by, played)

    def _tasks(self, players: Players, data: bytes, *, seeds: NDArray[np.int64], sample: bool) -> list[WaveTask]:
        behavior = players if isinstance(players, str) else None
        return [
            WaveTask(behavior=behavior, policies=data, sample=sample, seeds=wave) for wave in self._own.waves(seeds)
        ]


def _key(players: Players, data: bytes, seeds: NDArray[np.int64], sample: bool) -> _Key:
    name = players if isinstance(players, str) else f"sha256:{hashlib.sha256(data).hexdigest()}"
    return name, sample, seeds.tobytes()
