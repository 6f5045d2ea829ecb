"""An evaluator that shares its episodes with workers, and lets them play some before they are asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.workers.pool import WorkerPool
from townlet_runtime.workers.tasks import Packed, Players, WaveCast, WaveTask
from townlet_trajectory.evaluation.interfaces import NO_OPPONENTS, AnyActor, EpisodeScores, Opponents

if TYPE_CHECKING:
    from townlet_runtime.core.evaluator import Evaluator
    from townlet_runtime.workers.policies import Pack

_Key = tuple[str, str, bool, bytes]
"""Who plays, the digest of their policies, whether these draw their actions, and the seeds."""


class SharedEvaluator:
    """Scores as its `Evaluator` does, bit for bit, with some of the work in workers.

    A score follows from its seed, the player and the wave that it is played in, and the waves from the seeds alone; so
    it does not matter which process plays a wave, nor when. All play those that are asked for; in between the workers
    play what was announced by `play_ahead`. A cast with a policy that cannot be sent is played in this process.

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
        return self.play(actors, seeds=seeds, sample=sample, opponents=opponents)

    def baseline(self, name: str, *, seeds: NDArray[np.int64], opponents: Opponents = NO_OPPONENTS) -> EpisodeScores:
        """Score a behavior by name; see `Evaluator.baseline`.

        Raises:
            WorkerError: if a wave failed wherever it was tried.
        """
        told = self._told(name, opponents)
        if told is None:
            return self._own.baseline(name, seeds=seeds, opponents=opponents)
        return self._scores(name, opponents, *told, seeds=seeds, sample=False)

    def play(
        self,
        players: Mapping[str, AnyActor | str],
        *,
        seeds: NDArray[np.int64],
        sample: bool,
        opponents: Opponents = NO_OPPONENTS,
    ) -> EpisodeScores:
        """Let each group be played by a policy or a behavior of its own; see `Evaluator.play`.

        Args:
            players: by group.
            seeds: [n].
            sample: draw the policies' actions, or take the most probable ones.
            opponents: play the other groups; their actions are drawn.

        Raises:
            WorkerError: if a wave failed wherever it was tried.
        """
        told = self._told(players, opponents)
        if told is None:
            return self._own.play(players, seeds=seeds, sample=sample, opponents=opponents)
        return self._scores(players, opponents, *told, seeds=seeds, sample=sample)

    def play_ahead(self, players: Players, *, seeds: NDArray[np.int64], sample: bool) -> None:
        """Let workers play what will be asked for, as soon as they have nothing else to do.

        Args:
            players: policies, as they are now, or the name of a behavior.
            seeds: [n], all that will be asked for at once.
            sample: as of `evaluate`; false for a behavior.
        """
        told = self._told(players, NO_OPPONENTS)
        if told is None:
            return
        tasks = self._tasks(*told, seeds=seeds, sample=sample)
        self._ahead[_key(*told, seeds, sample)] = tasks
        self._pool.submit(tasks)

    def _told(self, players: Players, opponents: Opponents) -> tuple[WaveCast, Packed | None] | None:
        """What a worker is told of those who play; None where one of them cannot be sent."""
        named = {} if isinstance(players, str) else players
        policies = {
            group: one for group, one in {**named, **opponents}.items() if one is not None and not isinstance(one, str)
        }
        data = self._packed(policies) if policies else None
        if policies and data is None:
            return None
        return WaveCast.of(players, opponents), None if data is None else Packed.of(data)

    def _scores(
        self,
        players: Players,
        opponents: Opponents,
        cast: WaveCast,
        policies: Packed | None,
        *,
        seeds: NDArray[np.int64],
        sample: bool,
    ) -> EpisodeScores:
        tasks = self._ahead.pop(_key(cast, policies, seeds, sample), None)
        if tasks is None:
            tasks = self._tasks(cast, policies, seeds=seeds, sample=sample)
            self._pool.submit(tasks)
        self._pool.prefer(tasks)
        while (task := self._pool.take(tasks)) is not None:
            task.done.set_result(self._own.wave(players, seeds=task.seeds, sample=sample, opponents=opponents))
        played, left = [], len(seeds)
        for task in tasks:
            played.append(task.result().first(min(left, len(task.seeds))))
            left -= len(task.seeds)
        return reduce(EpisodeScores.followed_by, played)

    def _tasks(
        self, cast: WaveCast, policies: Packed | None, *, seeds: NDArray[np.int64], sample: bool
    ) -> list[WaveTask]:
        return [WaveTask(cast, policies=policies, sample=sample, seeds=wave) for wave in self._own.waves(seeds)]


def _key(cast: WaveCast, policies: Packed | None, seeds: NDArray[np.int64], sample: bool) -> _Key:
    return json.dumps(asdict(cast)), "" if policies is None else policies.digest, sample, seeds.tobytes()
