"""What an update says about itself, and when it stops."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from strategies import (
    PLAIN,
    acted_batch,
    blank_network,
    blended_pair,
    learner_of,
    make_network,
    replaced,
    spread_out,
)

from townlet_training.learning.ppo import PPOConfig, PPOUpdate


def test_minibatches_with_equal_advantages_are_counted() -> None:
    batch = replaced(blended_pair(), np.array([True, True]), rewards=3.0)
    update = learner_of(blank_network(), PLAIN).update(batch)
    assert update.adv_zero_std_batches == 1 and update.adv_min_std == 0.0
    assert update.reward_advantage_corr is None
    singles = learner_of(blank_network(), dataclasses.replace(PLAIN, num_minibatches=2)).update(blended_pair())
    assert singles.adv_zero_std_batches == 2 and singles.adv_std == pytest.approx(1.0)


def test_target_kl_ends_an_update_before_the_step_that_would_exceed_it() -> None:
    def update(target_kl: float | None) -> PPOUpdate:
        network = spread_out(make_network())
        batch = acted_batch(network, lengths=(64,))
        config = PPOConfig(learning_rate=1e-2, num_epochs=10, num_minibatches=2, target_kl=target_kl)
        return learner_of(network, config).update(batch)

    free, held = update(None), update(0.01)
    assert free.num_updates == 20 and not free.stopped_early and free.kl_max > 0.1
    assert 1 <= held.num_updates < 20 and held.stopped_early
    assert held.num_transitions == 32 * held.num_updates
    # It was seen once above 1.5 × the target, and that ended it.
    assert held.kl_max > 0.015
    assert update(held.kl_max / 1.5 * 1.01).num_updates > held.num_updates
    assert update(held.kl_max / 1.5 * 0.99).num_updates == held.num_updates


def test_maxima_and_counts_of_a_long_update() -> None:
    network = spread_out(make_network())
    batch = acted_batch(network, lengths=(64,), ratio=0.5)
    config = PPOConfig(learning_rate=1e-2, num_epochs=6, minibatch_size=30)
    update = learner_of(network, config).update(batch)
    assert update.num_updates == 18 and update.num_transitions == 6 * 64
    assert 0.0 < update.kl < update.kl_max and 0.0 < update.clip_fraction < update.clip_fraction_max <= 1.0
    assert 0 < update.clip_triggered_minibatches < 18
    assert 0.0 < update.grad_norm < update.grad_norm_max and update.entropy_std > 0.0
    assert 0.0 < update.adv_min_std <= update.adv_std
