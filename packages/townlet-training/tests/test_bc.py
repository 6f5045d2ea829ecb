"""Behavior cloning: labels are learned."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from acting import acted_kind, without_memory_of_others
from kinds import network_of
from numpy.typing import NDArray
from strategies import batch_of, make_network

from townlet_training.errors import ConfigError, EmptyBatchError, NonFiniteError, ShapeError
from townlet_training.learning.bc import BCLearner, right_labels
from townlet_training.learning.config import BCConfig
from townlet_training.learning.labels import labels
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.config import MemoryKind, NetworkConfig
from townlet_training.network.gaussian import Gaussian
from townlet_trajectory import BatchSource, Box, StepBatch, TrajectoryBatch, TrajectoryDataset
from townlet_trajectory.data.pieces import split_every


def test_a_clone_of_the_mind_alone_knows_nothing_of_its_fallback() -> None:
    batch = separable(64, 1)
    fallback = dataclasses.replace(
        batch,
        schema=dataclasses.replace(batch.schema, proposers=("fallback", "mind")),
        columns={
            **batch.columns,
            "expert_action": np.where(np.arange(64) % 2, batch.columns["expert_action"], 0),
            "proposer": (np.arange(64) % 2).astype(np.int8),
        },
    )
    network = three_features()
    config = BCConfig(learning_rate=1e-2, num_epochs=30, batch_size=16, proposers=("mind",))
    result = BCLearner(network, config=config, generator=torch.Generator().manual_seed(0)).fit(fallback, fallback)
    assert result.num_labels == 32 and result.accuracy == 1.0


def separable(num_rows: int, seed: int, *, expert: NDArray[np.int64] | None = None) -> TrajectoryBatch:
    """The script takes the action whose feature is greatest."""
    features = np.random.default_rng(seed).normal(size=(num_rows, 3)).astype(np.float32)
    return batch_of(
        lengths=[num_rows],
        rewards=np.zeros(num_rows),
        terminated=[True],
        num_actions=3,
        observations={"features": features},
        expert_action=features.argmax(axis=1) if expert is None else expert,
    )


def learner_of(network: ActorCritic, *, seed: int = 0, **settings: float) -> BCLearner:
    config = BCConfig(**{"learning_rate": 1e-2, "num_epochs": 30, "batch_size": 16} | settings)  # type: ignore[arg-type]  # ints and floats by name
    return BCLearner(network, config=config, generator=torch.Generator().manual_seed(seed))


def three_features(seed: int = 0) -> ActorCritic:
    return make_network(shapes={"features": (3,)}, num_actions=3, seed=seed)


def test_a_separable_script_is_cloned_completely() -> None:
    network = three_features()
    seen = np.eye(3, dtype=np.float32)
    before = network.act({"features": seen}, None)[1]
    result = learner_of(network).fit(separable(256, 1), separable(64, 2))
    assert result.accuracy >= 0.98 and result.num_labels == 256 and result.num_held_out == 64
    log_probs, values = network.act({"features": seen}, None)
    assert log_probs.argmax(axis=1).tolist() == [0, 1, 2]
    assert values.tolist() == before.tolist()


def test_a_small_script_is_cloned_to_the_last_label() -> None:
    features = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)
    batch = batch_of(
        lengths=[12],
        rewards=np.zeros(12),
        terminated=[True],
        num_actions=3,
        observations={"features": features},
        expert_action=np.repeat([2, 0, 1], 4),
    )
    result = learner_of(three_features()).fit(batch, batch)
    assert result.accuracy == 1.0
    assert result.epochs[-1].loss < result.epochs[0].loss
    # Among epochs of equal accuracy the one of the least held-out loss is kept, which here is the last.
    assert result.epochs[-2].held_out_accuracy == 1.0 and result.best_epoch == len(result.epochs)


def test_the_first_loss_is_that_of_a_uniform_policy() -> None:
    # log 3, less what one epoch in one minibatch, measured before its step, could have learned: nothing.
    network = three_features()
    with torch.no_grad():
        for weight in network.policy.parameters():
            weight.zero_()
    result = learner_of(network, num_epochs=1, batch_size=1000).fit(separable(50, 1), separable(50, 2))
    assert result.epochs[0].loss == pytest.approx(math.log(3.0))
    assert [epoch.epoch for epoch in result.epochs] == [1]


def masked_pair() -> TrajectoryBatch:
    """Two labels of three actions, of which the mask forbids the last."""
    return batch_of(
        lengths=[2],
        rewards=[0, 0],
        terminated=[True],
        num_actions=3,
        observations={"features": np.zeros((2, 3), np.float32), "action_mask": np.array([[True, True, False]] * 2)},
        expert_action=[0, 1],
    )


def test_forbidden_actions_have_no_share_and_no_gradient() -> None:
    # Two legal actions of three, uniform: the loss is log 2, not log 3. The logits' gradient is (1/2 - 1, 1/2, 0) for
    # one label and (1/2, 1/2 - 1, 0) for the other, so that no bias moves; without the mask the third had 1/3.
    network = three_features()
    with torch.no_grad():
        for weight in network.policy.parameters():
            weight.zero_()
    result = learner_of(network, num_epochs=1, batch_size=2).fit(masked_pair(), masked_pair())
    assert result.epochs[0].loss == pytest.approx(math.log(2.0))
    assert list(network.policy.parameters())[-1].tolist() == pytest.approx([0.0, 0.0, 0.0], abs=1e-9)


def test_the_first_step_has_the_epsilon_of_adam() -> None:
    # π(1) = 1e-8 where the label is 0: the gradient of its bias is g = 1e-8, and Adam's first step lr g / (g + ε) is
    # half of the learning rate at ε = 1e-8.
    network = make_network(shapes={"features": (3,)}, num_actions=2)
    with torch.no_grad():
        for weight in network.policy.parameters():
            weight.zero_()
        list(network.policy.parameters())[-1][1] = math.log(1e-8)
    batch = batch_of(
        lengths=[2],
        rewards=[0, 0],
        terminated=[True],
        observations={"features": np.zeros((2, 3), np.float32)},
        expert_action=[0, 0],
    )
    learner_of(network, num_epochs=1).fit(batch, batch)
    moved = list(network.policy.parameters())[-1][1].item() - math.log(1e-8)
    assert moved == pytest.approx(-0.5 * 1e-2, rel=1e-3)


def test_the_most_likely_action_is_the_most_likely_legal_one() -> None:
    # The forbidden action has by far the greatest logit, and the labels are the most likely of the others.
    network = three_features()
    with torch.no_grad():
        for weight in network.policy.parameters():
            weight.zero_()
        list(network.policy.parameters())[-1].copy_(torch.tensor([1.0, 0.0, 50.0]))
    both = masked_pair()
    result = learner_of(network, num_epochs=1, learning_rate=1e-9).fit(both, both)
    assert result.accuracy == 0.5


def test_every_row_of_a_capture_without_proposals_is_a_demonstration() -> None:
    batch = separable(64, 1)
    classic = dataclasses.replace(
        batch,
        schema=dataclasses.replace(batch.schema, decisions={"action": batch.schema.decisions["action"]}),
        columns={"action": np.asarray(batch.columns["expert_action"])},
    )
    assert labels(classic).rows.tolist() == list(range(64))
    assert learner_of(three_features()).fit(classic, classic).accuracy > 0.9
    blended = dataclasses.replace(
        batch,
        schema=dataclasses.replace(
            batch.schema, decisions={name: batch.schema.decisions[name] for name in ("action", "expert_action")}
        ),
        columns={name: batch.columns[name] for name in ("action", "expert_action")},
    )
    with pytest.raises(ShapeError, match=r"needs the columns \['kind', 'demonstrated'\]"):
        labels(blended)


def test_a_label_outside_of_the_vocabulary_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"`label` must be in \[0, 3\), got 3 in row 2 \(agent 'a0', tick 2\)"):
        labels(separable(4, 1, expert=np.array([0, 1, 3, 2])))


def test_the_weights_of_the_best_epoch_are_kept() -> None:
    # The held-out script is the opposite of the one that is learned: the longer, the worse.
    train, held_out = separable(64, 1), separable(64, 2)
    opposite = separable(64, 2, expert=held_out.observations["features"].argmin(axis=1))
    network = three_features()
    result = learner_of(network, num_epochs=8).fit(train, opposite)
    accuracies = [epoch.held_out_accuracy for epoch in result.epochs]
    assert accuracies[-1] < max(accuracies) == result.accuracy == accuracies[result.best_epoch - 1]
    log_probs, _ = network.act({"features": np.asarray(opposite.observations["features"], np.float32)}, None)
    assert (log_probs.argmax(axis=1) == opposite.columns["expert_action"]).mean() == result.accuracy


def test_the_generator_decides_the_order() -> None:
    weights = []
    for seed in (5, 5, 6):
        network = three_features()
        learner_of(network, seed=seed, num_epochs=2).fit(separable(64, 1), separable(64, 2))
        weights.append(torch.cat([weight.flatten() for weight in network.parameters()]))
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_each_pass_has_an_order_of_its_own() -> None:
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    learner = BCLearner(three_features(), config=BCConfig(num_epochs=3), generator=generator)
    learner.fit(separable(8, 1), separable(8, 2))
    again = torch.Generator()
    again.set_state(before)
    for _ in range(3):
        torch.randperm(8, generator=again)
    assert torch.equal(generator.get_state(), again.get_state())


def test_weight_decay_shrinks_the_weights() -> None:
    norms = []
    for decay in (0.0, 1.0):
        network = three_features()
        learner_of(network, weight_decay=decay, num_epochs=5).fit(separable(64, 1), separable(64, 2))
        norms.append(sum(weight.square().sum().item() for weight in network.policy.parameters()))
    assert norms[1] < norms[0]


def test_a_batch_without_labels_is_refused() -> None:
    nothing = separable(4, 1, expert=np.full(4, -1))
    with pytest.raises(EmptyBatchError, match="`held_out` has no label in 4 rows"):
        learner_of(three_features()).fit(separable(4, 1), nothing)
    with pytest.raises(EmptyBatchError, match="`train` has no label in 4 rows"):
        learner_of(three_features()).fit(nothing, separable(4, 1))


def test_a_batch_of_another_vocabulary_is_refused() -> None:
    network = make_network(shapes={"features": (3,)}, num_actions=4)
    with pytest.raises(ShapeError, match="the network has 4 actions, the batch 3"):
        learner_of(network).fit(separable(4, 1), separable(4, 2))


def test_a_loss_that_is_not_finite_leaves_the_weights_alone() -> None:
    network = three_features()
    with torch.no_grad():
        next(network.policy.parameters())[0, 0] = torch.nan
    before = [weight.clone() for weight in network.parameters()]
    with pytest.raises(NonFiniteError, match="loss: it is nan; cloning, epoch 1 of 30, learning rate 0.01"):
        learner_of(network).fit(separable(4, 1), separable(4, 2))
    for weight, expected in zip(network.parameters(), before, strict=True):
        assert torch.equal(weight.nan_to_num(7.0), expected.nan_to_num(7.0))


@pytest.mark.parametrize(
    "wrong",
    [{"learning_rate": 0.0}, {"learning_rate": math.nan}, {"batch_size": 0}, {"num_epochs": 0}, {"weight_decay": -1.0}],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"`{next(iter(wrong))}` must be .*, got {next(iter(wrong.values()))}"):
        BCConfig(**wrong)  # type: ignore[arg-type]  # ints and floats by name


def single_steps(batch: TrajectoryBatch, order: NDArray[np.int64]) -> TrajectoryBatch:
    """The rows of `batch` as trajectories of one step each, in `order`."""
    return split_every(batch, 1).select(order)


@pytest.mark.parametrize("read", [1, 7, 500])
def test_streamed_labels_teach_what_those_in_memory_teach_in_the_same_order(read: int) -> None:
    # Labels of the rows in memory are drawn from the generator; the dataset hands them out in that very order.
    train, held_out = separable(257, 1, expert=np.random.default_rng(5).integers(-1, 3, 257)), separable(64, 2)
    found = labels(train)
    order = torch.randperm(len(found.rows), generator=torch.Generator().manual_seed(3)).numpy()
    rest = np.setdiff1d(np.arange(257), found.rows)
    in_memory, streamed = three_features(), three_features()
    expected = learner_of(in_memory, seed=3, num_epochs=1).fit(train, held_out)
    datasets = [
        TrajectoryDataset(BatchSource(each, rows_per_block=50), batch_size=read, seed=0, shuffle=False)
        for each in (single_steps(train, np.concatenate((found.rows[order], rest))), held_out)
    ]
    result = learner_of(streamed, num_epochs=1).fit(*datasets)
    assert result == expected
    for ours, theirs in zip(streamed.policy.parameters(), in_memory.policy.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_budget_changes_nothing_but_the_order() -> None:
    train, held_out = separable(600, 1), separable(64, 2)
    results = []
    for budget in (None, 200_000):
        datasets = [
            TrajectoryDataset(
                BatchSource(split_every(each, 10), rows_per_block=50),
                batch_size=32,
                seed=4,
                memory_budget_bytes=budget,
            )
            for each in (train, held_out)
        ]
        results.append(learner_of(three_features(), num_epochs=10).fit(*datasets))
    assert [(each.num_labels, each.num_held_out) for each in results] == [(600, 64)] * 2
    assert min(each.accuracy for each in results) > 0.95


def test_a_dataset_without_a_label_is_refused_before_anything_is_learned() -> None:
    batch = separable(20, 1)
    nothing = separable(20, 1, expert=np.full(20, -1))
    datasets = [TrajectoryDataset(BatchSource(each), batch_size=8, seed=0) for each in (batch, nothing)]
    with pytest.raises(EmptyBatchError, match="`held_out` has no label in 20 rows"):
        learner_of(three_features()).fit(*datasets)


def test_noise_on_the_inputs_keeps_a_label_from_deciding_about_what_lies_close_to_another() -> None:
    # Two labels at 0 and one at 0.05, which noise of deviation 1 cannot be told apart from them: without noise the
    # network learns each by heart, with it the more frequent one.
    features = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.05, 0.0, 0.0]], np.float32).repeat(8, axis=0)
    batch = batch_of(
        lengths=[24],
        rewards=np.zeros(24),
        terminated=[True],
        num_actions=3,
        observations={"features": features},
        expert_action=np.repeat([0, 0, 1], 8),
    )
    found = {}
    for noise in (0.0, 1.0):
        learner = learner_of(three_features(), learning_rate=3e-2, num_epochs=300, input_noise=noise)
        found[noise] = learner.fit(batch, batch).accuracy
    assert found == {0.0: 1.0, 1.0: pytest.approx(2 / 3)}


def demonstrations(kind: str, *, lengths: tuple[int, ...], seed: int = 0) -> TrajectoryBatch:
    """The label of every row follows from what is seen in it."""
    batch = acted_kind(network_of(kind), kind, lengths=lengths, seed=seed)
    seen = np.asarray(batch.observations["self"], np.float32)
    spec = batch.schema.actions
    if isinstance(spec, Box):
        expert = np.clip(np.tanh(seen[:, :2]), spec.low, spec.high).astype(np.float32)
    elif spec is None:
        expert = seen.argmax(axis=1)
    else:
        expert = np.stack([seen.argmax(axis=1), seen[:, 0] > 0.0], axis=1).astype(np.int64)
    observations = {name: array for name, array in batch.observations.items() if name != "action_mask"}
    return dataclasses.replace(
        batch,
        schema=dataclasses.replace(
            batch.schema,
            observations={name: batch.schema.observations[name] for name in observations},
        ),
        observations=observations,
        final_observations={name: batch.final_observations[name] for name in observations},
        columns={
            **batch.columns,
            "expert_action": expert,
            "proposer": np.zeros(batch.num_steps, np.int8),
            "kind": np.zeros(batch.num_steps, np.int8),
        },
    )


@pytest.mark.parametrize("kind", ["plain", "parts", "clipped", "squashed", "gru", "frames", "shared", "gru_numbers"])
def test_a_script_of_every_kind_of_action_is_cloned(kind: str) -> None:
    network = network_of(kind)
    critic = {name: weight.detach().clone() for name, weight in network.critic_parameters.items()}
    train, held_out = demonstrations(kind, lengths=(40,) * 12), demonstrations(kind, lengths=(40,) * 3, seed=50)
    result = learner_of(network, num_epochs=25).fit(train, held_out)
    assert result.num_labels == 480 and result.accuracy > 0.75
    assert result.epochs[-1].loss < result.epochs[0].loss - 0.3
    assert all(torch.equal(weight, critic[name]) for name, weight in network.critic_parameters.items())


def test_the_first_loss_of_numbers_is_the_density_of_the_labels() -> None:
    # Means 0 (the middles of the bounds), deviations of half a range: 1 and 2. Labels at the middles have the density
    # of both normal distributions at 0: log(2π) + log 2, in nats.
    network = network_of("clipped")
    with torch.no_grad():
        for weight in network.policy.parameters():
            weight.zero_()
        assert network.policy_log_std is not None
        network.policy_log_std.fill_(Gaussian.unbounded(0.0))
    batch = demonstrations("clipped", lengths=(6,))
    middles = np.tile(np.array([0.0, 2.0], np.float32), (6, 1))
    middle = dataclasses.replace(batch, columns={**batch.columns, "expert_action": middles})
    result = learner_of(network, num_epochs=1, batch_size=100).fit(middle, middle)
    assert result.epochs[0].loss == pytest.approx(math.log(2.0 * math.pi) + math.log(2.0), rel=1e-5)
    assert result.accuracy == 1.0


def hints(num_episodes: int, seed: int) -> TrajectoryBatch:
    """The label of the last of three rows was seen in the first; the rows before it have none."""
    rng = np.random.default_rng(seed)
    hinted = rng.integers(2, size=num_episodes)
    seen = np.zeros((num_episodes, 3, 3), np.float32)
    seen[np.arange(num_episodes), 0, hinted] = 1.0
    expert = np.full((num_episodes, 3), -1)
    expert[:, 2] = hinted
    return batch_of(
        lengths=[3] * num_episodes,
        rewards=np.zeros(3 * num_episodes),
        terminated=[True] * num_episodes,
        observations={"features": seen.reshape(-1, 3)},
        expert_action=expert.ravel(),
    )


@pytest.mark.parametrize(("memory", "size", "remembers"), [("gru", 8, True), ("frames", 3, True), ("frames", 2, False)])
def test_a_memory_is_cloned_through_rows_without_a_label(memory: MemoryKind, size: int, remembers: bool) -> None:
    # Two frames do not reach back to the first row; whoever does not remember gets one half.
    config = NetworkConfig(hidden_sizes=(16,), memory=memory, memory_size=size)
    network = ActorCritic({"features": (3,)}, 2, config, generator=torch.Generator().manual_seed(0))
    result = learner_of(network, num_epochs=40).fit(hints(64, 1), hints(64, 2))
    assert result.num_labels == result.num_held_out == 64
    assert (result.accuracy == 1.0) == remembers


def test_a_fragment_begins_with_the_state_to_which_the_network_has_come() -> None:
    # In fragments of one row no gradient reaches the hint; what the memory has by chance is handed on all the same.
    config = NetworkConfig(hidden_sizes=(32,), memory="gru", memory_size=16)
    results = {}
    for length in (1, 3):
        network = ActorCritic({"features": (3,)}, 2, config, generator=torch.Generator().manual_seed(0))
        settings = BCConfig(learning_rate=1e-2, num_epochs=20, batch_size=16, sequence_length=length)
        learner = BCLearner(network, config=settings, generator=torch.Generator().manual_seed(0))
        results[length] = learner.fit(hints(64, 1), hints(64, 2)).accuracy
    assert results[1] > 0.9 and results[3] == 1.0


@pytest.mark.parametrize("kind", ["gru", "frames"])
def test_a_memory_is_judged_by_what_it_would_do_row_by_row(kind: str) -> None:
    network = network_of(kind)
    train = without_memory_of_others(demonstrations(kind, lengths=(7, 1, 12)))
    result = learner_of(network, num_epochs=2).fit(train, train)
    hits = []
    for first, last in zip(train.offsets[:-1], train.offsets[1:], strict=True):
        state = np.zeros((1, network.state_size), np.float32)
        for row in range(first, last):
            seen = {name: np.asarray(train.observations[name][row : row + 1]) for name in network.input_shapes}
            log_probs, _, state = network.act(seen, None, state)
            hits.append(log_probs[0].argmax() == train.columns["expert_action"][row])
    assert result.accuracy == pytest.approx(np.mean(hits))


@pytest.mark.parametrize("kind", ["plain", "parts", "clipped", "squashed", "gru", "frames", "central", "seeing"])
def test_right_labels_are_the_actions_taken_without_drawing(kind: str) -> None:
    network = network_of(kind)
    batch = acted_kind(network, kind, lengths=(7, 1, 12))
    rows, is_right = right_labels(network, batch, BCConfig())
    assert rows.tolist() == labels(batch).rows.tolist() and len(is_right) == len(rows)
    # A script that says what the network does is right everywhere, and so is one that is 4 % of a range off.
    own = np.zeros_like(np.array(batch.columns["expert_action"]))
    for first, last in zip(batch.offsets[:-1], batch.offsets[1:], strict=True):
        state = np.array(batch.columns["policy_state"][first : first + 1]) if network.state_size else None
        for row in range(first, last):
            seen = {name: np.asarray(batch.observations[name][row : row + 1]) for name in network.input_shapes}
            mask = batch.observations.get("action_mask")
            legal = None if mask is None else np.asarray(mask[row : row + 1], np.bool_)
            if state is None:
                params, _ = network.act(seen, legal)
            else:
                params, _, state = network.act(seen, legal, state)
            own[row] = network.distribution.mode(torch.from_numpy(params))[0].numpy()
    ours = dataclasses.replace(batch, columns={**batch.columns, "expert_action": own})
    assert right_labels(network, ours, BCConfig())[1].all()
    spec = batch.schema.actions
    if isinstance(spec, Box):
        for share, agrees in ((0.04, True), (0.06, False)):
            inwards = np.where(own > np.mean([spec.low, spec.high], axis=0), -1.0, 1.0)
            off = (own + share * inwards * np.subtract(spec.high, spec.low)).astype(np.float32)
            other = dataclasses.replace(batch, columns={**batch.columns, "expert_action": off})
            assert (right_labels(network, other, BCConfig())[1] == agrees).all()


def test_a_memory_is_not_judged_by_single_steps() -> None:
    (steps,) = TrajectoryDataset(BatchSource(demonstrations("gru", lengths=(3,))), batch_size=4, seed=0).epoch(0)
    with pytest.raises(ConfigError, match="judged by whole trajectories, got single steps"):
        right_labels(network_of("gru"), steps, BCConfig())


def test_a_memory_does_not_learn_from_single_steps() -> None:
    batch = demonstrations("gru", lengths=(7, 5))
    dataset = TrajectoryDataset(BatchSource(batch), batch_size=4, seed=0)
    with pytest.raises(ConfigError, match="a network with memory clones whole trajectories, `train` is streamed"):
        learner_of(network_of("gru")).fit(dataset, batch)


def frequent_and_rare(num_rows: int) -> TrajectoryBatch:
    """Two states that look the same to the network: 9 labels of 10 are action 0, the others 1 and 2 in turn."""
    expert = np.zeros(num_rows, np.int64)
    expert[::20], expert[10::20] = 1, 2
    return batch_of(
        lengths=[num_rows],
        rewards=np.zeros(num_rows),
        terminated=[True],
        num_actions=3,
        observations={"features": np.ones((num_rows, 3), np.float32)},
        expert_action=expert,
    )


@pytest.mark.parametrize("streamed", [False, True])
def test_weights_of_classes_leave_the_shares_of_the_labels_as_they_are(streamed: bool) -> None:
    # 200 labels, 180, 10 and 10 of a class, weigh 200 / (3 · 180) and 200 / (3 · 10). The weighted fit finds a third
    # for each, and the policy 0.9, 0.05 and 0.05.
    batch = frequent_and_rare(200)
    network = three_features()
    config = BCConfig(learning_rate=2e-2, num_epochs=200, batch_size=200, class_weights="balanced")
    rows: TrajectoryBatch | TrajectoryDataset[StepBatch] = batch
    if streamed:
        rows = TrajectoryDataset(BatchSource(batch), batch_size=64, seed=0)
    learner = BCLearner(network, config=config, generator=torch.Generator().manual_seed(0))
    result = learner.fit(rows, batch)
    log_probs, _ = network.act({"features": np.ones((1, 3), np.float32)}, None)
    assert np.exp(log_probs[0]) == pytest.approx([0.9, 0.05, 0.05], abs=0.01)
    # The loss is that of the weighted fit: log 3, weights being 1 in the mean.
    assert result.epochs[-1].loss == pytest.approx(math.log(3.0), abs=0.01)


def test_weights_of_classes_count_each_part_for_itself() -> None:
    network = network_of("parts")
    batch = demonstrations("parts", lengths=(40,) * 10)
    config = BCConfig(learning_rate=1e-2, num_epochs=20, batch_size=32, class_weights="balanced")
    learner = BCLearner(network, config=config, generator=torch.Generator().manual_seed(0))
    assert learner.fit(batch, batch).accuracy > 0.85


def test_numbers_have_no_classes() -> None:
    config = BCConfig(class_weights="balanced")
    learner = BCLearner(network_of("clipped"), config=config, generator=torch.Generator().manual_seed(0))
    batch = demonstrations("clipped", lengths=(6,))
    with pytest.raises(ConfigError, match="`class_weights` are of choices, not of numbers, got balanced"):
        learner.fit(batch, batch)
