"""Seeds by purpose, and blocks of held-out worlds."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_training.errors import ConfigError
from townlet_training.seeds import (
    HELD_OUT,
    SeedBlock,
    derive_seed,
    final_block,
    group_seed,
    promotion_block,
    selection_block,
)


def test_a_derived_seed_is_the_one_that_earlier_runs_had() -> None:
    # printf '[7,"learner",0]' | b2sum -l 64, without the last bit.
    assert derive_seed(7, "learner") == 0x805B284734088325 >> 1


def test_one_group_has_the_seeds_of_the_purpose_and_others_their_own() -> None:
    assert group_seed(3, "network", "agents") == derive_seed(3, "network")
    assert group_seed(3, "attempt", "agents", 2) == derive_seed(3, "attempt", 2)
    assert group_seed(3, "attempt", "speaker", 2) == derive_seed(3, "attempt/speaker", 2)


def test_seeds_differ_by_seed_purpose_and_index() -> None:
    seeds = {derive_seed(seed, purpose, index) for seed in range(5) for purpose in "abc" for index in range(5)}
    assert len(seeds) == 75


@pytest.mark.property
@given(
    seed=st.integers(0, 2**31 - 1),
    passes=st.lists(st.integers(0, 10_000), min_size=2, max_size=2, unique=True),
    counts=st.tuples(st.integers(1, 10_000), st.integers(1, 10_000), st.integers(1, 10_000)),
)
def test_no_world_is_in_two_blocks(seed: int, passes: list[int], counts: tuple[int, int, int]) -> None:
    blocks = [
        selection_block(counts[0]),
        final_block(counts[1]),
        *(promotion_block(seed, number, counts[2]) for number in passes),
    ]
    blocks.sort(key=lambda block: block.first)
    assert blocks[0].first >= HELD_OUT
    for lower, upper in itertools.pairwise(blocks):
        assert lower.first + lower.count <= upper.first


def test_promotion_passes_follow_the_registry_seed() -> None:
    assert promotion_block(1, 0, 100) != promotion_block(2, 0, 100)
    assert promotion_block(1, 1, 100).first - promotion_block(1, 0, 100).first == 100


@pytest.mark.parametrize(("first", "count"), [(HELD_OUT - 1, 1), (HELD_OUT, 0), (2**32 - 1, 2), (HELD_OUT, 2**20 + 1)])
def test_a_block_must_be_held_out(first: int, count: int) -> None:
    with pytest.raises(ConfigError):
        SeedBlock(first=first, count=count)
