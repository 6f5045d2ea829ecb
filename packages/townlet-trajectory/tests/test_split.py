"""The side of an episode: a pure function, uniform, and the one that released data was split by."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_trajectory import ShapeError
from townlet_trajectory.data.split import episode_hash, is_held_out


def test_the_hash_never_changes() -> None:
    # Splits of earlier versions must stay what they were.
    hashes = episode_hash(3, np.array([0, 0, 1, 7]), np.array([0, 1, 0, 123]))
    assert hashes.tolist() == [0.7177539261763675, 0.33801825896746585, 0.3976128706492077, 0.3154646698172787]


@given(
    st.integers(-(2**70), 2**70),
    st.lists(st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1)), min_size=1, max_size=5),
)
def test_an_episode_alone_has_the_hash_it_has_among_others(seed: int, numbers: list[tuple[int, int]]) -> None:
    worlds, episodes = np.array(numbers, np.int64).T
    together = episode_hash(seed, worlds, episodes)
    assert together.dtype == np.float64
    assert np.all((together >= 0) & (together < 1))
    for index in range(len(numbers)):
        one = slice(index, index + 1)
        assert episode_hash(seed, worlds[one], episodes[one]).tolist() == [together[index]]


def test_hashes_are_uniform_over_episodes() -> None:
    worlds, episodes = np.divmod(np.arange(10_000), 100)
    counts = np.histogram(episode_hash(1, worlds, episodes), bins=10, range=(0, 1))[0]
    assert np.all(np.abs(counts - 1000) <= 120)  # binomial(10000, 0.1): four standard deviations are 120


def test_swapped_numbers_and_other_seeds_are_other_episodes() -> None:
    ones, twos = np.array([1]), np.array([2])
    found = [episode_hash(*arguments)[0] for arguments in ((0, ones, twos), (0, twos, ones), (1, ones, twos))]
    assert len(set(found)) == 3


def test_no_episodes() -> None:
    none = np.empty(0, np.int64)
    assert episode_hash(0, none, none).shape == (0,)


def test_what_is_held_out_stays_so_at_greater_fractions() -> None:
    worlds, episodes = np.divmod(np.arange(100), 10)
    sides = [is_held_out(fraction, seed=5, worlds=worlds, episodes=episodes) for fraction in (0.0, 0.3, 0.6, 1.0)]
    assert (sides[0].sum(), sides[3].sum()) == (0, 100)
    assert not np.any(sides[1] & ~sides[2])
    for fraction in (-0.1, 1.1, np.nan):
        with pytest.raises(ShapeError, match=r"`fraction` must be in \[0, 1\]"):
            is_held_out(fraction, seed=5, worlds=worlds, episodes=episodes)
