"""Several updates of one record as one: by hand, and as a whole that is cut into parts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from strategies import PLAIN, acted_batch, learner_of, make_network

from townlet_training.learning.update import PPOUpdate, joined


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
