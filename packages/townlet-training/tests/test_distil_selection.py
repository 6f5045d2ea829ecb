"""Which states are worth a question: scores by hand, and what a choice of states never does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from townlet_training.distil.selection import cells, choose, disagreement, margin_uncertainty
from townlet_training.errors import ShapeError

LOG_PROBS = np.log(np.array([[0.5, 0.3, 0.2], [0.25, 0.25, 0.5], [0.98, 0.01, 0.01], [0.4, 0.4, 0.2]], np.float32))


def test_the_margin_by_hand() -> None:
    # 1 - (0.5 - 0.3), 1 - (0.5 - 0.25), 1 - (0.98 - 0.01), 1 - (0.4 - 0.4)
    assert margin_uncertainty(LOG_PROBS).tolist() == pytest.approx([0.8, 0.75, 0.03, 1.0])


def test_a_single_possible_action_leaves_no_doubt() -> None:
    forbidden = np.array([[0.0, np.finfo(np.float32).min]], np.float32)
    assert margin_uncertainty(forbidden).tolist() == [0.0]
    with pytest.raises(ShapeError, match=r"at least 2 actions, got \(4, 1\)"):
        margin_uncertainty(LOG_PROBS[:, :1])


def test_disagreement_comes_before_doubt_by_hand() -> None:
    # The most likely actions are 0, 2, 0, 0; the script proposes 0, 0, nothing, 1.
    found = disagreement(LOG_PROBS, np.array([0, 0, -1, 1]))
    assert found.tolist() == pytest.approx([0.4, 0.875, 0.015, 1.0])
    with pytest.raises(ShapeError, match=r"`proposed` must be \(4,\), got \(3,\)"):
        disagreement(LOG_PROBS, np.array([0, 0, 1]))


def test_near_duplicates_share_a_cell() -> None:
    # With sides of half a deviation: 0.1 and 0.4 are in [0, 0.5), 0.6 is in [0.5, 1), -0.1 in [-0.5, 0).
    encoded = np.array([[0.1, 2.0], [0.4, 2.4], [0.6, 2.0], [-0.1, 2.0]], np.float32)
    found = cells(encoded, grain=0.5)
    assert found[0] == found[1] and len(set(found.tolist())) == 3
    assert len(set(cells(encoded, grain=0.01).tolist())) == 4


def chosen(
    scores: NDArray[np.float64],
    digests: NDArray[np.str_],
    episodes: NDArray[np.int64],
    *,
    count: int,
    most: int,
    sharpness: float,
    seed: int = 0,
) -> list[int]:
    rng = np.random.default_rng(seed)
    return choose(scores, digests, episodes, count=count, most_per_episode=most, sharpness=sharpness, rng=rng).tolist()


def test_a_sharp_choice_takes_the_highest_scores() -> None:
    scores, digests = np.array([0.1, 0.9, 0.5, 0.8]), np.array(["a", "b", "c", "d"])
    assert chosen(scores, digests, np.zeros(4, np.int64), count=2, most=4, sharpness=1e6) == [1, 3]


def test_near_duplicates_and_full_episodes_are_passed_over() -> None:
    # b is there twice; episode 0 may give one state, so c of episode 1 comes before d, and d only where all are wanted.
    scores = np.array([0.99, 0.9, 0.2, 0.8])
    digests, episodes = np.array(["b", "b", "c", "d"]), np.array([0, 0, 1, 0])
    assert chosen(scores, digests, episodes, count=2, most=1, sharpness=1e6) == [0, 2]
    assert chosen(scores, digests, episodes, count=9, most=1, sharpness=1e6) == [0, 2, 3]


def test_a_choice_of_sharpness_one_is_in_proportion_to_the_scores() -> None:
    # One of two states with scores 3 : 1 is taken; of 4,000 draws 3,000 ± 4 · √(4000 · 3/16) are the first.
    scores, digests, episodes = np.array([0.75, 0.25]), np.array(["a", "b"]), np.zeros(2, np.int64)
    draws = [chosen(scores, digests, episodes, count=1, most=1, sharpness=1.0, seed=seed)[0] for seed in range(4000)]
    assert abs(draws.count(0) - 3000) < 4 * (4000 * 3 / 16) ** 0.5


@given(data=st.data(), size=st.integers(0, 30), count=st.integers(0, 40), most=st.integers(1, 5))
def test_a_choice_is_of_different_states_and_as_large_as_it_can_be(
    data: st.DataObject, size: int, count: int, most: int
) -> None:
    numbers = st.lists(st.integers(0, 8), min_size=size, max_size=size)
    scores = np.array(data.draw(numbers), np.float64) / 8
    digests, episodes = np.array(data.draw(numbers), "U2"), np.array(data.draw(numbers), np.int64)
    taken = chosen(scores, digests, episodes, count=count, most=most, sharpness=2.0)
    assert taken == sorted(set(taken))
    assert len(set(digests[taken].tolist())) == len(taken) == min(count, len(set(digests.tolist())))
    # More than the share of an episode only where the others do not suffice.
    counts = np.bincount(episodes[taken], minlength=9)
    if counts.max(initial=0) > most:
        assert len(taken) == count or len(taken) == len(set(digests.tolist()))


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ShapeError, match="of the same length, got 2, 1, 2"):
        chosen(np.ones(2), np.array(["a"]), np.zeros(2, np.int64), count=1, most=1, sharpness=1.0)
