"""The gradient of the loss: by its equations, and as torch finds it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from acting import acted_kind
from adapting import adapted
from hypothesis import given, settings
from hypothesis import strategies as st
from kinds import KINDS, PLAIN, network_of
from numpy.testing import assert_allclose
from strategies import acted_batch, blank_network, blended_pair, make_network, replaced, spread_out
from torch import Tensor

from townlet_training.learning.batch import LearnerBatch, prepare
from townlet_training.learning.config import AdvantageNormalization, PPOConfig
from townlet_training.learning.descent import (
    Autograd,
    ClosedForm,
    Decisions,
    Descent,
    cross_entropy_slopes,
    descent_of,
    discrete_slopes,
)
from townlet_training.learning.loss import Objective, Terms
from townlet_training.learning.minibatches import minibatches
from townlet_training.learning.optimizer import Optimizer
from townlet_training.network.actor_critic import ActorCritic

LENGTHS = (7, 1, 12, 5)
Passes = list[tuple[Terms[float], Mapping[str, Tensor]]]


def evaluated(network: ActorCritic, batch: LearnerBatch) -> LearnerBatch:
    """`batch`, after whose evaluation the weights went a little way on, so that ratios are not 1."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
    return batch


def optimizer_of(network: ActorCritic) -> Optimizer:
    return Optimizer(dict(network.named_parameters()), learning_rate=1e-3, eps=1e-5)


def passes(way: type[Autograd] | type[ClosedForm], objective: Objective, *, critic_only: bool = False) -> Passes:
    """Terms and gradients of two minibatches; no step is taken."""
    optimizer = optimizer_of(objective.network)
    descent: Descent = way(objective, optimizer)
    found: Passes = []
    generator = torch.Generator().manual_seed(0)
    for minibatch in minibatches(objective.batch, num_minibatches=2, num_epochs=1, generator=generator):
        terms = descent.evaluate(minibatch, critic_only=critic_only)
        moved = descent.differentiate()
        found.append((terms, {name: optimizer.gradients[name].clone() for name in sorted(moved)}))
    return found


def assert_same(objective: Objective, *, critic_only: bool = False) -> None:
    """Terms and gradients by the equations are those of torch, and so is what has a gradient."""
    ways = (passes(way, objective, critic_only=critic_only) for way in (ClosedForm, Autograd))
    for (terms, gradients), (expected_terms, expected) in zip(*ways, strict=True):
        assert_allclose(terms, expected_terms, rtol=1e-4, atol=1e-5)
        assert gradients.keys() == expected.keys()
        for name, gradient in gradients.items():
            size = max(float(expected[name].abs().max()), 1e-2)
            assert_allclose(gradient.numpy(), expected[name].numpy(), atol=1e-4 * size, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("critic_only", [False, True])
def test_gradients_of_every_kind_of_network_are_those_of_torch(kind: str, critic_only: bool) -> None:
    network = network_of(kind)
    acted = acted_kind(network, kind, lengths=LENGTHS, foreign=0.25, seed=3)
    batch = prepare(network, acted, discount=0.9, gae_lambda=0.8, min_ratio=0.1, sequence_length=4)
    objective = Objective(
        network,
        evaluated(network, batch),
        config=PPOConfig(entropy_coef=0.05, value_clip=0.3, clip_range=0.05),
        num_minibatches=2,
        kickstart_coef=0.3,
    )
    assert_same(objective, critic_only=critic_only)


@given(
    num_actions=st.integers(1, 5),
    hidden_sizes=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    masked=st.booleans(),
    ratio=st.sampled_from([1.0, 0.4]),
    clip_range=st.floats(0.01, 0.5),
    entropy_coef=st.floats(0.0, 0.5),
    kickstart_coef=st.sampled_from([0.0, 0.7]),
    value_clip=st.sampled_from([None, 0.01, 0.5]),
    normalization=st.sampled_from(["batch", "minibatch", "none"]),
    seed=st.integers(0, 99),
)
@settings(max_examples=30)
def test_gradients_of_every_setting_are_those_of_torch(
    num_actions: int,
    hidden_sizes: list[int],
    masked: bool,
    ratio: float,
    clip_range: float,
    entropy_coef: float,
    kickstart_coef: float,
    value_clip: float | None,
    normalization: AdvantageNormalization,
    seed: int,
) -> None:
    network = spread_out(make_network(num_actions=num_actions, hidden_sizes=tuple(hidden_sizes), seed=seed))
    acted = acted_batch(network, lengths=LENGTHS, masked=masked, ratio=ratio, seed=seed)
    batch = prepare(network, acted, discount=0.9, gae_lambda=0.8, min_ratio=0.1)
    config = PPOConfig(
        clip_range=clip_range,
        entropy_coef=entropy_coef,
        value_clip=value_clip,
        normalize_advantages=normalization,
    )
    objective = Objective(
        network, evaluated(network, batch), config=config, num_minibatches=2, kickstart_coef=kickstart_coef
    )
    assert_same(objective)


def test_a_plain_network_is_differentiated_by_its_equations_and_an_adapted_one_by_torch() -> None:
    plain = network_of("plain")
    wider = replace(PLAIN, vocabulary=(*PLAIN.vocabulary, "sleep"))
    for network, way in ((plain, ClosedForm), (adapted(plain, PLAIN, wider)[0], Autograd)):
        batch = prepare(network, acted_batch(network, lengths=LENGTHS), discount=0.9, gae_lambda=0.8, min_ratio=0.1)
        objective = Objective(network, batch, config=PPOConfig(), num_minibatches=1, kickstart_coef=0.0)
        assert type(descent_of(objective, optimizer_of(network))) is way


def test_slopes_of_decisions_by_hand() -> None:
    # Two uniform actions, r = 1, D = 2. Of the first row w Â = 2/3, g = -1/3: chosen is 0, so the slopes are
    # g (1 - 1/2) and -g/2. Of the second w Â = 6, g = -3, chosen is 1. Entropy has no slope where it is largest.
    network = blank_network()
    batch = prepare(network, blended_pair(), discount=0.5, gae_lambda=0.0, min_ratio=0.1)
    config = PPOConfig(normalize_advantages=False, entropy_coef=0.1)
    objective = Objective(network, batch, config=config, num_minibatches=1, kickstart_coef=0.0)
    terms, slopes = discrete_slopes(objective, np.zeros((2, 2), np.float32), Decisions.of(objective))
    assert terms.policy_loss == pytest.approx(-10 / 3, rel=1e-6) and terms.kl == terms.clip_fraction == 0.0
    assert terms.entropy == pytest.approx(math.log(2.0)) and terms.kickstart_loss == pytest.approx(math.log(2.0))
    assert_allclose(slopes, [[-1 / 6, 1 / 6], [3 / 2, -3 / 2]], rtol=1e-6)
    # The label is action 0 in both rows, L = 2: k = -κ/2, slopes k/2 and -k/2 more.
    pulled = Objective(network, batch, config=config, num_minibatches=1, kickstart_coef=4.0)
    _, more = discrete_slopes(pulled, np.zeros((2, 2), np.float32), Decisions.of(pulled))
    assert_allclose(more - slopes, [[-1.0, 1.0], [-1.0, 1.0]], rtol=1e-6)


def test_a_gain_beyond_the_clip_has_no_slope_and_a_loss_has() -> None:
    # The first of two logits rises by 1: r = 1.46 of action 0, 0.54 of action 1, beyond 1 ± 0.2 both.
    network = blank_network()
    for rewards, held in (([1.0, 1.0], [True, False]), ([-1.0, -1.0], [False, True])):
        acted = replaced(blended_pair(), np.array([True, True]), rewards=rewards)
        batch = prepare(network, acted, discount=0.5, gae_lambda=0.0, min_ratio=0.1)
        config = PPOConfig(normalize_advantages=False, entropy_coef=0.0)
        objective = Objective(network, batch, config=config, num_minibatches=1, kickstart_coef=0.0)
        terms, slopes = discrete_slopes(
            objective, np.array([[1.0, 0.0], [1.0, 0.0]], np.float32), Decisions.of(objective)
        )
        assert terms.clip_fraction == 1.0
        assert [not row.any() for row in slopes] == held


@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    num_rows=st.integers(1, 6),
    masked=st.booleans(),
    seed=st.integers(0, 99),
)
def test_slopes_of_cross_entropy_are_those_of_torch(sizes: list[int], num_rows: int, masked: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(num_rows, sum(sizes))).astype(np.float32)
    starts = np.cumsum([0, *sizes[:-1]])
    actions = np.stack([rng.integers(size, size=num_rows) for size in sizes], axis=1) + starts
    forbidden = rng.random(logits.shape) < 0.5 if masked else np.zeros(logits.shape, np.bool_)
    np.put_along_axis(forbidden, actions, False, axis=1)
    head = torch.from_numpy(logits.copy()).requires_grad_()
    legal = head.masked_fill(torch.from_numpy(forbidden), torch.finfo(torch.float32).min)
    log_probs = torch.cat([part.log_softmax(dim=1) for part in legal.split(sizes, dim=1)], dim=1)
    expected = -log_probs.gather(1, torch.from_numpy(actions)).sum(dim=1).mean()
    (slope,) = torch.autograd.grad(expected, head)
    loss, slopes = cross_entropy_slopes(logits, forbidden if masked else None, actions, sizes=sizes)
    assert loss == pytest.approx(expected.item(), rel=1e-5, abs=1e-6)
    assert_allclose(slopes, slope.numpy(), rtol=1e-4, atol=1e-6)
