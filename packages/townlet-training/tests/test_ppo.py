"""The learner: that it learns, repeats itself, goes on from a state, and keeps the policy while it warms up."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from strategies import (
    DECISION,
    KINDS,
    LENGTHS,
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

from townlet_training.errors import (
    ConfigError,
    ShapeError,
)
from townlet_training.learning.ppo import PPOConfig
from townlet_training.network.actor_critic import ActorCritic
from townlet_trajectory import TrajectoryBatch


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
