"""The loss of a minibatch: gradients by finite differences, sequences by single steps, and what each row may move."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from acting import acted_kind
from hypothesis import given
from hypothesis import strategies as st
from kinds import KINDS, network_of
from numpy.testing import assert_allclose
from strategies import PLAIN, blank_network, blended_pair, learner_of, replaced
from torch import Tensor

from townlet_training.errors import NonFiniteError
from townlet_training.learning.batch import LearnerBatch, prepare
from townlet_training.learning.config import PPOConfig
from townlet_training.learning.loss import Objective, moved_by, value_slopes
from townlet_training.learning.minibatches import Minibatch, minibatches
from townlet_training.learning.objective import squared_value_error
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.memory import Fragments

LENGTHS = (7, 1, 12, 5)
CONFIG = PPOConfig(entropy_coef=0.05, value_clip=0.3, discount=0.9)


def doubled(kept: LearnerBatch) -> LearnerBatch:
    """The same numbers in double precision."""

    def wide(tensor: Tensor) -> Tensor:
        return tensor.double() if tensor.dtype == torch.float32 else tensor

    fragments = kept.fragments
    return dataclasses.replace(
        kept,
        inputs=wide(kept.inputs),
        scaled_values=wide(kept.scaled_values),
        scaled_targets=wide(kept.scaled_targets),
        fragments=None if fragments is None else Fragments(fragments.offsets, wide(fragments.states)),
        policy=kept.policy._replace(
            **{name: wide(column) for name, column in kept.policy._asdict().items() if column is not None}
        ),
    )


def prepared(network: ActorCritic, kind: str, *, length: int | None = None, **settings: float) -> LearnerBatch:
    acted = acted_kind(network, kind, lengths=LENGTHS, foreign=0.25, seed=3, **settings)
    return prepare(network, acted, discount=0.9, gae_lambda=0.8, min_ratio=0.1, sequence_length=length)


def one_minibatch(batch: LearnerBatch, *, of: int = 1, seed: int = 0) -> Minibatch:
    generator = torch.Generator().manual_seed(seed)
    return next(minibatches(batch, num_minibatches=of, num_epochs=1, generator=generator))


def total_of(network: ActorCritic, batch: LearnerBatch, minibatch: Minibatch, config: PPOConfig = CONFIG) -> Tensor:
    objective = Objective(network, batch, config=config, num_minibatches=2, kickstart_coef=0.3)
    return objective.terms(minibatch, critic_only=False).total_loss


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("running", "unnormalized", "uniform")])
def test_gradients_are_those_of_finite_differences(kind: str) -> None:
    # Central differences in double precision, along 12 directions at random; half a step away from where the network
    # acted, so that no ratio is 1, where the clipped surrogate has a kink.
    network = network_of(kind)
    batch = doubled(prepared(network, kind, length=4))
    network = network.double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.02 * torch.randn(weight.shape, generator=generator, dtype=weight.dtype))
    minibatch = one_minibatch(batch, of=2)
    loss = total_of(network, batch, minibatch)
    parameters = list(network.parameters())
    gradient = torch.autograd.grad(loss, parameters, allow_unused=True)
    assert sum(each is not None for each in gradient) > 4
    for _ in range(12):
        direction = [torch.randn(weight.shape, generator=generator, dtype=weight.dtype) for weight in parameters]
        expected = sum((g * d).sum().item() for g, d in zip(gradient, direction, strict=True) if g is not None)
        ends = []
        for step in (1e-6, -2e-6):
            with torch.no_grad():
                for weight, along in zip(parameters, direction, strict=True):
                    weight.add_(step * along)
                ends.append(total_of(network, batch, minibatch).item())
        with torch.no_grad():
            for weight, along in zip(parameters, direction, strict=True):
                weight.add_(1e-6 * along)
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(expected, rel=2e-4, abs=2e-6)


@pytest.mark.parametrize("kind", ["gru", "gru_shared", "gru_numbers", "frames", "central_gru", "seeing_gru_parts"])
@pytest.mark.parametrize("length", [None, 4])
def test_the_loss_of_sequences_is_that_of_single_steps(kind: str, length: int | None) -> None:
    # A twin goes through every fragment row by row, foreign rows too, with the state that the last row left behind.
    network = network_of(kind)
    batch = prepared(network, kind, length=length)
    minibatch = one_minibatch(batch)
    assert minibatch.fragments is not None and minibatch.valued is not None and minibatch.places is not None
    offsets, states = minibatch.fragments
    policy_features, critic_features = [], []
    for fragment in range(len(offsets) - 1):
        state = states[fragment : fragment + 1]
        for row in range(int(offsets[fragment]), int(offsets[fragment + 1])):
            here = batch.inputs[minibatch.rows[row] : minibatch.rows[row] + 1]
            features = network.body(here, Fragments(torch.tensor([0, 1]), state))
            assert features.states is not None
            state = features.states
            policy_features.append(features.policy)
            critic_features.append(features.critic)
    rows, config = minibatch.policy, PPOConfig(normalize_advantages=False, entropy_coef=0.05)
    params = network.params(torch.cat(policy_features)[minibatch.places], rows.action_mask)
    ratios = (network.distribution.log_prob(params, rows.actions) - rows.log_probs).exp()
    surrogate = torch.minimum(ratios * rows.advantages, ratios.clamp(0.8, 1.2) * rows.advantages)
    values = network.scaled_values(torch.cat(critic_features)[minibatch.valued])
    errors = (values - batch.scaled_targets[minibatch.rows[minibatch.valued]]).square()
    expected = (
        -(rows.weights * surrogate).sum() / batch.num_decisions
        + 0.5 * errors.mean()
        - 0.05 * network.distribution.entropy(params).mean()
    )
    objective = Objective(network, batch, config=config, num_minibatches=1, kickstart_coef=0.0)
    terms = objective.terms(minibatch, critic_only=False)
    assert terms.total_loss.item() == pytest.approx(expected.item(), rel=1e-6, abs=1e-6)
    parameters = list(network.parameters())
    ours, theirs = (torch.autograd.grad(loss, parameters, allow_unused=True) for loss in (terms.total_loss, expected))
    for own, twin in zip(ours, theirs, strict=True):
        if own is not None and twin is not None:
            assert torch.allclose(own, twin, rtol=1e-3, atol=1e-6)


def test_a_gradient_reaches_back_as_far_as_a_fragment() -> None:
    # Of the observation of the first row, the loss of the last one knows in one fragment of all, and not in fragments
    # of four.
    network = network_of("gru")
    for length, reaches in ((None, True), (4, False)):
        batch = prepared(network, "gru", length=length)
        inputs = batch.inputs.clone().requires_grad_()
        assert batch.fragments is not None
        features = network.body(inputs, batch.fragments)
        (slope,) = torch.autograd.grad(network.scaled_values(features.critic)[6], inputs)
        assert bool(slope[0].any()) == reaches and bool(slope[6].any()) and not bool(slope[7:].any())


@pytest.mark.parametrize("kind", ["plain", "shared", "gru", "gru_shared", "central_shared", "seeing"])
def test_a_critic_that_learns_alone_leaves_the_policy_alone(kind: str) -> None:
    network = network_of(kind)
    batch = prepared(network, kind)
    objective = Objective(network, batch, config=CONFIG, num_minibatches=1, kickstart_coef=0.3)
    terms = objective.terms(one_minibatch(batch), critic_only=True)
    terms.total_loss.backward()
    moved = {name for name, weight in network.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert moved and moved <= network.critic_parameters.keys()
    assert terms.policy_loss.item() == terms.kl.item() == terms.kickstart_loss.item() == 0.0


def test_advantages_are_normalized_in_each_minibatch_by_hand() -> None:
    # Â = 1 and 3, weights 2/3 and 2. In one minibatch they become -1 and 1; in one each both are their own mean.
    config = dataclasses.replace(PLAIN, normalize_advantages="minibatch", learning_rate=1e-30)
    assert learner_of(blank_network(), config).update(blended_pair()).policy_loss == pytest.approx(-2 / 3, rel=1e-6)
    singles = dataclasses.replace(config, num_minibatches=2)
    assert learner_of(blank_network(), singles).update(blended_pair()).policy_loss == pytest.approx(0.0, abs=1e-6)


def test_advantages_of_a_minibatch_that_are_too_large_are_refused() -> None:
    config = dataclasses.replace(PLAIN, normalize_advantages="minibatch")
    rich = replaced(blended_pair(), np.array([True, True]), rewards=3e38, behavior_log_prob=math.log(0.5))
    with pytest.raises(NonFiniteError, match="advantages: their mean is inf"):
        learner_of(blank_network(), config).update(rich)


@pytest.mark.parametrize("kind", ["plain", "parts", "clipped", "gru", "frames_shared"])
def test_how_far_an_update_moved_is_the_mean_over_all_decisions(kind: str) -> None:
    network = network_of(kind)
    batch = prepared(network, kind)
    assert moved_by(network, batch) == pytest.approx(0.0, abs=1e-9)
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(1.05)
    objective = Objective(network, batch, config=PLAIN, num_minibatches=1, kickstart_coef=0.0)
    terms = objective.terms(one_minibatch(batch), critic_only=False)
    assert moved_by(network, batch) == pytest.approx(terms.kl.item(), rel=1e-4) and terms.kl.item() > 1e-6


def test_slopes_of_values_by_hand() -> None:
    # Errors 2 and -1: mean (4 + 1) / 2; slopes c · 2 e / N = 0.5 · 2 · 2 / 2 = 1, and -1/2.
    outputs, targets = np.array([[3.0], [1.0]], np.float32), np.array([1.0, 2.0], np.float32)
    loss, slopes = value_slopes(outputs, targets, targets, value_clip=None, value_loss_coef=0.5)
    assert loss == 2.5 and slopes.tolist() == [[1.0], [-0.5]]
    # From 3.5 and 1 values may move by 1/4. The first is clipped to 3.25, whose error is the greater one: no slope.
    old = np.array([3.5, 1.0], np.float32)
    loss, slopes = value_slopes(outputs, targets, old, value_clip=0.25, value_loss_coef=0.5)
    assert loss == (2.25**2 + 1.0) / 2.0 and slopes.tolist() == [[0.0], [-0.5]]


@given(st.integers(1, 9), st.floats(0.01, 2.0), st.integers(0, 99))
def test_slopes_of_clipped_values_are_those_of_torch(num_rows: int, value_clip: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    outputs, targets, old = (rng.normal(size=(num_rows, 1)).astype(np.float32) for _ in range(3))
    values = torch.from_numpy(outputs[:, 0].copy()).requires_grad_()
    sides = torch.from_numpy(targets[:, 0]), torch.from_numpy(old[:, 0])
    expected = squared_value_error(values, *sides, value_clip=value_clip).mean()
    (slope,) = torch.autograd.grad(0.5 * expected, values)
    loss, slopes = value_slopes(outputs, targets[:, 0], old[:, 0], value_clip=value_clip, value_loss_coef=0.5)
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    assert_allclose(slopes[:, 0], slope.numpy(), rtol=1e-4, atol=1e-6)
