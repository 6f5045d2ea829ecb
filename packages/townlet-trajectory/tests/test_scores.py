"""Scores of episodes: parts of them, and more of them."""

import pytest
from strategies import scores

from townlet_trajectory.errors import EvaluationError
from townlet_trajectory.evaluation.scores import EpisodeScores

FOUR = EpisodeScores.of(returns=[1.0, 2.0, 3.0, 4.0], seeds=[5, 6, 7, 8], events={"meals": [0, 1, 0, 2]})


def test_parts_put_together_are_the_whole() -> None:
    first = FOUR.first(3)
    assert (first.returns, first.seeds, first.events) == ((1.0, 2.0, 3.0), (5, 6, 7), {"meals": (0, 1, 0)})
    last = EpisodeScores.of(returns=[4.0], seeds=[8], events={"meals": [2]})
    assert first.followed_by(last) == FOUR == FOUR.first(9)


def test_no_episode_counts_twice_and_events_are_the_same() -> None:
    with pytest.raises(EvaluationError, match="and 2 of the same seeds"):
        FOUR.followed_by(EpisodeScores.of(returns=[1.0] * 3, seeds=[7, 8, 9], events={"meals": [0] * 3}))
    with pytest.raises(EvaluationError, match=r"the events \['meals'\] and other seeds, got \[\]"):
        FOUR.followed_by(scores([1.0]))
