import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from strategies import LOWEST, masked_log_probs

from townlet_behavior import Box, draw_keys
from townlet_runtime.policy.drawing import (
    Distribution,
    greedy_actions,
    greedy_numbers,
    greedy_parts,
    log_prob_of_numbers,
    sample_actions,
    sample_numbers,
    sample_parts,
    uniforms_of_numbers,
    uniforms_of_parts,
)

KNOB = Box(names=("knob",), low=(-2.0,), high=(2.0,))
STEER = Box(names=("steer", "throttle"), low=(-1.0, 0.1), high=(1.0, 0.7))
KEYS = np.array([draw_keys(3, f"agent {index}") for index in range(2000)], np.uint64)


def log(*probabilities: float) -> NDArray[np.float32]:
    return np.array([[LOWEST if p == 0 else np.log(p) for p in probabilities]], np.float32)


def test_sampling_at_a_temperature_by_hand() -> None:
    # π = (1, 4, 4)/9 at τ = 2 is (1, 2, 2)/5: cumulative 0.2, 0.6, 1. At τ = 1: 0.11, 0.56, 1.
    log_probs = np.log(np.array([[1, 4, 4]] * 4, np.float32) / np.float32(9))
    drawn = sample_actions(log_probs, np.array([0.15, 0.15, 0.58, 0.58]), np.array([2, 1, 2, 1], np.float32))
    assert drawn.tolist() == [0, 1, 1, 2]
    nothing = np.full((1, 3), np.finfo(np.float32).min)
    assert sample_actions(nothing, np.array([0.5]), np.array([2.0], np.float32)).tolist() == [3]


@pytest.mark.parametrize(
    ("uniform", "action"),
    [(0.0, 1), (0.2499, 1), (0.2501, 3), (0.7499, 3), (0.7501, 4), (np.nextafter(1.0, 0.0), 4)],
)
def test_sampling_by_hand(uniform: float, action: int) -> None:
    # distribution function: 0, 0.25, 0.25, 0.75, 1, 1
    log_probs = log(0, 0.25, 0, 0.5, 0.25, 0)
    assert sample_actions(log_probs, np.array([uniform])).tolist() == [action]


@given(masked_log_probs(), st.data())
def test_a_masked_action_is_never_drawn(
    drawn: tuple[NDArray[np.float32], NDArray[np.bool_]], data: st.DataObject
) -> None:
    log_probs, mask = drawn
    rows = np.arange(len(mask))
    uniforms = data.draw(npst.arrays(np.float64, len(mask), elements=st.floats(0, 1, exclude_max=True)))
    actions = sample_actions(log_probs, uniforms)
    assert actions.dtype == np.int64
    assert mask[rows, actions].all()
    assert mask[rows, sample_actions(log_probs, np.full(len(mask), np.nextafter(1.0, 0.0)))].all()
    assert mask[rows, greedy_actions(log_probs)].all()


@given(masked_log_probs())
def test_shares_of_evenly_spread_draws_are_the_probabilities(
    drawn: tuple[NDArray[np.float32], NDArray[np.bool_]],
) -> None:
    log_probs, _ = drawn
    spread = (np.arange(1000) + 0.5) / 1000
    for row in log_probs:
        actions = sample_actions(np.tile(row, (1000, 1)), spread)
        shares = np.bincount(actions, minlength=len(row)) / 1000
        # a step of the distribution function lies within one draw of where it should
        np.testing.assert_allclose(shares, np.exp(row, dtype=np.float64), atol=2.1e-3)


def test_a_row_that_is_no_distribution_gives_no_action() -> None:
    log_probs = np.concatenate([log(0, 0, 0), log(0.5, 0, 0.5), np.full((1, 3), np.nan, np.float32)])
    assert sample_actions(log_probs, np.full(3, 0.9)).tolist() == [3, 2, 3]
    assert greedy_actions(log_probs).tolist() == [3, 0, 3]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_impossible_number_spoils_its_row_alone(value: float, place: int) -> None:
    log_probs = np.concatenate([log(0.2, 0.5, 0.3), log(0.2, 0.5, 0.3)])
    log_probs[0, place] = value
    assert greedy_actions(log_probs).tolist() == [3, 1]
    assert sample_actions(log_probs, np.full(2, 0.5)).tolist() == [3, 1]


def test_greedy_takes_the_first_of_the_most_probable() -> None:
    assert greedy_actions(np.concatenate([log(0.2, 0.4, 0.4), log(0.5, 0.4, 0.1)])).tolist() == [1, 0]


def test_parts_are_drawn_side_by_side() -> None:
    # part one: 0.25, 0.75; part two: 0, 0.5, 0.5
    log_probs = np.repeat(np.concatenate([log(0.25, 0.75), log(0, 0.5, 0.5)], axis=1), 3, axis=0)
    uniforms = np.array([[0.2, 0.4], [0.3, 0.6], [0.9, 0.1]])
    assert sample_parts(log_probs, uniforms, sizes=(2, 3)).tolist() == [[0, 1], [1, 2], [1, 1]]
    assert greedy_parts(log_probs, sizes=(2, 3)).tolist() == [[1, 1]] * 3
    # (0.25, 0.75) at τ = 2 is (1, √3) / (1 + √3): 0.366 comes before 0.3 then
    warm = np.full(3, 2.0, np.float32)
    assert sample_parts(log_probs, uniforms, warm, sizes=(2, 3)).tolist() == [[0, 1], [0, 2], [1, 1]]


def test_a_part_that_is_no_distribution_gives_no_index() -> None:
    log_probs = np.concatenate([log(0, 0), log(0.2, 0.3, 0.5)], axis=1)
    assert sample_parts(log_probs, np.full((1, 2), 0.4), sizes=(2, 3)).tolist() == [[2, 1]]
    assert greedy_parts(log_probs, sizes=(2, 3)).tolist() == [[2, 2]]


@given(masked_log_probs(), masked_log_probs(), st.data())
def test_each_part_is_drawn_as_if_it_were_alone(
    one: tuple[NDArray[np.float32], NDArray[np.bool_]],
    other: tuple[NDArray[np.float32], NDArray[np.bool_]],
    data: st.DataObject,
) -> None:
    rows = min(len(one[0]), len(other[0]))
    first, second = one[0][:rows], other[0][:rows]
    uniforms = data.draw(npst.arrays(np.float64, (rows, 2), elements=st.floats(0, 1, exclude_max=True)))
    joined, sizes = np.concatenate([first, second], axis=1), (first.shape[1], second.shape[1])
    drawn = sample_parts(joined, uniforms, sizes=sizes)
    assert drawn.dtype == np.int64
    np.testing.assert_array_equal(drawn[:, 0], sample_actions(first, uniforms[:, 0]))
    np.testing.assert_array_equal(drawn[:, 1], sample_actions(second, uniforms[:, 1]))
    best = greedy_parts(joined, sizes=sizes)
    np.testing.assert_array_equal(best, np.stack([greedy_actions(first), greedy_actions(second)], axis=1))


def test_numbers_by_hand() -> None:
    # u1 = 1 - e^(-1/2): √(-2 log(1 - u1)) = 1; times cos 0 = 1, cos π = -1, cos π/2 = 0
    first = 1.0 - math.exp(-0.5)
    uniforms = np.array([[[first, 0.0]], [[first, 0.5]], [[first, 0.25]]])
    params = np.tile(np.array([[1.5, math.log(2.0)]], np.float32), (3, 1))  # mean 1.5, deviation 2
    clipped = sample_numbers(params, uniforms, box=KNOB, distribution="clipped")
    np.testing.assert_allclose(clipped[:, 0], [3.5, -0.5, 1.5], atol=1e-6)
    squashed = sample_numbers(params, uniforms, box=KNOB, distribution="squashed")
    np.testing.assert_allclose(squashed[:, 0], 2 * np.tanh([3.5, -0.5, 1.5]), atol=1e-6)
    uniform = sample_numbers(params, uniforms, box=KNOB, distribution="uniform")
    np.testing.assert_allclose(uniform[:, 0], [-2 + 4 * first] * 3, atol=1e-6)
    assert {one.dtype for one in (clipped, squashed, uniform)} == {np.dtype(np.float32)}


def test_the_mean_is_the_greedy_number() -> None:
    params = np.array([[3.0, 0.0], [-0.5, 0.0]], np.float32)
    assert greedy_numbers(params, box=KNOB, distribution="clipped").tolist() == [[2.0], [-0.5]]
    squashed = greedy_numbers(params, box=KNOB, distribution="squashed")
    np.testing.assert_allclose(squashed[:, 0], 2 * np.tanh([3.0, -0.5]), atol=1e-6)


def test_log_probabilities_of_numbers_by_hand() -> None:
    normal = -0.5 * math.log(2 * math.pi)
    # N(1; mean 0, deviation 2): -(1/2)² / 2 - log 2
    params, one = np.array([[0.0, math.log(2.0)]], np.float32), np.array([[1.0]], np.float32)
    clipped = log_prob_of_numbers(params, one, box=KNOB, distribution="clipped")
    np.testing.assert_allclose(clipped, normal - 0.125 - math.log(2.0), rtol=1e-6)
    # 1 is u = 1/2 of [-2, 2], z = atanh 1/2 = log(3) / 2; less log(1 - 1/4) and log of half the range, 2
    z = math.log(3.0) / 2
    squashed = log_prob_of_numbers(params, one, box=KNOB, distribution="squashed")
    np.testing.assert_allclose(squashed, normal - z * z / 8 - math.log(2.0) - math.log(0.75) - math.log(2.0), rtol=1e-6)
    np.testing.assert_allclose(
        log_prob_of_numbers(params, one, box=KNOB, distribution="uniform"), -math.log(4.0), rtol=1e-6
    )


def test_numbers_are_independent() -> None:
    params = np.array([[0.3, -0.2, -0.5, 0.1]], np.float32)
    action = np.array([[0.25, 0.4]], np.float32)
    for distribution in ("clipped", "squashed", "uniform"):
        alone = [
            log_prob_of_numbers(
                params[:, [k, 2 + k]],
                action[:, [k]],
                box=Box(names=("x",), low=STEER.low[k : k + 1], high=STEER.high[k : k + 1]),
                distribution=distribution,
            )
            for k in range(2)
        ]
        together = log_prob_of_numbers(params, action, box=STEER, distribution=distribution)
        np.testing.assert_allclose(together, np.sum(alone, axis=0), rtol=1e-5)


@pytest.mark.parametrize("distribution", ["clipped", "squashed", "uniform"])
def test_probabilities_of_numbers_add_up_to_one(distribution: Distribution) -> None:
    edge = 9.0 if distribution == "clipped" else 2.0
    places = np.linspace(-edge, edge, 200_001)
    middle = ((places[1:] + places[:-1]) / 2).astype(np.float32)[:, None]
    params = np.tile(np.array([[0.4, math.log(0.8)]], np.float32), (len(middle), 1))
    density = np.exp(log_prob_of_numbers(params, middle, box=KNOB, distribution=distribution).astype(np.float64))
    assert np.sum(density * np.diff(places)) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("distribution", ["clipped", "squashed", "uniform"])
def test_draws_have_the_stated_distribution(distribution: Distribution) -> None:
    uniforms = uniforms_of_numbers(1, seed=5, keys=KEYS, tick=9)
    params = np.tile(np.array([[0.4, math.log(0.8)]], np.float32), (len(KEYS), 1))
    drawn = np.sort(sample_numbers(params, uniforms, box=KNOB, distribution=distribution)[:, 0].astype(np.float64))
    normal = NormalDist(0.4, 0.8)
    below: dict[str, Callable[[float], float]] = {
        "clipped": normal.cdf,
        "squashed": lambda number: normal.cdf(math.atanh(number / 2.0)),
        "uniform": lambda number: (number + 2.0) / 4.0,
    }
    gap = np.abs(np.array([*map(below[distribution], drawn)]) - (np.arange(len(drawn)) + 0.5) / len(drawn)).max()
    assert gap < 1.95 / math.sqrt(len(drawn))  # Kolmogorov & Smirnov, one fault in a thousand


@given(
    npst.arrays(np.float32, (3, 4), elements=st.floats(-5, 2, width=32)),
    npst.arrays(np.float64, (3, 2, 2), elements=st.floats(0, 1, exclude_max=True)),
    st.sampled_from(["clipped", "squashed", "uniform"]),
)
def test_every_draw_has_a_finite_log_probability(
    params: NDArray[np.float32], uniforms: NDArray[np.float64], distribution: Distribution
) -> None:
    drawn = sample_numbers(params, uniforms, box=STEER, distribution=distribution)
    assert np.isfinite(log_prob_of_numbers(params, drawn, box=STEER, distribution=distribution)).all()
    greedy = greedy_numbers(params, box=STEER, distribution=distribution)
    low, high = STEER.bounds
    for inside in (greedy,) if distribution == "clipped" else (greedy, drawn):
        assert ((inside >= low) & (inside <= high)).all()


@pytest.mark.parametrize("distribution", ["clipped", "squashed"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_impossible_parameters_spoil_their_row_alone(distribution: Distribution, value: float) -> None:
    params = np.array([[value, 0.0], [0.5, 0.0]], np.float32)
    uniforms = np.full((2, 1, 2), 0.3)
    drawn = sample_numbers(params, uniforms, box=KNOB, distribution=distribution)
    likely = log_prob_of_numbers(params, drawn, box=KNOB, distribution=distribution)
    assert np.isfinite(likely).tolist() == [False, True]


def test_one_agents_draws_do_not_depend_on_who_else_is_there() -> None:
    numbers, parts = (draw(3, seed=5, keys=KEYS, tick=9) for draw in (uniforms_of_numbers, uniforms_of_parts))
    assert numbers.shape == (2000, 3, 2)
    assert parts.shape == (2000, 3)
    np.testing.assert_array_equal(uniforms_of_numbers(3, seed=5, keys=KEYS[7:8], tick=9), numbers[7:8])
    np.testing.assert_array_equal(uniforms_of_parts(3, seed=5, keys=KEYS[7:8], tick=9), parts[7:8])
    # of every agent, part and number another one
    assert len(np.unique(numbers)) == numbers.size
    assert len(np.unique(parts)) == parts.size
    # and a number keeps its draws where others come after it
    np.testing.assert_array_equal(uniforms_of_numbers(2, seed=5, keys=KEYS, tick=9), numbers[:, :2])
