"""An update: the loss by hand, the teaching of each kind of step, its measures, and the learner's state."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from acting import acted_kind
from kinds import KINDS as NETWORK_KINDS
from kinds import network_of
from numpy.testing import assert_allclose
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

from townlet_training.errors import ConfigError, ShapeError
from townlet_training.learning import batch, ppo
from townlet_training.learning.batch import LearnerBatch
from townlet_training.learning.ppo import PPOConfig, PPOLearner
from townlet_training.learning.update import PPOUpdate
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.config import NetworkConfig
from townlet_trajectory import ArraySpec, TrajectoryBatch


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


def test_the_policy_loss_is_divided_by_decisions_and_not_by_rows() -> None:
    # One decision, held for 14 more ticks: Â_0 = r_0 = 1, w = (1/2) / (1/4) = 2, D = 1. The loss is -2, not -2/15.
    batch = batch_of(
        lengths=[15],
        rewards=[1.0] + [0.0] * 14,
        terminated=[True],
        kind=[DECISION] + [FORCED] * 14,
        policy_log_prob=[math.log(0.5)] + [0.0] * 14,
        behavior_log_prob=[math.log(0.25)] + [0.0] * 14,
    )
    update = learner_of(blank_network(), PLAIN).update(batch, kickstart_coef=1.0)
    assert update.policy_loss == pytest.approx(-2.0, rel=1e-6)
    # The critic learns from all 15: one target is w · 1 = 2, the others are 0.
    assert update.value_loss == pytest.approx(4.0 / 15.0, rel=1e-6)
    # Entropy and cross-entropy are means over the decision too.
    assert update.entropy == pytest.approx(math.log(2.0)) and update.kickstart_loss == pytest.approx(math.log(2.0))


def test_the_first_step_has_the_epsilon_of_ppo() -> None:
    # V = 0, both targets 1: the gradient of the value head's bias is coef · 2 (V - v) = -2 · 5e-6 = -1e-5. Adam's first
    # step is lr g / (|g| + ε): at ε = 1e-5 half the learning rate, at 1e-8 all of it.
    network = blank_network()
    batch = replaced(blended_pair(), np.array([True, True]), rewards=1.0, behavior_log_prob=math.log(0.5))
    config = dataclasses.replace(PLAIN, value_loss_coef=5e-6, learning_rate=1e-2)
    learner_of(network, config).warm_up(batch)
    (value,) = network.act({"features": np.zeros((1, 1), np.float32)}, None)[1]
    assert value == pytest.approx(5e-3, rel=1e-3)


def test_the_gradient_is_scaled_down_to_the_norm_of_the_config() -> None:
    # Adam's first moment after one step is a tenth of the scaled gradient: its norm is 0.25 / 10.
    config = dataclasses.replace(PLAIN, max_grad_norm=0.25)
    learner = learner_of(blank_network(), config)
    assert learner.update(blended_pair()).grad_norm > 0.25
    moments = [tensor for name, tensor in learner.state_dict().items() if name.endswith(".exp_avg")]
    norm = math.sqrt(sum(moment.square().sum().item() for moment in moments))
    assert norm == pytest.approx(0.025, rel=1e-3)


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


def half_possible(log_zero: float) -> TrajectoryBatch:
    """Two decisions of weight 2/3 and 0: the mask forbids the action that the script proposed and the blend chose."""
    return batch_of(
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


# log π of an impossible action may be recorded as finfo.min or -inf.
@pytest.mark.parametrize("log_zero", [-np.inf, float(np.finfo(np.float32).min)])
def test_decisions_that_the_policy_could_not_take_are_selected_out(log_zero: float) -> None:
    update = learner_of(blank_network(), PLAIN).update(half_possible(log_zero))
    # One of D = 2 decisions is left: -(1/2) · 2/3 · 1. Its value target is V = 0, the other's 2/3.
    assert update.policy_loss == pytest.approx(-1 / 3, rel=1e-6)
    assert update.value_loss == pytest.approx(4 / 9 / 2, rel=1e-6)
    assert update.kickstart_loss == pytest.approx(math.log(2.0), rel=1e-6)
    assert update.num_decisions == 2 and update.adv_mean == pytest.approx(1.0)
    # Of the policy that acted: uniform over two actions in the row that is left.
    assert learner_of(blank_network(), PLAIN).warm_up(half_possible(log_zero)).entropy == pytest.approx(math.log(2.0))


@pytest.fixture
def drifting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first logit of a policy rises by 1 after its batch was evaluated."""

    def prepare(network: ActorCritic, *args: Any, **settings: Any) -> LearnerBatch:
        prepared = batch.prepare(network, *args, **settings)
        with torch.no_grad():
            network.policy.linear_layers()[-1].bias[0] += 1.0
        return prepared

    monkeypatch.setattr(ppo, "prepare", prepare)


@pytest.mark.usefixtures("drifting")
def test_the_divergence_is_a_mean_over_the_decisions_that_the_policy_could_take() -> None:
    # The first of two logits rises by 1: r = 2 σ(1) = 1.4621, w = 2/3, one row of two decisions.
    network = blank_network()
    update = learner_of(network, PLAIN).update(half_possible(-np.inf))
    ratio = 2.0 / (1.0 + math.exp(-1.0))
    assert update.kl == pytest.approx(2 / 3 * (ratio - 1.0 - math.log(ratio)), rel=1e-5)
    assert update.clip_fraction == 1.0


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
    policy = [weight.detach().clone() for weight in network.policy.parameters()]
    critic = [weight.detach().clone() for weight in network.critic.parameters()]
    forced = np.full(sum(LENGTHS), FORCED, np.int8)
    update = learner.update(acted_batch(network, lengths=LENGTHS, kind=forced))
    assert all(torch.equal(*pair) for pair in zip(policy, network.policy.parameters(), strict=True))
    assert not all(torch.equal(*pair) for pair in zip(critic, network.critic.parameters(), strict=True))
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
        list(network.critic.parameters())[-1].fill_(3.0)
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


def test_the_slack_of_target_kl_is_one_and_a_half() -> None:
    # Of two passes in one minibatch each, the first has KL 0 and the second K: 1.5 · K / 1.4 > K lets the second step
    # be taken, 1.5 · K / 1.6 < K does not.
    def update(target_kl: float | None) -> PPOUpdate:
        network = spread_out(make_network())
        batch = acted_batch(network, lengths=LENGTHS)
        config = dataclasses.replace(PLAIN, learning_rate=1e-2, num_epochs=2, target_kl=target_kl)
        return learner_of(network, config).update(batch)

    largest = update(None).kl_max
    assert largest > 1e-4
    for divisor, num_updates in ((1.4, 2), (1.6, 1)):
        held = update(largest / divisor)
        assert held.num_updates == num_updates and held.stopped_early == (num_updates == 1)


def test_equal_advantages_are_normalized_to_nothing() -> None:
    batch = replaced(blended_pair(), np.array([True, True]), rewards=3.0)
    update = learner_of(blank_network(), dataclasses.replace(PLAIN, normalize_advantages=True)).update(batch)
    assert update.policy_loss == 0.0 and update.adv_mean == pytest.approx(3.0)


@pytest.mark.usefixtures("drifting")
def test_an_update_that_stops_before_its_first_step_changes_nothing() -> None:
    network = spread_out(make_network())
    batch = acted_batch(network, lengths=LENGTHS)
    with torch.no_grad():
        expected = {name: weight.clone() for name, weight in network.named_parameters()}
        expected["policy.4.bias"][0] += 1.0
    update = learner_of(network, PPOConfig(target_kl=1e-3)).update(batch)
    assert update.stopped_early and update.kl > 1.5e-3
    assert update.num_updates == update.num_transitions == update.grad_norm == update.grad_norm_max == 0
    assert all(torch.equal(weight, expected[name]) for name, weight in network.named_parameters())


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


def test_an_update_moves_towards_what_paid() -> None:
    network = blank_network()
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(1))
    seen = np.zeros((2, 1), np.float32)
    log_probs, _ = network.act({"features": seen}, None)
    batch = batch_of(
        lengths=[1, 1],
        rewards=[0.0, 1.0],
        terminated=[True, True],
        chosen_action=[0, 1],
        policy_log_prob=log_probs[[0, 1], [0, 1]],
        behavior_log_prob=log_probs[[0, 1], [0, 1]],
    )
    learner_of(network, PPOConfig(learning_rate=1e-2)).update(batch)
    assert network.act({"features": seen}, None)[0][0, 1] > log_probs[0, 1]


def test_the_first_step_of_a_kickstart_by_hand() -> None:
    # Nothing is earned, and the entropy of a uniform policy has no slope: the script's action 0 alone moves the biases,
    # by the learning rate each, since Adam's first step is the sign of the gradient κ (1/2 - 1, 1/2).
    network = blank_network()
    batch = replaced(blended_pair(), np.array([True, True]), rewards=0.0)
    config = dataclasses.replace(PLAIN, learning_rate=1e-2, entropy_coef=0.1)
    learner_of(network, config).update(batch, kickstart_coef=1.0)
    log_probs, _ = network.act({"features": np.zeros((1, 1), np.float32)}, None)
    assert_allclose(log_probs[0, 0] - log_probs[0, 1], 2e-2, rtol=1e-3)


def test_kickstart_pulls_towards_the_script() -> None:
    network = spread_out(make_network())
    batch = replaced(acted_batch(network, lengths=LENGTHS), np.full(sum(LENGTHS), True), rewards=0.0, expert_action=2)
    seen = {name: np.asarray(array, np.float32) for name, array in batch.observations.items()}
    before = network.act(seen, None)[0][:, 2].mean()
    update = learner_of(network, PPOConfig(learning_rate=1e-3, value_loss_coef=0.0)).update(batch, kickstart_coef=5.0)
    assert network.act(seen, None)[0][:, 2].mean() > before
    assert update.kickstart_loss < -before


def test_warm_up_moves_the_critic_and_no_bit_of_the_policy() -> None:
    network = spread_out(make_network())
    batch = acted_batch(network, lengths=LENGTHS, kind=KINDS)
    seen = {name: np.asarray(array, np.float32) for name, array in batch.observations.items()}
    learner = learner_of(network, PPOConfig(learning_rate=1e-2, max_grad_norm=10.0))
    log_probs, values = network.act(seen, None)
    first = learner.warm_up(batch)
    again = [learner.warm_up(batch) for _ in range(20)][-1]
    after, moved = network.act(seen, None)
    assert after.tobytes() == log_probs.tobytes()
    assert not np.allclose(moved, values)
    assert again.value_loss < first.value_loss / 2
    assert first.policy_loss == first.kl == first.clip_fraction == first.kickstart_loss == 0.0
    assert first.total_loss == pytest.approx(0.5 * first.value_loss)
    decisions = batch.columns["kind"] == DECISION
    expected = -(np.exp(log_probs) * log_probs).sum(axis=1)[decisions].mean()
    assert first.entropy == pytest.approx(expected, rel=1e-5)
    assert first.num_decisions == decisions.sum() and first.adv_std > 0.0


@pytest.mark.parametrize("coefficient", [-1.0, math.nan, math.inf])
def test_a_kickstart_that_is_no_coefficient_is_refused(coefficient: float) -> None:
    with pytest.raises(ConfigError, match="`kickstart_coef`"):
        learner_of(blank_network(), PPOConfig()).update(blended_pair(), kickstart_coef=coefficient)


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan])
def test_a_learning_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match="`learning_rate`"):
        learner_of(blank_network(), PPOConfig()).update(blended_pair(), learning_rate=rate)


def test_a_learning_rate_holds_for_one_update() -> None:
    def run(first: float | None, second: float | None, config: PPOConfig) -> list[bytes]:
        network = spread_out(make_network())
        learner = learner_of(network, config)
        for rate in (first, second):
            learner.update(acted_batch(network, lengths=LENGTHS), learning_rate=rate)
        return weights_of(network)

    slow, fast = PPOConfig(learning_rate=1e-4), PPOConfig(learning_rate=1e-2)
    assert run(1e-2, None, slow) == run(None, 1e-4, fast)
    assert run(1e-2, None, slow) != run(None, None, slow)


def test_a_learning_rate_holds_for_a_warm_up_too() -> None:
    # Adam's first step moves the value head's bias by the learning rate, all but ε / |g| of it.
    network = blank_network()
    learner_of(network, PLAIN).warm_up(blended_pair(), learning_rate=0.125)
    assert network.act({"features": np.zeros((1, 1), np.float32)}, None)[1][0] == pytest.approx(0.125, rel=1e-4)


def test_a_clip_range_holds_for_one_update() -> None:
    def run(first: float | None, second: float | None, config: PPOConfig) -> list[bytes]:
        network = spread_out(make_network())
        learner = learner_of(network, config)
        for clip_range in (first, second):
            learner.update(acted_batch(network, lengths=LENGTHS), clip_range=clip_range)
        return weights_of(network)

    narrow, wide = (PPOConfig(learning_rate=1e-2, clip_range=clip_range) for clip_range in (0.01, 0.3))
    assert run(0.3, None, narrow) == run(None, 0.01, wide)
    assert run(0.3, None, narrow) != run(None, None, narrow)


def test_the_same_seed_gives_the_same_bytes() -> None:
    def run(seed: int) -> list[bytes]:
        network = spread_out(make_network())
        learner = learner_of(network, PPOConfig(), seed=seed)
        for _ in range(3):
            learner.update(
                acted_batch(network, lengths=LENGTHS, kind=KINDS, ratio=0.4, masked=True), kickstart_coef=0.1
            )
        return weights_of(network)

    assert run(3) == run(3)
    assert run(3) != run(4)


@pytest.mark.parametrize("warm", [False, True])
def test_a_learner_goes_on_from_its_state_to_the_bit(warm: bool) -> None:
    network = spread_out(make_network())
    learner = learner_of(network, PPOConfig())
    learn = learner.warm_up if warm else learner.update
    learn(acted_batch(network, lengths=LENGTHS))
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = learner.state_dict()
    learner.update(acted_batch(network, lengths=LENGTHS))

    other = make_network(seed=5)
    resumed = learner_of(other, PPOConfig(), seed=77)
    resumed.update(acted_batch(other, lengths=LENGTHS))  # whatever it did before is forgotten
    other.load_state_dict(weights)
    resumed.load_state_dict(state)
    resumed.update(acted_batch(other, lengths=LENGTHS))
    assert weights_of(other) == weights_of(network)
    assert {name: tensor.numpy().tobytes() for name, tensor in resumed.state_dict().items()} == {
        name: tensor.numpy().tobytes() for name, tensor in learner.state_dict().items()
    }


@pytest.mark.parametrize("kind", NETWORK_KINDS)
def test_a_learner_of_every_kind_goes_on_from_its_state_to_the_bit(kind: str) -> None:
    # Every row is a decision, so that the memory's rows and the others' are dealt out alike.
    config = PPOConfig(sequence_length=4, num_minibatches=2, kl_target_lr=0.01, critic_learning_rate=1e-3)
    network = network_of(kind)
    learner = learner_of(network, config)
    learner.update(acted_kind(network, kind, lengths=LENGTHS))
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = learner.state_dict()
    learner.update(acted_kind(network, kind, lengths=LENGTHS, seed=1), kickstart_coef=0.1)

    other = network_of(kind, seed=5)
    resumed = learner_of(other, config, seed=77)
    other.load_state_dict(weights)
    resumed.load_state_dict(state)
    resumed.update(acted_kind(other, kind, lengths=LENGTHS, seed=1), kickstart_coef=0.1)
    assert weights_of(other) == weights_of(network)
    assert {name: tensor.numpy().tobytes() for name, tensor in resumed.state_dict().items()} == {
        name: tensor.numpy().tobytes() for name, tensor in learner.state_dict().items()
    }


@pytest.mark.parametrize("kind", ["parts", "clipped", "squashed", "gru", "gru_numbers", "frames", "shared"])
@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_the_first_minibatch_of_every_kind_starts_at_a_ratio_of_one(kind: str, ratio: float) -> None:
    network = network_of(kind)
    numbers = bool(network.distribution.name)
    batch = acted_kind(network, kind, lengths=LENGTHS, foreign=0.3, ratio=1.0 if numbers else ratio)
    update = learner_of(network, PLAIN).update(batch)
    assert 0.0 <= update.kl <= 5e-11 / ratio and update.clip_fraction == 0.0
    assert update.num_decisions == np.count_nonzero(batch.columns["kind"] == DECISION)


@pytest.mark.parametrize("kind", ["plain", "gru", "shared", "clipped"])
def test_a_warm_up_of_every_kind_moves_no_bit_of_the_policy(kind: str) -> None:
    network = network_of(kind)
    batch = acted_kind(network, kind, lengths=LENGTHS)
    before = {name: weight.detach().clone() for name, weight in network.policy_parameters.items()}
    learner = learner_of(network, PPOConfig(learning_rate=1e-2))
    first = learner.warm_up(batch)
    last = [learner.warm_up(batch) for _ in range(30)][-1]
    assert all(torch.equal(weight, before[name]) for name, weight in network.policy_parameters.items())
    assert last.value_loss < first.value_loss


def test_the_critic_has_a_rate_of_its_own() -> None:
    # Adam's first step is the rate: both biases move by theirs. A schedule changes the critic's in proportion.
    for planned, factor in ((None, 1.0), (5e-3, 0.5)):
        network = blank_network()
        config = dataclasses.replace(PLAIN, learning_rate=1e-2, critic_learning_rate=0.125, adam_eps=1e-12)
        learner_of(network, config).update(blended_pair(), learning_rate=planned)
        log_probs, values = network.act({"features": np.zeros((1, 1), np.float32)}, None)
        assert values[0] == pytest.approx(0.125 * factor, rel=1e-4)
        assert abs(log_probs[0, 0] - log_probs[0, 1]) == pytest.approx(2e-2 * factor, rel=1e-3)


def test_the_epsilon_of_adam_is_a_setting() -> None:
    # As of the test above of the first step, g = 1e-5: lr g / (g + ε) at ε = 3e-5 is a quarter of the rate.
    network = blank_network()
    batch = replaced(blended_pair(), np.array([True, True]), rewards=1.0, behavior_log_prob=math.log(0.5))
    config = dataclasses.replace(PLAIN, value_loss_coef=5e-6, learning_rate=1e-2, adam_eps=3e-5)
    learner_of(network, config).warm_up(batch)
    (value,) = network.act({"features": np.zeros((1, 1), np.float32)}, None)[1]
    assert value == pytest.approx(2.5e-3, rel=1e-3)


def test_an_entropy_coefficient_and_a_decay_hold_for_one_update() -> None:
    def run(config: PPOConfig, **settings: float) -> list[bytes]:
        network = spread_out(make_network())
        learner = learner_of(network, config)
        learner.update(acted_batch(network, lengths=LENGTHS), **settings)
        learner.update(acted_batch(network, lengths=LENGTHS))
        return weights_of(network)

    plain = PPOConfig(entropy_coef=0.0, gae_lambda=0.5)
    assert run(plain, entropy_coef=0.2) != run(plain) != run(plain, gae_lambda=0.9)
    assert run(plain, entropy_coef=0.0, gae_lambda=0.5) == run(plain)

    def once(config: PPOConfig, **settings: float) -> list[bytes]:
        network = spread_out(make_network())
        learner_of(network, config).update(acted_batch(network, lengths=LENGTHS), **settings)
        return weights_of(network)

    other = PPOConfig(entropy_coef=0.2, gae_lambda=0.9)
    assert once(plain, entropy_coef=0.2, gae_lambda=0.9) == once(other)
    with pytest.raises(ConfigError, match="`gae_lambda`"):
        once(plain, gae_lambda=1.5)
    with pytest.raises(ConfigError, match="`entropy_coef`"):
        once(plain, entropy_coef=-1.0)


def kl_rates(
    target: float, planned: list[float], *, adapts: bool = True
) -> tuple[list[float], PPOLearner, ActorCritic]:
    """The learning rates of updates whose schedule says `planned`."""
    network = spread_out(make_network())
    config = PPOConfig(learning_rate=1e-3, kl_target_lr=target)
    learner, rates = learner_of(network, config), []
    for number, rate in enumerate(planned):
        batch = acted_batch(network, lengths=LENGTHS, seed=number)
        update = learner.update(batch, learning_rate=rate) if adapts else learner.warm_up(batch, learning_rate=rate)
        rates.append(update.learning_rate)
    return rates, learner, network


def test_a_rate_rises_while_the_policy_hardly_moves_and_falls_while_it_moves_far() -> None:
    assert kl_rates(1e3, [1e-3] * 8)[0] == pytest.approx([1e-3 * 1.5**n for n in range(6)] + [1e-2, 1e-2])
    assert kl_rates(1e-12, [1e-3] * 4)[0] == pytest.approx([1e-3 / 1.5**n for n in range(4)])
    # A schedule goes on beneath, and a warm-up moves no policy.
    assert kl_rates(1e3, [1e-3, 5e-4, 5e-4])[0] == pytest.approx([1e-3, 7.5e-4, 1.125e-3])
    assert kl_rates(1e3, [1e-3] * 3, adapts=False)[0] == [1e-3] * 3


def test_what_the_divergence_made_of_a_rate_is_in_the_state() -> None:
    _, learner, network = kl_rates(1e3, [1e-3] * 3)
    state = learner.state_dict()
    assert state["kl_factor"].item() == pytest.approx(1.5**3)
    resumed = learner_of(network, PPOConfig(learning_rate=1e-3, kl_target_lr=1e3))
    resumed.load_state_dict(state)
    batch = acted_batch(network, lengths=LENGTHS)
    assert resumed.update(batch).learning_rate == pytest.approx(1e-3 * 1.5**3)
    with pytest.raises(ShapeError, match="the state of a learner must have `kl_factor`"):
        resumed.load_state_dict({name: tensor for name, tensor in state.items() if name != "kl_factor"})
    assert "kl_factor" not in learner_of(network, PPOConfig()).state_dict()


def test_a_state_that_does_not_fit_is_refused() -> None:
    network = make_network()
    learner = learner_of(network, PPOConfig())
    learner.update(acted_batch(network, lengths=LENGTHS))
    state = learner.state_dict()
    name = "optimizer.policy.0.weight.exp_avg"
    for wrong, message in (
        ({key: tensor for key, tensor in state.items() if key != "generator"}, "must have `generator`"),
        (state | {"optimizer.tail.step": torch.zeros(())}, r"unknown entries: \['tail.step'\]"),
        (state | {name: torch.zeros(2)}, r"`policy.0.weight.exp_avg` must be \(16, 11\), got \(2,\)"),
        ({key: tensor for key, tensor in state.items() if key != name}, r"must be \(16, 11\), got nothing"),
    ):
        with pytest.raises(ShapeError, match=message):
            learner.load_state_dict(wrong)


def corridor(network: ActorCritic, *, num_episodes: int, ratio: float, seed: int) -> TrajectoryBatch:
    """Three states in a row. Action 1 leads on, and pays 1 at the last; action 0 ends it. The script takes action 0."""
    rng = np.random.default_rng(seed)
    log_probs, _ = network.act({"features": np.eye(3, dtype=np.float32)}, None)
    lengths, rewards, states, actions = [], [], [], []
    for _ in range(num_episodes):
        state, alive = 0, True
        while alive:
            action = int(rng.random() < np.exp(log_probs[state, 1])) if rng.random() < ratio else 0
            states.append(state)
            actions.append(action)
            alive = action == 1 and state < 2
            rewards.append(float(action == 1 and state == 2))
            state += 1
        lengths.append(state)
    policy = np.exp(log_probs[states, actions].astype(np.float64))
    return batch_of(
        lengths=lengths,
        rewards=rewards,
        terminated=[True] * num_episodes,
        observations={"features": np.eye(3, dtype=np.float32)[states]},
        chosen_action=actions,
        policy_log_prob=np.log(policy),
        behavior_log_prob=np.log(ratio * policy + (1.0 - ratio) * (np.array(actions) == 0)),
    )


@pytest.mark.parametrize("ratio", [1.0, 0.6])
def test_it_learns_the_corridor_alone_and_beside_a_script_that_gives_up(ratio: float) -> None:
    network = make_network(shapes={"features": (3,)}, num_actions=2)
    learner = learner_of(network, PPOConfig(learning_rate=5e-3, discount=1.0, num_minibatches=2))
    for round_ in range(15):
        learner.update(corridor(network, num_episodes=100, ratio=ratio, seed=round_))
    log_probs, values = network.act({"features": np.eye(3, dtype=np.float32)}, None)
    assert (np.exp(log_probs[:, 1]) > 0.9).all()
    # The values are those of the policy alone, not of the blend (at ratio 0.6: 0.22, 0.36, 0.6).
    assert_allclose(values, np.exp(log_probs[:, 1])[::-1].cumprod()[::-1], atol=0.25)


def recalled(network: ActorCritic, *, num_episodes: int, seed: int) -> tuple[TrajectoryBatch, float]:
    """A hint is seen at the first of three ticks, and asked for at the last, where it pays 1; and the mean return."""
    rng = np.random.default_rng(seed)
    hints = rng.integers(2, size=num_episodes)
    seen = np.zeros((num_episodes, 3, 3), np.float32)
    seen[np.arange(num_episodes), 0, hints] = 1.0
    seen[:, 2, 2] = 1.0
    state = np.zeros((num_episodes, network.state_size), np.float32)
    states, params, chosen = [], [], []
    for tick in range(3):
        states.append(state)
        log_probs, _, state = network.act({"features": seen[:, tick]}, None, state)
        params.append(log_probs)
        chosen.append((log_probs + rng.gumbel(size=log_probs.shape)).argmax(axis=1))
    actions = np.stack(chosen, axis=1)
    log_prob = np.take_along_axis(np.stack(params, axis=1), actions[:, :, None], axis=2)[:, :, 0]
    rewards = np.zeros((num_episodes, 3))
    rewards[:, 2] = actions[:, 2] == hints
    batch = batch_of(
        lengths=[3] * num_episodes,
        rewards=rewards.ravel(),
        terminated=[True] * num_episodes,
        observations={"features": seen.reshape(-1, 3)},
        chosen_action=actions.ravel(),
        policy_log_prob=log_prob.ravel(),
        behavior_log_prob=log_prob.ravel(),
    )
    shape = ArraySpec("float32", (network.state_size,))
    schema = dataclasses.replace(batch.schema, decisions={**batch.schema.decisions, "policy_state": shape})
    remembered = np.stack(states, axis=1).reshape(-1, network.state_size)
    return dataclasses.replace(batch, schema=schema, columns={**batch.columns, "policy_state": remembered}), float(
        rewards.sum() / num_episodes
    )


@pytest.mark.parametrize("memory", ["gru", "frames"])
def test_a_memory_learns_what_the_last_observation_does_not_tell(memory: str) -> None:
    # Whoever does not remember gets one half. Fragments of all three rows; for frames single rows would do as well.
    settings = NetworkConfig(hidden_sizes=(16,), memory=memory, memory_size={"gru": 8, "frames": 3}[memory])  # type: ignore[arg-type]  # one of two words
    network = ActorCritic({"features": (3,)}, 2, settings, generator=torch.Generator().manual_seed(0))
    learner = learner_of(network, PPOConfig(learning_rate=1e-2, discount=1.0, num_minibatches=2))
    for round_ in range(40):
        learner.update(recalled(network, num_episodes=128, seed=round_)[0])
    assert recalled(network, num_episodes=500, seed=999)[1] > 0.9
