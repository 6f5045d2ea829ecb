"""Several updates of one record as one, and the learning rate that follows the divergence."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import PLAIN, acted_batch, learner_of, make_network

from townlet_training.errors import ConfigError
from townlet_training.learning.update import HIGHEST_RATE, LOWEST_RATE, PPOUpdate, joined, kl_adapted


def measured(**values: float | None) -> PPOUpdate:
    update = learner_of(network := make_network(), PLAIN).update(acted_batch(network, lengths=(3,)))
    return replace(update, **values)


def test_means_deviations_and_counts_by_hand() -> None:
    # Steps 1 and 3: (1 · 1 + 3 · 5) / 4 = 4. Decisions 2 and 2 of means 0 and 4, deviations 1 and 3: mean 2,
    # deviation sqrt((0 + 1 + 16 + 9) / 2 - 4) = 3.
    first = measured(
        total_loss=1.0, num_updates=1, num_decisions=2, num_transitions=2, adv_mean=0.0, adv_std=1.0, adv_min_std=1.0
    )
    second = measured(
        total_loss=5.0, num_updates=3, num_decisions=2, num_transitions=6, adv_mean=4.0, adv_std=3.0, adv_min_std=0.0
    )
    both = joined(
        [
            replace(
                first,
                truncated_share=0.5,
                entropy=1.0,
                entropy_std=0.0,
                kl_max=0.5,
                explained_variance=None,
                stopped_early=True,
            ),
            replace(second, truncated_share=0.25, entropy=1.0, entropy_std=0.0, kl_max=0.25, explained_variance=0.5),
        ]
    )
    assert both.total_loss == pytest.approx(4.0)
    assert (both.adv_mean, both.adv_std, both.adv_min_std) == pytest.approx((2.0, 3.0, 0.0))
    assert (both.num_updates, both.num_decisions, both.num_transitions) == (4, 4, 8)
    assert (both.kl_max, both.explained_variance, both.entropy_std) == (0.5, 0.5, 0.0)
    assert both.stopped_early


def test_shares_of_decisions_are_weighed_by_decisions() -> None:
    parts = [measured(truncated_share=0.5, num_decisions=3), measured(truncated_share=0.25, num_decisions=1)]
    assert joined(parts).truncated_share == pytest.approx(0.4375)


def test_one_update_is_itself() -> None:
    update = measured()
    assert joined([update]) is update


def test_a_measure_that_no_part_has_is_none() -> None:
    part = measured(explained_variance=None, reward_advantage_corr=None, num_updates=0)
    assert joined([part, part]).explained_variance is None and joined([part, part]).reward_advantage_corr is None


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
