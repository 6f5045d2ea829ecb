"""What an update looks at before it learns, and what it refuses."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from acting import acted_kind
from corridor import CLOCK, HORIZON, NUM_CELLS, SPEC, CorridorCollector, network
from kinds import network_of
from numpy.testing import assert_allclose
from numpy.typing import NDArray
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
from townlet_training.learning.batch import LearnerBatch, freeze_statistics, prepare
from townlet_training.learning.ppo import PPOConfig
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.config import NetworkConfig
from townlet_trajectory import Box, TrajectoryBatch, TrajectorySchema, default_decision_columns


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


REMEMBERING = ["gru", "gru_shared", "frames", "central_gru", "seeing_central_gru"]


def stepped_values(network: ActorCritic, batch: TrajectoryBatch) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """V of every row, and of every final observation, by acting tick after tick from the first recorded states."""
    values, final = np.zeros(batch.num_steps), np.zeros(len(batch))
    for number, (first, last) in enumerate(zip(batch.offsets[:-1], batch.offsets[1:], strict=True)):
        state = np.array(batch.columns["policy_state"][first : first + 1], np.float32)
        for row in range(first, last):
            seen = {name: np.asarray(batch.observations[name][row : row + 1]) for name in network.input_shapes}
            _, value, state = network.act(seen, None, state)
            values[row] = value[0]
        seen = {name: np.asarray(batch.final_observations[name][number : number + 1]) for name in network.input_shapes}
        final[number] = network.act(seen, None, state)[1][0]
    return values, final


@pytest.mark.parametrize("kind", REMEMBERING)
@pytest.mark.parametrize("length", [None, 4])
def test_values_of_a_memory_bootstrap_from_the_state_after_the_last_row(kind: str, length: int | None) -> None:
    # With λ = 0 and μ = π the target is r + γ V', V' that of the next row, foreign or not; at the end of a trajectory
    # that of the final observation, with the memory of all its rows.
    network = network_of(kind)
    batch = acted_kind(network, kind, lengths=LENGTHS, terminated=[False, True, False, False])
    learnable = prepare(network, batch, discount=0.5, gae_lambda=0.0, min_ratio=0.1, sequence_length=length)
    values, final = stepped_values(network, batch)
    following = np.append(values[1:], 0.0)
    following[batch.offsets[1:] - 1] = np.where(batch.terminated, 0.0, final)
    scale = network.value_scale.item()
    assert_allclose(learnable.scaled_values.numpy() * scale, values, rtol=1e-5, atol=1e-5)
    expected = np.asarray(batch.rewards, np.float64) + 0.5 * following
    assert_allclose(learnable.scaled_targets.numpy() * scale, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", REMEMBERING)
def test_foreign_rows_step_a_memory_on_and_teach_nothing(kind: str) -> None:
    network = network_of(kind)
    batch = acted_kind(network, kind, lengths=(6,), foreign=0.0)
    foreign = replaced(batch, np.arange(6) == 2, kind=FOREIGN)

    def prepared(seen: TrajectoryBatch) -> LearnerBatch:
        return prepare(network, seen, discount=0.5, gae_lambda=0.0, min_ratio=0.1)

    learnable = prepared(foreign)
    assert learnable.policy.position.tolist() == [0, 1, 3, 4, 5] and learnable.num_valued == 5
    assert learnable.is_valued.tolist() == [True, True, False, True, True, True]
    # What was seen at the foreign row is in the memory of the rows after it.
    name = next(iter(network.observation_shapes))
    changed = np.array(foreign.observations[name])
    changed[2] += 1.0
    other = dataclasses.replace(foreign, observations={**foreign.observations, name: changed})
    with pytest.raises(StaleBatchError, match=r"row [345] "):
        prepared(other)


@pytest.mark.parametrize("kind", ["gru", "frames"])
def test_a_memory_that_was_recorded_wrong_makes_a_batch_stale(kind: str) -> None:
    network = network_of(kind)
    batch = acted_kind(network, kind, lengths=(6,))
    wrong = np.array(batch.columns["policy_state"])
    wrong[3] += 0.5
    columns = {**batch.columns, "policy_state": wrong}
    with pytest.raises(StaleBatchError, match=r"row [345] "):
        learner_of(network, PPOConfig(sequence_length=3)).update(dataclasses.replace(batch, columns=columns))


@pytest.mark.parametrize("kind", ["parts", "clipped", "squashed"])
def test_labels_and_weights_of_every_kind_of_action(kind: str) -> None:
    network = network_of(kind)
    batch = acted_kind(network, kind, lengths=LENGTHS, ratio=0.5 if kind == "parts" else 1.0)
    rows = prepare(network, batch, discount=0.5, gae_lambda=0.0, min_ratio=0.1).policy
    decided = rows.position.numpy()
    mask = batch.observations.get("action_mask")
    proposed = np.asarray(batch.columns["proposer"])[decided] == 0
    expert = np.asarray(batch.columns["expert_action"])[decided]
    if mask is not None:
        proposed &= mask[decided, expert[:, 0]] & mask[decided, 3 + expert[:, 1]]
    chosen = np.asarray(batch.columns["chosen_action"])[decided]
    assert rows.labelled.tolist() == proposed.tolist() and 0 < proposed.sum() < len(decided)
    assert rows.labels.tolist() == np.where(proposed[:, None], expert, chosen).tolist()
    assert rows.actions.tolist() == chosen.tolist()
    policy, behavior = (np.asarray(batch.columns[f"{who}_log_prob"], np.float64) for who in ("policy", "behavior"))
    assert_allclose(rows.weights.numpy(), np.exp(policy - behavior)[decided], rtol=1e-5)
    assert rows.weights.numpy().max() <= 2.0 + 1e-5


def test_a_part_that_the_mask_forbids_is_selected_out_and_an_unlikely_whole_is_not() -> None:
    # Of two parts the logarithm of a probability may be -100 and possible; where a part is forbidden it is not.
    network = network_of("parts")
    batch = acted_kind(network, "parts", lengths=(4,))
    with torch.no_grad():
        for weight in network.policy.parameters():
            weight.zero_()
        list(network.policy.parameters())[-1].copy_(torch.tensor([0.0, -60.0, 0.0, 0.0, -50.0]))
    mask = np.ones((4, 5), np.bool_)
    mask[0, 2] = False
    chosen = np.array([[2, 0], [1, 1], [0, 0], [0, 0]])
    seen = dataclasses.replace(batch, observations={**batch.observations, "action_mask": mask})
    log_probs = [-3.4e38, -60.0 - 50.0 - math.log(2.0), -math.log(2.0), -math.log(2.0)]
    acted = replaced(seen, np.full(4, True), chosen_action=chosen, policy_log_prob=log_probs, behavior_log_prob=-1.0)
    learnable = prepare(network, acted, discount=0.5, gae_lambda=0.0, min_ratio=0.1)
    assert learnable.policy.position.tolist() == [1, 2, 3] and learnable.num_decisions == 4


def test_a_density_has_no_logarithm_that_means_impossible() -> None:
    # 1e9 wide, six numbers: log N is about -6 · 20 - 6, below the logarithm of the smallest float32.
    bounds = Box(names=tuple("abcdef"), low=(-1e9,) * 6, high=(1e9,) * 6)
    spec = dataclasses.replace(SPEC, vocabulary=(), actions=bounds, distribution="clipped")
    wide = ActorCritic.of(spec, NetworkConfig(hidden_sizes=(4,)), generator=torch.Generator().manual_seed(0))
    seen = {name: np.zeros((2, *shape), np.float32) for name, shape in SPEC.observation_shapes.items()}
    params, _ = wide.act(seen, None)
    actions = torch.tensor([[2e9] * 6, [0.0] * 6])
    log_prob = wide.distribution.log_prob(torch.from_numpy(params), actions).numpy()
    assert (log_prob < -120.0).all()
    columns = default_decision_columns(bounds)
    values = {name: np.zeros((2, *spec.shape), spec.numpy_dtype) for name, spec in columns.items()}
    values |= {"chosen_action": actions.numpy(), "policy_log_prob": log_prob, "behavior_log_prob": log_prob}
    template = batch_of(lengths=[1, 1], rewards=[1, 2], terminated=[True] * 2, observations={**seen})
    schema = TrajectorySchema(
        observations=template.schema.observations, decisions=columns, vocabulary=(), actions=bounds
    )
    batch = dataclasses.replace(template, schema=schema, columns=values)
    assert prepare(wide, batch, discount=0.5, gae_lambda=0.0, min_ratio=0.1).policy.position.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("kind", "other", "expected"),
    [
        ("plain", "parts", r"the network has 5 actions, the batch 3"),
        ("parts", "plain", r"the network's parts have the sizes None, those of the batch \(3, 2\)"),
        ("clipped", "plain", r"bounds None, those of the batch \[\[-1.0, 0.0\], \[1.0, 4.0\]\]"),
    ],
)
def test_a_batch_of_other_actions_is_refused(kind: str, other: str, expected: str) -> None:
    batch = acted_kind(network_of(kind), kind, lengths=(4,))
    with pytest.raises(ShapeError, match=expected):
        learner_of(network_of(other), PPOConfig()).update(batch)
