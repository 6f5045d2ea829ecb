"""Episodes that workers share, or play ahead, score as if this process had played them all."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from worker_worlds import (
    RAISES,
    SLEEPS,
    SPLIT,
    WORLDS,
    corridors,
    packed,
    played_by,
    policy,
    pool_of,
    wait_until_played,
)

from townlet_runtime.core.evaluator import Evaluator
from townlet_runtime.errors import WorkerError
from townlet_runtime.simulation.interface import AGENTS
from townlet_runtime.workers.evaluating import SharedEvaluator
from townlet_runtime.workers.pool import WorkerPool
from townlet_trajectory.evaluation.interfaces import AnyActor, EpisodeScores, Opponents

FIRST = 2**31
SEEDS = np.arange(FIRST, FIRST + 10)
"""Three waves of four worlds, the last of which has two to spare."""


class Counted(Evaluator):
    """Counts the waves that are played in this process."""

    waves_played = 0

    def wave(self, players: Mapping[str, AnyActor | str] | str, **asked: Any) -> EpisodeScores:
        self.waves_played += 1
        return super().wave(players, **asked)


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
    last = played_by("scripted", *SEEDS[:1])
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
    sleeping = played_by("scripted", SLEEPS)
    pool.submit([sleeping])
    wait_until_played(sleeping, pool)
    shared.play_ahead("scripted", seeds=SEEDS, sample=False)
    assert shared.baseline("scripted", seeds=SEEDS) == alone.baseline("scripted", seeds=SEEDS)
    assert shared.evaluate(policy(5), seeds=SEEDS, sample=False) == alone.evaluate(policy(5), seeds=SEEDS, sample=False)
    assert own.waves_played == 6


def test_an_error_of_a_worker_is_raised_where_the_scores_are_asked_for(pool: WorkerPool, own: Counted) -> None:
    shared = SharedEvaluator(own, pool, packed=packed)
    shared.play_ahead("scripted", seeds=np.array([RAISES]), sample=False)
    last = played_by("scripted", *SEEDS[:1])
    pool.submit([last])
    last.result()
    with pytest.raises(WorkerError, match="no such corridor"):
        shared.baseline("scripted", seeds=np.array([RAISES]))


def test_what_cannot_be_sent_is_played_here(pool: WorkerPool, own: Counted) -> None:
    class Own:
        act = staticmethod(policy(5)[AGENTS].act)

    shared, alone = SharedEvaluator(own, pool, packed=packed), corridors(WORLDS)
    actors: dict[str, AnyActor] = {AGENTS: Own()}
    shared.play_ahead(actors, seeds=SEEDS, sample=False)
    scores = alone.evaluate(policy(5), seeds=SEEDS, sample=False)
    assert shared.evaluate(actors, seeds=SEEDS, sample=False) == scores
    for opponents in ({"another": None}, {"another": Own()}):
        with pytest.raises(Exception, match="another"):
            shared.baseline("scripted", seeds=SEEDS, opponents=opponents)


class Elsewhere(Evaluator):
    """Plays nothing in this process."""

    def _score(self, *arguments: Any, **more: Any) -> EpisodeScores:
        raise AssertionError("expected workers to play everything")


@pytest.fixture(scope="module")
def split() -> Iterator[WorkerPool]:
    pool = pool_of(2, SPLIT)
    yield pool
    pool.close()


FIRST_5, OTHERS_6 = policy(5, "first"), policy(6)


@pytest.mark.parametrize("sample", [False, True])
@pytest.mark.parametrize(
    ("players", "opponents"),
    [
        ({**FIRST_5, **OTHERS_6}, {}),
        ({**FIRST_5, AGENTS: "scripted"}, {}),
        ({"first": "random", **OTHERS_6}, {}),
        ({"first": "random", AGENTS: "scripted"}, {}),
        (FIRST_5, {AGENTS: None}),
        (FIRST_5, OTHERS_6),
        ({"first": "scripted"}, OTHERS_6),
    ],
)
def test_workers_play_any_cast_as_this_process_does(
    players: Mapping[str, AnyActor | str],
    opponents: Opponents,
    sample: bool,
    split: WorkerPool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(WorkerPool, "take", lambda self, tasks: None)
    shared = SharedEvaluator(corridors(SPLIT, Elsewhere), split, packed=packed)
    expected = corridors(SPLIT).play(players, seeds=SEEDS, sample=sample, opponents=opponents)
    assert shared.play(players, seeds=SEEDS, sample=sample, opponents=opponents) == expected
    assert expected.group_returns.keys() == {"first", AGENTS}
    # whoever is judged or drawn in another way comes to something else
    turned = corridors(SPLIT).play({**players, **opponents_as_players(opponents)}, seeds=SEEDS, sample=sample)
    assert (turned == expected) is not bool(opponents)


def opponents_as_players(opponents: Opponents) -> dict[str, AnyActor | str]:
    return {group: "scripted" if one is None else one for group, one in opponents.items()}


@pytest.mark.parametrize("opponents", [{AGENTS: None}, OTHERS_6])
def test_workers_play_a_behavior_against_opponents(
    opponents: Opponents, split: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WorkerPool, "take", lambda self, tasks: None)
    shared = SharedEvaluator(corridors(SPLIT, Elsewhere), split, packed=packed)
    scores = shared.baseline("random", seeds=SEEDS, opponents=opponents)
    assert scores == corridors(SPLIT).baseline("random", seeds=SEEDS, opponents=opponents)
    assert scores.returns == scores.group_returns["first"]


def test_an_error_names_who_played_what(split: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WorkerPool, "take", lambda self, tasks: None)
    shared = SharedEvaluator(corridors(SPLIT, Elsewhere), split, packed=packed)
    said = f"a policy as `first` and scripted as `agents` played the seeds {RAISES} to {RAISES}"
    with pytest.raises(WorkerError, match=said):
        shared.play({**FIRST_5, AGENTS: "scripted"}, seeds=np.array([RAISES]), sample=False)
