import hashlib

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from townlet_behavior import Purpose, draw_keys, uniforms
from townlet_behavior.draws import mix

GOLDEN_GAMMA = 0x9E3779B97F4A7C15
MASK = 2**64 - 1

ticks = st.integers(0, 2**40)
purposes = st.sampled_from(Purpose) | st.sampled_from([Purpose.PARTS + 3, Purpose.NUMBERS + 7])


@pytest.mark.parametrize(
    ("seed", "outputs"),
    [
        # The first outputs of Vigna's splitmix64.c for these seeds, as published with other libraries' tests.
        (0, [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]),
        (1234567, [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]),
    ],
)
def test_mix_is_splitmix64(seed: int, outputs: list[int]) -> None:
    assert [mix(seed + step * GOLDEN_GAMMA) for step in range(len(outputs))] == outputs


@given(strategies.seeds, purposes, strategies.keys, ticks)
def test_uniforms_are_the_chain_of_mixes(seed: int, purpose: int, keys: NDArray[np.uint64], tick: int) -> None:
    expected = []
    for key in keys.tolist():
        z = mix(mix(mix(mix(seed) + purpose) + key) + tick)
        expected.append((z >> 11) / 2**53)
    assert uniforms(seed, purpose, keys, tick).tolist() == expected


@given(strategies.seeds, purposes, strategies.keys, ticks)
def test_one_agents_draw_does_not_depend_on_who_else_is_there(
    seed: int, purpose: int, keys: NDArray[np.uint64], tick: int
) -> None:
    together = uniforms(seed, purpose, keys, tick)
    alone = [uniforms(seed, purpose, keys[[row]], tick)[0] for row in range(len(keys))]
    assert together.tolist() == alone


@given(strategies.seeds, purposes, strategies.keys, ticks)
def test_draws_are_in_the_half_open_unit_interval(seed: int, purpose: int, keys: NDArray[np.uint64], tick: int) -> None:
    drawn = uniforms(seed, purpose, keys, tick)
    assert drawn.dtype == np.float64
    assert np.all((drawn >= 0.0) & (drawn < 1.0))


def test_the_keys_are_left_alone() -> None:
    keys = np.arange(4, dtype=np.uint64)
    uniforms(1, Purpose.BLEND, keys, 0)
    assert keys.tolist() == [0, 1, 2, 3]


@given(strategies.seeds, purposes, st.integers(0, MASK), st.integers(0, MASK), st.integers(0, 63))
def test_one_bit_of_any_input_changes_the_draw(seed: int, purpose: int, key: int, tick: int, bit: int) -> None:
    # Two draws are equal by chance with probability 2^-53, so a draw that repeats does so by a fault.
    def draw(seed: int, key: int, tick: int) -> float:
        return float(uniforms(seed, purpose, np.array([key], np.uint64), tick)[0])

    flip, drawn = 1 << bit, draw(seed, key, tick)
    assert drawn != draw(seed ^ flip, key, tick)
    assert drawn != draw(seed, key ^ flip, tick)
    assert drawn != draw(seed, key, tick ^ flip)
    for other in {*Purpose, Purpose.PARTS + 1, Purpose.NUMBERS + 1} - {purpose}:
        assert drawn != uniforms(seed, other, np.array([key], np.uint64), tick)[0]


@pytest.mark.parametrize("bit", range(63))
def test_one_bit_of_the_world_changes_the_key(bit: int) -> None:
    assert draw_keys(5, "a") != draw_keys(5 ^ 1 << bit, "a")


def test_neighbouring_inputs_do_not_collide() -> None:
    # With a sum instead of a chain, (key + 1, tick - 1) would repeat (key, tick).
    keys = np.arange(50, dtype=np.uint64)
    drawn = {
        value
        for seed in range(2)
        for purpose in Purpose
        for tick in range(20)
        for value in uniforms(seed, purpose, keys, tick).tolist()
    }
    assert len(drawn) == 2 * len(Purpose) * 20 * 50


def test_parts_and_numbers_have_draws_of_their_own() -> None:
    keys = np.arange(8, dtype=np.uint64)
    purposes = {*Purpose, *(first + k for first in (Purpose.PARTS, Purpose.NUMBERS) for k in range(2000))}
    drawn = {value for purpose in purposes for value in uniforms(1, purpose, keys, 5).tolist()}
    assert len(purposes) == 4002
    assert len(drawn) == 4002 * 8


def test_draws_are_uniform() -> None:
    # 100,000 draws in 100 bins; 148.23 is the 99.9 % point of chi-square with 99 degrees of freedom.
    keys = np.array([draw_keys(0, f"agent {i}") for i in range(1000)], np.uint64)
    drawn = np.concatenate([uniforms(7, Purpose.BLEND, keys, tick) for tick in range(100)])
    counts = np.bincount((drawn * 100).astype(np.int64), minlength=100)
    assert np.sum((counts - 1000) ** 2 / 1000) < 148.23


def test_successive_ticks_are_uncorrelated() -> None:
    # The correlation of 100,000 independent pairs has a standard deviation of 0.0032.
    keys = np.arange(1000, dtype=np.uint64)
    drawn = np.stack([uniforms(7, Purpose.BLEND, keys, tick) for tick in range(101)])
    assert abs(np.corrcoef(drawn[:-1].ravel(), drawn[1:].ravel())[0, 1]) < 4 * 0.0032


def test_a_key_is_blake2b_of_canonical_json() -> None:
    digest = hashlib.blake2b(b'[3,"zo\\u00eb"]', digest_size=8).digest()
    key = draw_keys(3, "zoë")
    assert isinstance(key, np.uint64)
    assert key == int.from_bytes(digest, "little")


def test_keys_differ_by_world_and_by_agent() -> None:
    assert len({draw_keys(world, agent) for world in (0, 1, 11) for agent in ("a", "b", "1a")}) == 9


@given(strategies.seeds, st.lists(st.tuples(strategies.keys, st.integers(0, 300)), min_size=1, max_size=12))
def test_draws_that_were_made_ahead_are_those_of_their_ticks(
    seed: int, asked: list[tuple[NDArray[np.uint64], int]]
) -> None:
    # Agents come and go, and ticks go on, go back and jump, so that draws ahead are used, and not where they must not.
    for keys, first in asked:
        for tick in (first, first + 1, first + 63, MASK, first):
            drawn = uniforms(seed, Purpose.POLICY, keys, tick)
            half = mix(mix(seed) + Purpose.POLICY)
            assert drawn.tolist() == [(mix(mix(half + key) + tick) >> 11) / 2**53 for key in keys.tolist()]
            drawn[:] = -1.0  # an array of the caller's own
