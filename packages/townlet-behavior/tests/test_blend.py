import math

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from strategies import bools, ints

from townlet_behavior import blend, mixture_log_prob

unit = st.floats(0.0, 1.0, exclude_max=True)


def test_blend_by_hand() -> None:
    # β = 0.5: the draws 0.2 and 0.49 are the policy's, 0.5 is not; row 1 has no opinion.
    chosen, learned = blend(
        ints(1, 1, 1, 1), ints(2, 3, 4, 1), bools(True, False, True, True), np.array([0.2, 0.2, 0.5, 0.49]), 0.5
    )
    assert chosen.tolist() == [2, 1, 1, 1]
    assert learned.tolist() == [True, False, False, True]


def test_no_opinion_array_means_an_opinion_everywhere() -> None:
    chosen, learned = blend(ints(1, 1), ints(2, 2), None, np.array([0.0, 0.9]), 0.5)
    assert (chosen.tolist(), learned.tolist()) == ([2, 1], [True, False])


@given(unit)
def test_ratio_0_never_and_1_always(draw: float) -> None:
    draws = np.array([draw])
    assert blend(ints(1), ints(2), None, draws, 0.0)[0].tolist() == [1]
    assert blend(ints(1), ints(2), None, draws, 1.0)[0].tolist() == [2]


@given(st.lists(unit, min_size=1, max_size=8), strategies.ratios, strategies.ratios)
def test_raising_the_ratio_never_turns_learned_into_scripted(draws: list[float], one: float, two: float) -> None:
    low, high = sorted((one, two))
    zeros = np.zeros(len(draws), np.int64)
    _, below = blend(zeros, zeros, None, np.array(draws), low)
    _, above = blend(zeros, zeros, None, np.array(draws), high)
    assert np.all(below <= above)


def test_mixture_by_hand() -> None:
    # β = 0.3, π = 0.2: 0.3·0.2 + 0.7 = 0.76 where the script does the same, 0.06 where it does not.
    actual = mixture_log_prob(np.log([0.2, 0.2]), bools(True, False), 0.3)
    assert np.exp(actual) == pytest.approx([0.76, 0.06], rel=1e-14)


def test_mixture_at_the_ends() -> None:
    log_pi = np.log([0.2, 0.2])
    agrees = bools(True, False)
    assert mixture_log_prob(log_pi, agrees, 1.0).tolist() == log_pi.tolist()
    assert mixture_log_prob(log_pi, agrees, 0.0).tolist() == [0.0, -math.inf]


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_probability_that_underflows_is_still_right() -> None:
    # π = e^-2000 is 0 as a float; log μ = log 0.5 - 2000, or log 0.5 where the script agrees.
    actual = mixture_log_prob(np.array([-2000.0, -2000.0, -np.inf]), bools(False, True, False), 0.5)
    assert actual.tolist() == [math.log(0.5) - 2000.0, math.log(0.5), -math.inf]


@given(strategies.ratios, st.lists(st.floats(0.001, 1.0), min_size=2, max_size=6), st.data())
def test_the_mixture_sums_to_one(ratio: float, weights: list[float], data: st.DataObject) -> None:
    expert = data.draw(st.integers(0, len(weights) - 1))
    pi = np.array(weights) / np.sum(weights)
    agrees = np.arange(len(pi)) == expert
    assert np.exp(mixture_log_prob(np.log(pi), agrees, ratio)).sum() == pytest.approx(1.0, abs=1e-12)


@given(st.floats(0.01, 1.0), st.floats(-30.0, 0.0))
def test_the_weight_is_one_over_beta_or_at_most_one(ratio: float, log_pi: float) -> None:
    differs, agrees = np.exp(log_pi - mixture_log_prob(np.array([log_pi] * 2), bools(False, True), ratio))
    assert differs == pytest.approx(1.0 / ratio)
    assert agrees <= 1.0 + 1e-12


def test_whole_actions_are_blended() -> None:
    script, policy = np.array([[0, 1], [0, 1]]), np.array([[2, 0], [2, 0]])
    chosen, learned = blend(script, policy, None, np.array([0.2, 0.7]), 0.5)
    assert (chosen.tolist(), learned.tolist()) == ([[2, 0], [0, 1]], [True, False])
