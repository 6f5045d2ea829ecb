"""Scores of episodes: parts of them, and more of them."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import make_trajectory, scores

from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.errors import EvaluationError
from townlet_trajectory.evaluation.interfaces import (
    HELD_OUT,
    Collected,
    EpisodeScores,
    derive_seed,
    final_seeds,
    promotion_seeds,
    selection_seeds,
    training_seeds,
)

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


BATCH = TrajectoryBatch.from_trajectories([make_trajectory(0, 2), make_trajectory(1, 1, agent_id="bob")])


def collected(
    *, faints: float = 1.0, learned: int = 2, ticks: int = 3, vetoes: int = 0, env_steps: int = 2, agent_steps: int = 3
) -> Collected:
    return Collected(
        batches={"agents": BATCH},
        events={"faint": faints},
        decisions_by_source={"scripted": 1, "learned": learned},
        ticks_by_source={"scripted": ticks},
        vetoes=vetoes,
        env_steps=env_steps,
        agent_steps=agent_steps,
    )


def test_returns_of_groups_go_with_their_episodes() -> None:
    both = {"cat": [1.0, 2.0, 3.0], "mouse": [4.0, 5.0, 6.0]}
    whole = EpisodeScores.of(returns=[1.0, 2.0, 3.0], seeds=[7, 8, 9], group_returns=both)
    first = EpisodeScores.of(returns=[1.0], seeds=[7], group_returns={"cat": [1.0], "mouse": [4.0]})
    last = EpisodeScores.of(returns=[2.0, 3.0], seeds=[8, 9], group_returns={"cat": [2.0, 3.0], "mouse": [5.0, 6.0]})
    assert whole.first(1) == first
    assert first.followed_by(last) == whole
    with pytest.raises(EvaluationError, match=r"must be of the groups \['cat', 'mouse'\], got \[\]"):
        first.followed_by(EpisodeScores.of(returns=[2.0], seeds=[8]))
    with pytest.raises(EvaluationError, match="`group_returns.cat` must hold 2 numbers like `returns`, got 1"):
        EpisodeScores.of(returns=[1.0, 2.0], seeds=[7, 8], group_returns={"cat": [1.0]})
    with pytest.raises(EvaluationError, match="`group_returns.cat` must be finite, got nan in the episode with seed 7"):
        EpisodeScores.of(returns=[1.0], seeds=[7], group_returns={"cat": [float("nan")]})
    with pytest.raises(EvaluationError, match="the name of an agent group must be printable"):
        EpisodeScores.of(returns=[1.0], seeds=[7], group_returns={"\n": [1.0]})


def test_a_collection_that_is_right_is_kept_as_it_is() -> None:
    record = collected()
    assert record.batches["agents"] is BATCH and record.agent_steps == 3 and record.events == {"faint": 1.0}


def test_agent_steps_are_the_rows() -> None:
    with pytest.raises(EvaluationError, match="`agent_steps` must be the 3 rows of the batches, got 4"):
        collected(agent_steps=4)


def test_the_rows_of_all_groups_count() -> None:
    both = {"speaker": BATCH, "listener": BATCH}
    assert replace(collected(), batches=both, agent_steps=6).agent_steps == 6
    with pytest.raises(EvaluationError, match="must be the 6 rows"):
        replace(collected(), batches=both)


@pytest.mark.parametrize("wrong", [{"learned": -1}, {"ticks": -1}, {"vetoes": -1}, {"env_steps": -1}])
def test_a_count_is_not_negative(wrong: dict[str, int]) -> None:
    with pytest.raises(EvaluationError, match="is a count and must be at least 0, got -1"):
        collected(**wrong)


@pytest.mark.parametrize("total", [math.nan, math.inf])
def test_events_are_finite(total: float) -> None:
    with pytest.raises(EvaluationError, match="event `faint` must be a finite number"):
        collected(faints=total)


@pytest.mark.parametrize("bad", ["", "\x1b[31m", "\ud800", "a\nb", "\x9b"])
def test_names_are_printable_where_they_enter(bad: str) -> None:
    named = TrajectoryBatch.from_trajectories([make_trajectory(0, 2), make_trajectory(1, 1, agent_id=bad)])
    with pytest.raises(EvaluationError, match="the name of an agent of group `agents` must be printable text, got "):
        replace(collected(), batches={"agents": named})
    with pytest.raises(EvaluationError, match="the name of an agent group must be printable text"):
        replace(collected(), batches={bad: BATCH})
    with pytest.raises(EvaluationError, match="the name of an event must be printable text"):
        replace(collected(), events={bad: 1.0})
    with pytest.raises(EvaluationError, match="the name of an event must be printable text"):
        EpisodeScores.of(returns=[1.0], seeds=[1], events={bad: [0.0]})


def test_a_derived_seed_is_the_one_that_earlier_runs_had() -> None:
    # printf '[7,"learner",0]' | b2sum -l 64, without the last bit.
    assert derive_seed(7, "learner") == 0x805B284734088325 >> 1


def test_seeds_differ_by_seed_purpose_and_index() -> None:
    seeds = {derive_seed(seed, purpose, index) for seed in range(5) for purpose in "abc" for index in range(5)}
    assert len(seeds) == 75


@given(
    seed=st.integers(0, 2**31 - 1),
    passes=st.lists(st.integers(0, 10_000), min_size=2, max_size=2, unique=True),
    counts=st.tuples(st.integers(1, 10_000), st.integers(1, 10_000), st.integers(1, 10_000)),
)
def test_no_world_is_judged_on_twice(seed: int, passes: list[int], counts: tuple[int, int, int]) -> None:
    blocks = [
        selection_seeds(counts[0]),
        final_seeds(counts[1]),
        *(promotion_seeds(seed, number, counts[2]) for number in passes),
    ]
    seeds = np.concatenate(blocks)
    assert len(np.unique(seeds)) == len(seeds) == counts[0] + counts[1] + 2 * counts[2]
    assert HELD_OUT <= seeds.min() and seeds.max() < 2**32


def test_promotion_passes_follow_the_registry_seed() -> None:
    assert not np.array_equal(promotion_seeds(1, 0, 100), promotion_seeds(2, 0, 100))
    np.testing.assert_array_equal(promotion_seeds(1, 1, 100), promotion_seeds(1, 0, 100) + 100)


def test_two_runs_share_no_world_to_train_in() -> None:
    # Seeds made by adding shared 7 of 8 between the runs 0 and 1.
    runs = [training_seeds(seed, 8).tolist() for seed in range(20)]
    assert len({seed for run in runs for seed in run}) == 160
    assert all(0 <= seed < HELD_OUT for run in runs for seed in run)


def test_more_worlds_keep_the_seeds_of_the_first() -> None:
    np.testing.assert_array_equal(training_seeds(3, 16)[:8], training_seeds(3, 8))


@pytest.mark.parametrize("count", [0, -1, 2**20 + 1])
def test_a_block_has_a_size(count: int) -> None:
    with pytest.raises(EvaluationError, match="a block of seeds must have"):
        selection_seeds(count)
