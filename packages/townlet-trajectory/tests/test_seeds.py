"""Seeds by purpose, and world seeds for training and judging."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_trajectory.errors import EvaluationError
from townlet_trajectory.evaluation.seeds import (
    HELD_OUT,
    derive_seed,
    final_seeds,
    promotion_seeds,
    selection_seeds,
    training_seeds,
)


def test_a_derived_seed_is_the_one_that_earlier_runs_had() -> None:
    # printf '[7,"learner",0]' | b2sum -l 64, without the last bit.
    assert derive_seed(7, "learner") == 0x805B284734088325 >> 1


def test_seeds_differ_by_seed_purpose_and_index() -> None:
    seeds = {derive_seed(seed, purpose, index) for seed in range(5) for purpose in "abc" for index in range(5)}
    assert len(seeds) == 75


@pytest.mark.property
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
