"""What an update looks at before it learns, and what it refuses."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from corridor import CLOCK, HORIZON, NUM_CELLS, SPEC, CorridorCollector, network
from strategies import (
    FORCED,
    FOREIGN,
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

from townlet_training.config import ONE_GROUP
from townlet_training.errors import (
    ActionMaskError,
    EmptyBatchError,
    NonFiniteError,
    ShapeError,
    StaleBatchError,
)
from townlet_training.learning.batch import freeze_statistics, prepare
from townlet_training.learning.ppo import PPOConfig
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.config import NetworkConfig
from townlet_trajectory import TrajectoryBatch


def saturated_network() -> ActorCritic:
    """Uniform over two actions; V = 2 + tanh(100 x) is 3 at x = 1, and 1 at x = -1."""
    network = make_network(shapes={"features": (1,)}, num_actions=2, hidden_sizes=(1,))
    with torch.no_grad():
        for weight in network.policy.parameters():
            weight.zero_()
        for weight, value in zip(network.critic.parameters(), (100.0, 0.0, 1.0, 2.0), strict=True):
            weight.fill_(value)
    return network


def test_values_are_in_reward_units_and_bootstrap_from_the_final_observation() -> None:
    # Cut off at x = -1, in units of 2: V = 2 · 3, V' = 2 · 1. Â = 5 + 0.5 · 2 - 6 = 0, v = 6 + 0. Where it terminated
    # there is no V': Â = 5 - 6 = -1, v = 5. The head says 3, the targets are 3 and 2.5 units: (0 + 0.5²) / 2.
    seen = np.array([[1.0], [1.0]], np.float32)
    batch = batch_of(
        lengths=[1, 1],
        rewards=[5.0, 5.0],
        terminated=[False, True],
        observations={"features": seen},
        final_observations={"features": -seen},
        policy_log_prob=[math.log(0.5)] * 2,
        behavior_log_prob=[math.log(0.5)] * 2,
    )
    network = saturated_network()
    network.set_value_scale(2.0)
    learnable = prepare(network, batch, discount=0.5, gae_lambda=0.9, min_ratio=0.1)
    assert learnable.policy.advantages.tolist() == pytest.approx([0.0, -1.0])
    assert learnable.scaled_values.tolist() == pytest.approx([3.0, 3.0])
    assert learnable.scaled_targets.tolist() == pytest.approx([3.0, 2.5])
    assert learner_of(network, PLAIN).warm_up(batch).value_loss == pytest.approx(0.125)


def test_explained_variance_by_hand() -> None:
    # V is 3 and 1, the targets are 6 and 2: errors 3 and 1, 1 - Var(3, 1) / Var(6, 2) = 1 - 1/4.
    batch = batch_of(
        lengths=[1, 1],
        rewards=[6.0, 2.0],
        terminated=[True, True],
        observations={"features": np.array([[1.0], [-1.0]], np.float32)},
        policy_log_prob=[math.log(0.5)] * 2,
        behavior_log_prob=[math.log(0.5)] * 2,
    )
    assert learner_of(saturated_network(), PLAIN).update(batch).explained_variance == pytest.approx(0.75)


def test_equal_targets_leave_nothing_to_explain() -> None:
    level = replaced(blended_pair(), np.array([True, True]), rewards=3.0, behavior_log_prob=math.log(0.5))
    assert learner_of(blank_network(), PLAIN).update(level).explained_variance is None


def test_correlation_needs_two_rows() -> None:
    batch = replaced(blended_pair(), np.array([False, True]), kind=FORCED)
    assert learner_of(blank_network(), PLAIN).update(batch).reward_advantage_corr is None


def test_a_batch_of_another_policy_is_refused_and_its_worst_row_named() -> None:
    network = spread_out(make_network())
    batch = acted_batch(network, lengths=LENGTHS)
    recorded = batch.columns["policy_log_prob"].copy()
    recorded[3] += 1e-3
    recorded[9] += 1e-2
    before = weights_of(network)
    stale = replaced(batch, np.full(sum(LENGTHS), True), policy_log_prob=recorded)
    with pytest.raises(StaleBatchError, match=r"row 9 \(agent 'a2', tick 21\): recorded `policy_log_prob`"):
        learner_of(network, PPOConfig()).update(stale)
    with pytest.raises(StaleBatchError, match="another network collected this batch"):
        learner_of(spread_out(make_network(), seed=2), PPOConfig()).warm_up(batch)
    assert weights_of(network) == before


@pytest.mark.parametrize("recorded", [math.nan, -np.inf])
def test_a_recorded_log_prob_that_cannot_be_is_refused(recorded: float) -> None:
    with pytest.raises(StaleBatchError, match="row 1 "):
        learner_of(blank_network(), PPOConfig()).update(
            replaced(blended_pair(), np.array([False, True]), policy_log_prob=recorded)
        )


def test_the_tolerance_of_recorded_log_probs() -> None:
    # |log π| = log 2: 1e-5 (1 + log 2) = 1.69e-5.
    for shift, refused in ((1.6e-5, False), (1.8e-5, True), (-1.6e-5, False), (-1.8e-5, True)):
        batch = replaced(blended_pair(), np.array([True, False]), policy_log_prob=math.log(0.5) + shift)
        learner = learner_of(blank_network(), PLAIN)
        if refused:
            with pytest.raises(StaleBatchError, match="row 0 "):
                learner.update(batch)
        else:
            learner.update(batch)


def test_a_batch_of_foreign_rows_is_refused() -> None:
    batch = acted_batch(make_network(), lengths=(3,), kind=np.full(3, FOREIGN, np.int8))
    with pytest.raises(EmptyBatchError, match="all 3 rows are foreign"):
        learner_of(make_network(), PPOConfig()).update(batch)


def test_a_batch_of_another_vocabulary_is_refused() -> None:
    batch = acted_batch(make_network(num_actions=4), lengths=(3,))
    with pytest.raises(ShapeError, match="the network has 5 actions, the batch 4"):
        learner_of(make_network(num_actions=5), PPOConfig()).update(batch)


def test_a_decision_without_a_legal_action_is_refused() -> None:
    network = make_network()
    batch = acted_batch(network, lengths=(3,), masked=True)
    mask = np.array(batch.observations["action_mask"])
    mask[1] = False
    batch = dataclasses.replace(batch, observations={**batch.observations, "action_mask": mask})
    with pytest.raises(ActionMaskError, match="no legal action in row 1"):
        learner_of(network, PPOConfig()).update(batch)


@pytest.mark.parametrize(
    ("reward", "scale", "stage"), [(1e30, 1.0, "loss"), (3e38, 1e-3, "value targets"), (1e16, 1.0, "gradient")]
)
def test_numbers_that_grow_beyond_float32_are_refused(reward: float, scale: float, stage: str) -> None:
    network = blank_network()
    network.set_value_scale(scale)
    before = weights_of(network)
    batch = replaced(blended_pair(), np.array([True, True]), rewards=reward)
    config = dataclasses.replace(PLAIN, value_loss_coef=1e5) if stage == "gradient" else PLAIN
    with pytest.raises(NonFiniteError) as caught:
        learner_of(network, config).update(batch)
    assert caught.value.stage == stage
    assert weights_of(network) == before


def test_the_error_names_the_largest_inputs() -> None:
    # r = -1e38 for agent a1 at tick 10: Â = -1e38; v = ρ r = 2 · -1e38 = -2e38, in units of 4: (5e37)² is infinite.
    network = blank_network()
    network.set_value_scale(4.0)
    before = weights_of(network)
    batch = replaced(blended_pair(), np.array([False, True]), rewards=-1e38)
    origin = (
        r"the largest reward is -1e\+38 \(agent 'a1', tick 10\), the largest advantage -1e\+38, "
        r"the largest value target -2e\+38, the value scale 4"
    )
    with pytest.raises(NonFiniteError, match="^loss: it is inf; " + origin):
        learner_of(network, PLAIN).update(batch)
    # The sum of two advantages of -3e38 is beyond float32.
    both = replaced(batch, np.array([True, True]), rewards=-3e38)
    with pytest.raises(NonFiniteError, match="^advantages: their mean is -inf; the largest reward is -3e\\+38"):
        learner_of(network, dataclasses.replace(PLAIN, normalize_advantages=True)).update(both)
    assert weights_of(network) == before


def test_a_batch_that_lacks_columns_is_refused_by_name() -> None:
    # As a classic capture: actions, and log-probabilities under a name of its own.
    batch = blended_pair()
    classic = dataclasses.replace(
        batch,
        schema=dataclasses.replace(batch.schema, decisions={"action": batch.schema.decisions["action"]}),
        columns={"action": batch.columns["action"]},
    )
    with pytest.raises(ShapeError, match=r"needs the columns \['kind', .* 'behavior_log_prob'\], .* has \['action'\]"):
        learner_of(blank_network(), PLAIN).update(classic)


@pytest.mark.parametrize(("name", "action"), [("chosen_action", 2), ("chosen_action", -1), ("expert_action", 2)])
def test_an_action_outside_of_the_vocabulary_is_refused(name: str, action: int) -> None:
    batch = replaced(blended_pair(), np.array([False, True]), **{name: action})
    with pytest.raises(ShapeError, match=rf"`{name}` must be in \[0, 2\), got {action} in row 1 \(agent 'a1', tick 10"):
        learner_of(blank_network(), PLAIN).update(batch)


@pytest.mark.parametrize(("trunk", "stage"), [("policy", "log-probabilities"), ("critic", "values")])
def test_weights_that_are_not_finite_are_refused(trunk: str, stage: str) -> None:
    network = blank_network()
    with torch.no_grad():
        next(network.get_submodule(trunk).parameters()).fill_(math.nan)
    with pytest.raises(NonFiniteError, match=stage):
        learner_of(network, PPOConfig()).update(blended_pair())


def test_a_forbidden_action_hides_no_nan() -> None:
    network = blank_network()
    batch = dataclasses.replace(
        acted_batch(network, lengths=(3,), masked=True),
        observations={
            "features": np.zeros((3, 1), np.float32),
            "action_mask": np.array([[True, False]] * 3),
        },
    )
    with torch.no_grad():
        list(network.policy.parameters())[-1][1] = math.nan
    with pytest.raises(NonFiniteError, match="log-probabilities: row 0 of 3 is not finite"):
        learner_of(network, PLAIN).update(replaced(batch, np.full(3, True), chosen_action=0, policy_log_prob=0.0))


def scripted_batch(num_worlds: int, num_ticks: int) -> TrajectoryBatch:
    return CorridorCollector(num_worlds, seed=3).collect(None, num_ticks=num_ticks, ratio=0.0).batches[ONE_GROUP]


def test_statistics_are_those_of_the_batch() -> None:
    own = network()
    batch = scripted_batch(4, HORIZON)
    freeze_statistics(own, batch, discount=1.0)
    inputs = np.concatenate([batch.observations[name] for name in sorted(SPEC.observation_shapes)], axis=1)
    np.testing.assert_allclose(own.observation_mean.numpy(), inputs.mean(axis=0), atol=1e-6)
    to_go = np.concatenate([rewards[::-1].cumsum()[::-1] for rewards in np.split(batch.rewards, batch.offsets[1:-1])])
    assert own.value_scale.item() == pytest.approx(np.sqrt(np.mean(to_go**2)), rel=1e-5)


def test_numbers_stay_as_they_come_where_the_network_says_so() -> None:
    config = NetworkConfig(hidden_sizes=(8,), normalize_observations="none", value_scale="none")
    own = network(config=config)
    freeze_statistics(own, scripted_batch(4, HORIZON), discount=1.0)
    assert own.value_scale.item() == 1.0
    large = {"cell": torch.full((1, NUM_CELLS), 30.0), "clock": torch.full((1, CLOCK), -0.25)}
    # Not shifted, not scaled, and not clipped to 10 either.
    np.testing.assert_array_equal(own.encode(large).numpy(), [[30.0] * NUM_CELLS + [-0.25] * CLOCK])
