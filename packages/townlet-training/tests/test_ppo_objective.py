"""What each kind of step teaches whom: the loss by hand, and what it leaves alone."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from strategies import (
    DECISION,
    FORCED,
    FOREIGN,
    KINDS,
    LENGTHS,
    PLAIN,
    acted_batch,
    batch_of,
    blank_network,
    blended_pair,
    learner_of,
    make_network,
    replaced,
    spread_out,
    weights_of,
)

from townlet_training.learning.ppo import PPOConfig


def test_the_losses_by_hand() -> None:
    # Â = r: -(1/2) (2/3 · 1 + 2 · 3) = -10/3.  Targets ρ r: ((2/3)² + 6²) / 2.  Uniform: entropy and CE are log 2.
    update = learner_of(blank_network(), PLAIN).update(blended_pair())
    assert update.policy_loss == pytest.approx(-10 / 3, rel=1e-6)
    assert update.value_loss == pytest.approx((4 / 9 + 36) / 2, rel=1e-6)
    assert update.entropy == pytest.approx(math.log(2.0)) and update.entropy_std == 0.0
    assert update.kickstart_loss == pytest.approx(math.log(2.0))
    assert update.total_loss == pytest.approx(-10 / 3 + 0.5 * (4 / 9 + 36) / 2, rel=1e-6)
    assert update.kl == 0.0 and update.clip_fraction == 0.0 and update.clip_triggered_minibatches == 0
    assert (update.adv_mean, update.adv_std, update.adv_min_std) == pytest.approx((2.0, 1.0, 1.0))
    assert (update.num_updates, update.num_decisions, update.num_transitions) == (1, 2, 2)
    assert update.explained_variance == pytest.approx(0.0) and update.reward_advantage_corr == pytest.approx(1.0)
    assert not update.stopped_early


def test_the_total_adds_every_term_with_its_coefficient() -> None:
    config = dataclasses.replace(PLAIN, entropy_coef=0.1, value_loss_coef=0.25)
    update = learner_of(blank_network(), config).update(blended_pair(), kickstart_coef=3.0)
    expected = -10 / 3 + 0.25 * (4 / 9 + 36) / 2 - 0.1 * math.log(2.0) + 3.0 * math.log(2.0)
    assert update.total_loss == pytest.approx(expected, rel=1e-6)


def test_normalized_advantages_by_hand() -> None:
    # Â = [1, 3] becomes [-1, 1]: -(1/2) (2/3 · (-1) + 2 · 1) = -2/3; what is reported is as it was before.
    config = dataclasses.replace(PLAIN, normalize_advantages=True)
    update = learner_of(blank_network(), config).update(blended_pair())
    assert update.policy_loss == pytest.approx(-2 / 3, rel=1e-6)
    assert update.adv_mean == pytest.approx(2.0)


def test_the_value_loss_is_in_units_of_the_scale() -> None:
    network = blank_network()
    network.set_value_scale(2.0)
    update = learner_of(network, PLAIN).update(blended_pair())
    assert update.value_loss == pytest.approx((4 / 9 + 36) / 2 / 4, rel=1e-6)


def test_weights_are_bounded_by_the_least_ratio() -> None:
    # 1 / β_min = 1.25 < 2: -(1/2) (2/3 · 1 + 1.25 · 3), targets 2/3 and 1.25 · 3.
    update = learner_of(blank_network(), dataclasses.replace(PLAIN, min_ratio=0.8)).update(blended_pair())
    assert update.policy_loss == pytest.approx(-(2 / 3 + 3.75) / 2, rel=1e-6)
    assert update.value_loss == pytest.approx((4 / 9 + 3.75**2) / 2, rel=1e-6)


def test_minibatches_share_one_divisor() -> None:
    # 3 decisions in 2 minibatches: each sum is divided by 3/2, so that their mean is the mean over the batch,
    # however the rows are dealt out. A learning rate that rounds to nothing keeps r at 1.
    batch = batch_of(
        lengths=[1, 1, 1],
        rewards=[1, 3, 8],
        terminated=[True] * 3,
        policy_log_prob=[math.log(0.5)] * 3,
        behavior_log_prob=[math.log(0.5)] * 3,
    )
    config = dataclasses.replace(PLAIN, num_minibatches=2, learning_rate=1e-30)
    update = learner_of(blank_network(), config).update(batch)
    assert update.policy_loss == pytest.approx(-4.0, rel=1e-6)
    assert update.num_updates == 2 and update.num_transitions == 3


def test_labels_share_one_divisor() -> None:
    # One label among two rows: the mean over labels is log 2, not its half; in two minibatches too.
    batch = replaced(blended_pair(), np.array([False, True]), expert_action=-1)
    for num_minibatches in (1, 2):
        config = dataclasses.replace(PLAIN, num_minibatches=num_minibatches, learning_rate=1e-30)
        update = learner_of(blank_network(), config).update(batch)
        assert update.kickstart_loss == pytest.approx(math.log(2.0), rel=1e-6)


@pytest.mark.parametrize("ratio", [1.0, 0.3])
@pytest.mark.parametrize("masked", [False, True])
def test_the_first_minibatch_starts_at_a_ratio_of_one(ratio: float, masked: bool) -> None:
    # r = 1 ± 1e-6 bounds w ((r - 1) - log r) by w · 5e-13, and w by 1/β.
    network = spread_out(make_network())
    batch = acted_batch(network, lengths=LENGTHS, ratio=ratio, masked=masked, kind=KINDS)
    update = learner_of(network, PLAIN).update(batch)
    assert 0.0 <= update.kl <= 5e-13 / ratio
    assert update.clip_fraction == 0.0


def test_decisions_that_the_policy_could_not_take_are_selected_out() -> None:
    # The mask forbids what the script proposed and the blend chose; log π may be recorded as finfo.min or -inf.
    for log_zero in (-np.inf, float(np.finfo(np.float32).min)):
        batch = batch_of(
            lengths=[1, 1],
            rewards=[1.0, 3.0],
            terminated=[True, True],
            observations={
                "features": np.zeros((2, 1), np.float32),
                "action_mask": np.array([[True, True], [True, False]]),
            },
            chosen_action=[0, 1],
            expert_action=[0, 1],
            policy_log_prob=[math.log(0.5), log_zero],
            behavior_log_prob=[math.log(0.75), math.log(0.5)],
        )
        update = learner_of(blank_network(), PLAIN).update(batch)
        # One of D = 2 decisions is left: -(1/2) · 2/3 · 1. Its value target is V = 0, the other's 2/3.
        assert update.policy_loss == pytest.approx(-1 / 3, rel=1e-6)
        assert update.value_loss == pytest.approx(4 / 9 / 2, rel=1e-6)
        assert update.kickstart_loss == pytest.approx(math.log(2.0), rel=1e-6)
        assert update.num_decisions == 2 and update.adv_mean == pytest.approx(1.0)


def test_forced_steps_teach_the_critic_alone() -> None:
    network = spread_out(make_network())
    batch = acted_batch(network, lengths=LENGTHS, ratio=0.5, kind=KINDS)
    rows = batch.columns["kind"] == FORCED
    turned = replaced(batch, rows, chosen_action=3, action=0, expert_action=1, policy_log_prob=-5.0)
    richer = replaced(batch, rows & (np.arange(batch.num_steps) == np.flatnonzero(rows)[-1]), rewards=50.0)
    results = []
    for learned in (batch, turned, richer):
        copy = spread_out(make_network())
        update = learner_of(copy, PPOConfig()).update(learned, kickstart_coef=0.5)
        results.append((weights_of(copy), update))
    assert results[0] == results[1]
    assert results[0][1].num_transitions == 4 * int((batch.columns["kind"] != FOREIGN).sum())
    assert results[0][1].num_decisions == int((batch.columns["kind"] == DECISION).sum())
    assert results[0][0] != results[2][0]


def test_foreign_steps_teach_nobody() -> None:
    network = spread_out(make_network())
    batch = acted_batch(network, lengths=LENGTHS, ratio=0.5, kind=KINDS)
    rows = batch.columns["kind"] == FOREIGN
    turned = replaced(batch, rows, chosen_action=3, expert_action=1, policy_log_prob=-5.0, rewards=50.0)
    results = []
    for learned in (batch, turned):
        copy = spread_out(make_network())
        results.append((learner_of(copy, PPOConfig()).update(learned, kickstart_coef=0.5), weights_of(copy)))
    assert results[0] == results[1]


def test_a_batch_without_decisions_leaves_the_policy_alone() -> None:
    network = spread_out(make_network())
    learner = learner_of(network, PPOConfig())
    learner.update(acted_batch(network, lengths=LENGTHS))  # so that Adam has moments that could carry it on
    policy = [weight.detach().clone() for weight in network.policy_parameters()]
    critic = [weight.detach().clone() for weight in network.value_parameters()]
    forced = np.full(sum(LENGTHS), FORCED, np.int8)
    update = learner.update(acted_batch(network, lengths=LENGTHS, kind=forced))
    assert all(torch.equal(*pair) for pair in zip(policy, network.policy_parameters(), strict=True))
    assert not all(torch.equal(*pair) for pair in zip(critic, network.value_parameters(), strict=True))
    assert update.num_decisions == 0 and update.adv_zero_std_batches == 0
    assert update.policy_loss == update.adv_mean == update.adv_std == update.adv_min_std == update.entropy == 0.0


def test_a_veto_is_the_doing_of_the_world() -> None:
    # Gradient and weight are those of the chosen action; the executed one is never looked at.
    batch = blended_pair()
    vetoed = replaced(batch, np.array([True, True]), action=[1, 0], vetoed=True, veto_reason=1)
    results = []
    for learned in (batch, vetoed):
        network = blank_network()
        results.append((learner_of(network, PPOConfig()).update(learned), weights_of(network)))
    assert results[0] == results[1]


def test_a_value_clip_stops_the_pull_beyond_it() -> None:
    # Every value starts at 0, the targets are far away: with a clip of 1e-3 the first steps leave it, and then the
    # clipped error is the greater one, which has no gradient.
    batch = replaced(blended_pair(), np.array([True, True]), rewards=100.0)
    norms = []
    for value_clip in (None, 1e-3):
        network = blank_network()
        config = dataclasses.replace(PLAIN, num_epochs=20, learning_rate=1e-2, value_clip=value_clip)
        learner_of(network, config).update(batch)
        norms.append(abs(network.act({"features": np.zeros((1, 1), np.float32)}, None)[1][0]))
    assert norms[1] < norms[0] / 2


def test_discount_and_lambda_each_reach_the_advantages() -> None:
    # V = 0: Â_1 = 3, Â_0 = 1 + 0.5 · 0.25 · 3.
    batch = batch_of(
        lengths=[2],
        rewards=[1.0, 3.0],
        terminated=[True],
        policy_log_prob=[math.log(0.5)] * 2,
        behavior_log_prob=[math.log(0.5)] * 2,
    )
    update = learner_of(blank_network(), dataclasses.replace(PLAIN, gae_lambda=0.25)).update(batch)
    assert update.adv_mean == pytest.approx((1.375 + 3.0) / 2)


def test_a_value_clip_is_in_units_of_the_scale() -> None:
    # The head says 3, the target is 8 / 2: (3 - 4)², and nothing is clipped before the first step.
    network = blank_network()
    network.set_value_scale(2.0)
    with torch.no_grad():
        list(network.value_parameters())[-1].fill_(3.0)
    batch = replaced(blended_pair(), np.array([True, True]), rewards=8.0, behavior_log_prob=math.log(0.5))
    update = learner_of(network, dataclasses.replace(PLAIN, value_clip=0.5)).update(batch)
    assert update.value_loss == pytest.approx(1.0, rel=1e-6)


def test_the_divergence_is_the_weighted_mean_over_decisions() -> None:
    # Of two passes in one minibatch each, the second sees the policy that one pass alone leaves behind.
    config = dataclasses.replace(PLAIN, learning_rate=1e-2)
    once, twice = (spread_out(make_network()) for _ in range(2))
    batch = acted_batch(once, lengths=LENGTHS, ratio=0.5, kind=KINDS)
    learner_of(once, config).update(batch)
    update = learner_of(twice, dataclasses.replace(config, num_epochs=2)).update(batch)
    rows = np.flatnonzero(batch.columns["kind"] == DECISION)
    seen = {name: np.asarray(array, np.float32) for name, array in batch.observations.items()}
    moved = once.act(seen, None)[0][rows, np.asarray(batch.columns["chosen_action"], np.int64)[rows]]
    acted = np.asarray(batch.columns["policy_log_prob"], np.float64)[rows]
    weights = np.exp(acted - np.asarray(batch.columns["behavior_log_prob"], np.float64)[rows])
    log_ratios = moved - acted
    assert update.kl_max == pytest.approx(np.mean(weights * (np.exp(log_ratios) - 1.0 - log_ratios)), rel=1e-3)
    assert update.kl == pytest.approx(update.kl_max / 2, rel=1e-3)
    assert update.clip_fraction_max == pytest.approx(np.mean(np.abs(np.exp(log_ratios) - 1.0) > 0.2))
