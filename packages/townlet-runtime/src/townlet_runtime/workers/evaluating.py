"""An evaluator that shares its episodes with workers, and lets them play some before they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.workers.pool import WorkerPool
from townlet_runtime.workers.tasks import Packed, WaveTask
from townlet_trajectory.evaluation.interfaces import NO_OPPONENTS, AnyActor, EpisodeScores, Opponents

if TYPE_CHECKING:
    from townlet_runtime.core.evaluator import Evaluator

Players = Mapping[str, AnyActor] | str
"""Policies by group, or the name of a behavior."""
Pack = Callable[[Mapping[str, AnyActor]], bytes | None]
"""Turns policies into bytes, of which a worker makes the same policies; None where that cannot be."""
_Key = tuple[str, bool, bytes]
"""A behavior's name or the digest of policies, whether these draw their actions, and the seeds."""


class SharedEvaluator:
    """Scores as its `Evaluator` does, bit for bit, with some of the work in workers.

    A score follows from its seed, the player and the wave that it is played in, and the waves from the seeds alone; so
    it does not matter which process plays a wave, nor when. All play those that are asked for; in between the workers
    play what was announced by `play_ahead`. Episodes with opponents are played in this process.

    Args:
        own: plays in this process; every worker has an equal evaluator.
        pool: of workers.
        packed: makes policies ready to be sent.
    """

    def __init__(self, own: Evaluator, pool: WorkerPool, *, packed: Pack) -> None:
        self._own = own
        self._pool = pool
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
            WorkerError: if a wave failed wherever it was tried.
        """
        data = None if opponents else self._packed(actors)
        if data is None:
            return self._own.evaluate(actors, seeds=seeds, sample=sample, opponents=opponents)
        return self._scores(actors, Packed.of(data), seeds=seeds, sample=sample)

    def baseline(self, name: str, *, seeds: NDArray[np.int64], opponents: Opponents = NO_OPPONENTS) -> EpisodeScores:
        """Score a behavior by name; see `Evaluator.baseline`.

        Raises:
            WorkerError: if a wave failed wherever it was tried.
        """
        if opponents:
            return self._own.baseline(name, seeds=seeds, opponents=opponents)
        return self._scores(name, None, seeds=seeds, sample=False)

    def play_ahead(self, players: Players, *, seeds: NDArray[np.int64], sample: bool) -> None:
        """Let workers play what will be asked for, as soon as they have nothing else to do.

        Args:
            players: policies, as they are now, or the name of a behavior.
            seeds: [n], all that will be asked for at once.
            sample: as of `evaluate`; false for a behavior.
        """
        policies = None
        if not isinstance(players, str):
            data = self._packed(players)
            if data is None:
                return
            policies = Packed.of(data)
        tasks = self._tasks(players, policies, seeds=seeds, sample=sample)
        self._ahead[_key(players, policies, seeds, sample)] = tasks
        self._pool.submit(tasks)

    def _scores(
        self, players: Players, policies: Packed | None, *, seeds: NDArray[np.int64], sample: bool
    ) -> EpisodeScores:
        tasks = self._ahead.pop(_key(players, policies, seeds, sample), None)
        if tasks is None:
            tasks = self._tasks(players, policies, seeds=seeds, sample=sample)
            self._pool.submit(tasks)
        self._pool.prefer(tasks)
        while (task := self._pool.take(tasks)) is not None:
            task.done.set_result(self._own.wave(players, seeds=task.seeds, sample=sample))
        played, left = [], len(seeds)
        for task in tasks:
            played.append(task.result().first(min(left, len(task.seeds))))
            left -= len(task.seeds)
        return reduce(EpisodeScores.followed_by, played)

    def _tasks(
        self, players: Players, policies: Packed | None, *, seeds: NDArray[np.int64], sample: bool
    ) -> list[WaveTask]:
        behavior = players if isinstance(players, str) else None
        return [
            WaveTask(behavior=behavior, policies=policies, sample=sample, seeds=wave) for wave in self._own.waves(seeds)
        ]


def _key(players: Players, policies: Packed | None, seeds: NDArray[np.int64], sample: bool) -> _Key:
    name = players if isinstance(players, str) else "" if policies is None else f"sha256:{policies.digest}"
    return name, sample, seeds.tobytes()
