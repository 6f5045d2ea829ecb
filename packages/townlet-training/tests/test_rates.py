"""The learning rate that follows the divergence."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_training.errors import ConfigError
from townlet_training.learning.rates import HIGHEST_RATE, LOWEST_RATE, kl_adapted


@pytest.mark.parametrize(
    ("rate", "kl", "expected"),
    [
        # Target 0.01: the band is [0.005, 0.02], its ends included.
        (3e-4, 0.0, 4.5e-4),
        (3e-4, 0.0049, 4.5e-4),
        (3e-4, 0.005, 3e-4),
        (3e-4, 0.01, 3e-4),
        (3e-4, 0.02, 3e-4),
        (3e-4, 0.0201, 2e-4),
        (3e-4, math.inf, 2e-4),
        (8e-3, 0.0, 1e-2),
        (1.2e-6, 1.0, 1e-6),
    ],
)
def test_the_rate_by_hand(rate: float, kl: float, expected: float) -> None:
    assert kl_adapted(rate, kl, target=0.01) == pytest.approx(expected, rel=1e-12)


rates = st.floats(LOWEST_RATE, HIGHEST_RATE)
divergences = st.floats(0.0, 10.0)
targets = st.floats(1e-4, 1.0)


@given(rates, divergences, divergences, targets)
def test_a_greater_divergence_never_gives_a_greater_rate(
    rate: float, first: float, second: float, target: float
) -> None:
    low, high = sorted((first, second))
    assert kl_adapted(rate, high, target=target) <= kl_adapted(rate, low, target=target)


@given(rates, divergences, targets)
def test_it_stays_within_its_bounds_and_moves_by_one_factor(rate: float, kl: float, target: float) -> None:
    adapted = kl_adapted(rate, kl, target=target)
    assert LOWEST_RATE <= adapted <= HIGHEST_RATE
    assert rate / 1.5 * (1 - 1e-12) <= adapted <= rate * 1.5


def test_a_divergence_in_proportion_to_the_square_of_the_rate_is_brought_into_the_band() -> None:
    # KL grows with the square of a small step: 40 η² is 0.01 at η = 0.0158, beyond the highest rate 1e-2, and
    # 400 η² at 0.005. From either end the rate gets to where KL is within [target / 2, 2 target], and stays.
    for start in (LOWEST_RATE, HIGHEST_RATE):
        rate = start
        for _ in range(40):
            rate = kl_adapted(rate, 400.0 * rate**2, target=0.01)
        assert 0.005 <= 400.0 * rate**2 <= 0.02
        assert kl_adapted(rate, 400.0 * rate**2, target=0.01) == rate


@pytest.mark.parametrize(
    ("rate", "kl", "target", "name"),
    [
        (1e-7, 0.0, 0.01, "learning_rate"),
        (0.1, 0.0, 0.01, "learning_rate"),
        (1e-3, math.nan, 0.01, "kl"),
        (1e-3, 0.0, 0.0, "target"),
        (math.nan, 0.0, 0.01, "learning_rate"),
    ],
)
def test_numbers_out_of_range_are_refused(rate: float, kl: float, target: float, name: str) -> None:
    with pytest.raises(ConfigError, match=f"`{name}`"):
        kl_adapted(rate, kl, target=target)
