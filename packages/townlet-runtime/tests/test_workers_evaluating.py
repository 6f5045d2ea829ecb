"""Episodes that workers share, or play ahead, score as if this process had played them all."""

from collections.abc import Iterator, Mapping

import numpy as np
import pytest
from worker_worlds import RAISES, SLEEPS, WORLDS, corridors, packed, policy, pool_of, wait_until_played

from townlet_runtime.core.evaluator import Evaluator
from townlet_runtime.errors import WorkerError
from townlet_runtime.simulation.interface import AGENTS
from townlet_runtime.workers.evaluating import SharedEvaluator
from townlet_runtime.workers.pool import WorkerPool
from townlet_runtime.workers.tasks import WaveTask
from townlet_trajectory.evaluation.interfaces import AnyActor, EpisodeScores

FIRST = 2**31
SEEDS = np.arange(FIRST, FIRST + 10)
"""Three waves of four worlds, the last of which has two to spare."""


class Counted(Evaluator):
    """Counts the waves that are played in this process."""

    waves_played = 0

    def wave(self, players: Mapping[str, AnyActor] | str, *, seeds, sample: bool) -> EpisodeScores:
        self.waves_played += 1
        return super().wave(players, seeds=seeds, sample=sample)


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = pool_of(1)
    yield pool
    pool.close()


@pytest.fixture
def own() -> Counted:
    evaluator = corridors(WORLDS, Counted)
    assert isinstance(evaluator, Counted)
    return evaluator


def test_shared_episodes_score_as_in_one_process(pool: WorkerPool, own: Counted) -> None:
    shared, alone = SharedEvaluator(own, pool, packed=packed), corridors(WORLDS)
    for sample in (False, True):
        scores = shared.evaluate(policy(5), seeds=SEEDS, sample=sample)
        assert scores == alone.evaluate(policy(5), seeds=SEEDS, sample=sample)
    assert scores != shared.evaluate(policy(6), seeds=SEEDS, sample=True)
    for name in ("scripted", "random"):
        assert shared.baseline(name, seeds=SEEDS) == alone.baseline(name, seeds=SEEDS)
    assert shared.baseline("scripted", seeds=SEEDS[:1]) == alone.baseline("scripted", seeds=SEEDS[:1])


def test_what_is_played_ahead_is_not_played_again(pool: WorkerPool, own: Counted) -> None:
    shared, alone = SharedEvaluator(own, pool, packed=packed), corridors(WORLDS)
    shared.play_ahead("random", seeds=SEEDS, sample=False)
    shared.play_ahead(policy(5), seeds=SEEDS, sample=True)
    # Once a wave behind them is done, so are they: the process plays one after the other.
    last = WaveTask(behavior="scripted", policies=None, sample=False, seeds=SEEDS[:1])
    pool.submit([last])
    last.result()
    assert shared.baseline("random", seeds=SEEDS) == alone.baseline("random", seeds=SEEDS)
    assert shared.evaluate(policy(5), seeds=SEEDS, sample=True) == alone.evaluate(policy(5), seeds=SEEDS, sample=True)
    assert own.waves_played == 0
    # Other weights, another way to act, and other seeds are other episodes.
    greedy = alone.evaluate(policy(6), seeds=SEEDS[:3], sample=False)
    assert shared.evaluate(policy(6), seeds=SEEDS[:3], sample=False) == greedy


def test_this_process_plays_what_no_worker_has_begun(pool: WorkerPool, own: Counted) -> None:
    shared, alone = SharedEvaluator(own, pool, packed=packed), corridors(WORLDS)
    sleeping = WaveTask(behavior="scripted", policies=None, sample=False, seeds=np.array([SLEEPS]))
    pool.submit([sleeping])
    wait_until_played(sleeping, pool)
    shared.play_ahead("scripted", seeds=SEEDS, sample=False)
    assert shared.baseline("scripted", seeds=SEEDS) == alone.baseline("scripted", seeds=SEEDS)
    assert shared.evaluate(policy(5), seeds=SEEDS, sample=False) == alone.evaluate(policy(5), seeds=SEEDS, sample=False)
    assert own.waves_played == 6


def test_an_error_of_a_worker_is_raised_where_the_scores_are_asked_for(pool: WorkerPool, own: Counted) -> None:
    shared = SharedEvaluator(own, pool, packed=packed)
    shared.play_ahead("scripted", seeds=np.array([RAISES]), sample=False)
    last = WaveTask(behavior="scripted", policies=None, sample=False, seeds=SEEDS[:1])
    pool.submit([last])
    last.result()
    with pytest.raises(WorkerError, match="no such corridor"):
        shared.baseline("scripted", seeds=np.array([RAISES]))


def test_what_cannot_be_sent_and_what_has_opponents_is_played_here(pool: WorkerPool, own: Counted) -> None:
    class Own:
        act = staticmethod(policy(5)[AGENTS].act)

    shared, alone = SharedEvaluator(own, pool, packed=packed), corridors(WORLDS)
    actors: dict[str, AnyActor] = {AGENTS: Own()}
    shared.play_ahead(actors, seeds=SEEDS, sample=False)
    scores = alone.evaluate(policy(5), seeds=SEEDS, sample=False)
    assert shared.evaluate(actors, seeds=SEEDS, sample=False) == scores
    with pytest.raises(Exception, match="another"):
        shared.baseline("scripted", seeds=SEEDS, opponents={"another": None})
    with pytest.raises(Exception, match="another"):
        shared.evaluate(policy(5), seeds=SEEDS, sample=False, opponents={"another": None})
