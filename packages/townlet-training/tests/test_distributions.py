"""Distributions: numbers worked out by hand, scipy as judge, finite differences, and laws."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from torch.testing import assert_close

from townlet_training.errors import ActionMaskError, ShapeError
from townlet_training.network.distributions import (
    Categorical,
    Distribution,
    MultiCategorical,
    entropy,
    log_prob_of,
    log_softmax,
    masked_log_softmax,
)
from townlet_training.network.gaussian import ClippedGaussian, Gaussian, SquashedGaussian

LOGITS = torch.tensor([[math.log(1.0), math.log(2.0), math.log(5.0)]])


def test_log_softmax_by_hand() -> None:
    assert_close(masked_log_softmax(LOGITS, None).exp(), torch.tensor([[0.125, 0.25, 0.625]]))


def test_the_legal_actions_share_what_the_forbidden_one_had() -> None:
    log_probs = masked_log_softmax(LOGITS, torch.tensor([[True, True, False]]))
    assert_close(log_probs.exp(), torch.tensor([[1 / 3, 2 / 3, 0.0]]))
    assert torch.isfinite(log_probs).all()


def test_a_forbidden_action_has_no_share_however_low_the_others_are() -> None:
    log_probs = masked_log_softmax(torch.tensor([[-1e4, -1e4, 0.0]]), torch.tensor([[True, True, False]]))
    assert_close(log_probs.exp(), torch.tensor([[0.5, 0.5, 0.0]]))


def test_log_prob_of_picks_one_per_row() -> None:
    log_probs = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    assert_close(log_prob_of(log_probs, torch.tensor([2, 0])), torch.tensor([0.3, 0.4]))


def test_entropy_by_hand() -> None:
    # A coin has log 2, a certainty 0; a forbidden action adds nothing.
    mask = torch.tensor([[True, True, False], [False, False, True]])
    assert_close(entropy(masked_log_softmax(torch.zeros(2, 3), mask)), torch.tensor([math.log(2.0), 0.0]))


def test_the_gradient_of_a_masked_entropy_is_finite_and_zero_where_forbidden() -> None:
    logits = torch.tensor([[0.3, -0.2, 4.0]], requires_grad=True)
    entropy(masked_log_softmax(logits, torch.tensor([[True, True, False]]))).sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[0, 2] == 0.0 and logits.grad[0, 0] != 0.0


@given(st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=6), st.floats(-20, 20, width=32))
def test_adding_a_constant_to_the_logits_changes_nothing(logits: list[float], constant: float) -> None:
    row = torch.tensor([logits], dtype=torch.float64)
    mask = torch.ones_like(row, dtype=torch.bool)
    mask[0, 0] = False
    moved, expected = masked_log_softmax(row + constant, mask), masked_log_softmax(row, mask)
    assert_close(moved.exp(), expected.exp())
    assert_close(expected.exp().sum(), torch.tensor(1.0, dtype=torch.float64))


def test_log_softmax_of_large_logits_by_hand() -> None:
    # exp(1000) overflows, the difference of the last two as well: the least float stands for log 0.
    logits = np.array([[1000.0, 1000.0], [3e38, -3e38]], np.float32)
    with np.errstate(over="ignore"):
        log_probs = log_softmax(logits, None)
    assert_allclose(log_probs[0], np.log([0.5, 0.5]), rtol=1e-6)
    assert log_probs[1].tolist() == [0.0, float(np.finfo(np.float32).min)]


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1e4), st.booleans())
def test_log_softmax_is_torchs(seed: int, spread: float, masked: bool) -> None:
    rng = np.random.default_rng(seed)
    logits = (spread * rng.normal(size=(5, 6))).astype(np.float32)
    mask = rng.random((5, 6)) < 0.5
    mask[:, 2] = True
    given_mask = mask if masked else None
    expected = masked_log_softmax(torch.from_numpy(logits.copy()), torch.from_numpy(mask) if masked else None).numpy()
    got = log_softmax(logits.copy(), given_mask)
    assert np.isfinite(got).all()
    legal = mask if masked else np.ones_like(mask)
    assert_allclose(got[legal], expected[legal], rtol=1e-5, atol=1e-5)
    assert (np.exp(got[~legal]) == 0.0).all()


LOW, HIGH = (-2.0, 0.5), (2.0, 1.5)
"""Centres 0 and 1, half ranges 2 and 0.5."""
ALL: Sequence[Distribution] = (
    Categorical(3),
    MultiCategorical((3, 2, 4)),
    ClippedGaussian(LOW, HIGH),
    SquashedGaussian(LOW, HIGH),
)
DISCRETE = ALL[:2]
GAUSSIAN = (ClippedGaussian, SquashedGaussian)


def params_of(distribution: Distribution, *, rows: int = 5, seed: int = 0, double: bool = False) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    dtype = torch.float64 if double else torch.float32
    return distribution.params(
        torch.randn(rows, distribution.num_outputs, generator=generator, dtype=torch.float64).to(dtype), None
    )


def drawn(distribution: Distribution, params: torch.Tensor, *, seed: int) -> torch.Tensor:
    """Actions drawn by scipy's or numpy's means, none of the module's."""
    rng = np.random.default_rng(seed)
    rows = params.double().numpy()
    if isinstance(distribution, Gaussian):
        mean, log_std = np.split(rows, 2, axis=1)
        numbers = mean + np.exp(log_std) * rng.normal(size=mean.shape)
        if distribution.name == "squashed":
            numbers = np.array(LOW) + (np.array(HIGH) - np.array(LOW)) * (np.tanh(numbers) + 1.0) / 2.0
        return torch.from_numpy(numbers.astype(np.float32))
    sizes = distribution.part_sizes if isinstance(distribution, MultiCategorical) else (distribution.num_outputs,)
    parts = np.split(rows, np.cumsum(sizes)[:-1], axis=1)
    actions = np.stack([(part + rng.gumbel(size=part.shape)).argmax(axis=1) for part in parts], axis=1)
    return torch.from_numpy(actions if isinstance(distribution, MultiCategorical) else actions[:, 0])


def test_parts_by_hand() -> None:
    # Logarithms of 1:3 and of 1:2:5, so 1/4, 3/4 and 1/8, 1/4, 5/8: the product of the second and the third is 15/32.
    parts = MultiCategorical((2, 3))
    outputs = torch.tensor([[1.0, 3.0, 1.0, 2.0, 5.0]]).log()
    params = parts.params(outputs, None)
    assert_close(params.exp(), torch.tensor([[0.25, 0.75, 0.125, 0.25, 0.625]]))
    assert_close(parts.log_prob(params, torch.tensor([[1, 2]])).exp(), torch.tensor([15 / 32]))
    assert parts.mode(params).tolist() == [[1, 2]]
    # Without its last value the second part is 1:2, and the first one stays.
    mask = torch.tensor([[True, True, True, True, False]])
    masked = parts.params(outputs, mask)
    assert_close(masked.exp(), torch.tensor([[0.25, 0.75, 1 / 3, 2 / 3, 0.0]]))
    assert parts.mode(masked).tolist() == [[1, 1]]
    assert parts.allows(mask.expand(3, -1), torch.tensor([[1, 1], [1, 2], [0, 0]])).tolist() == [True, False, True]
    # 2 log 2 of two fair coins.
    assert_close(MultiCategorical((2, 2)).entropy(torch.full((1, 4), -math.log(2.0))), torch.tensor([2 * math.log(2)]))


def test_one_part_is_a_categorical() -> None:
    one, plain = MultiCategorical((4,)), Categorical(4)
    outputs = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([True, False, True, True]).expand(6, 4)
    assert torch.equal(one.params(outputs, mask), plain.params(outputs, mask))
    params, actions = plain.params(outputs, None), torch.arange(6) % 4
    assert torch.equal(one.log_prob(params, actions[:, None]), plain.log_prob(params, actions))
    assert torch.equal(one.entropy(params), plain.entropy(params))
    assert torch.equal(one.agrees(params, actions[:, None]), plain.agrees(params, actions))


def test_parts_are_the_categorical_of_their_product() -> None:
    # Brute force: all 24 combinations as actions of one vocabulary.
    parts = MultiCategorical((3, 2, 4))
    params = params_of(parts, double=True)
    combinations = torch.cartesian_prod(torch.arange(3), torch.arange(2), torch.arange(4))
    joint = torch.stack([parts.log_prob(params, each.expand(5, 3)) for each in combinations], dim=1)
    assert_close(joint.exp().sum(dim=1), torch.ones(5, dtype=torch.float64))
    assert_close(parts.entropy(params), entropy(joint))
    assert torch.equal(parts.mode(params), combinations[joint.argmax(dim=1)])


def test_agreement_needs_every_part() -> None:
    parts = MultiCategorical((2, 2))
    params = parts.params(torch.tensor([[1.0, 0.0, 1.0, 0.0]]).expand(3, 4), None)
    assert parts.agrees(params, torch.tensor([[0, 0], [0, 1], [1, 0]])).tolist() == [True, False, False]


def test_a_part_without_a_legal_value_is_refused() -> None:
    mask = np.ones((3, 5), np.bool_)
    MultiCategorical((2, 3)).require_legal(mask, num_rows=3)
    mask[1, 2:] = False
    with pytest.raises(ActionMaskError, match=r"no legal action in part 1 of row 1 \(1 of 3 rows\)"):
        MultiCategorical((2, 3)).require_legal(mask, num_rows=3)
    with pytest.raises(ShapeError, match=r"must be bool \(4, 5\), got bool \(3, 5\)"):
        MultiCategorical((2, 3)).require_legal(mask, num_rows=4)
    mask[1] = False
    with pytest.raises(ActionMaskError, match=r"no legal action in row 1 \(1 of 3\)"):
        Categorical(5).require_legal(mask, num_rows=3)


@pytest.mark.parametrize("distribution", ALL, ids=lambda each: type(each).__name__)
def test_entropy_is_the_mean_of_minus_log_pi(distribution: Distribution) -> None:
    # Monte Carlo: 40,000 draws, 4 standard errors.
    params = params_of(distribution, rows=1, seed=5).expand(40_000, -1)
    surprise = -distribution.log_prob(params, drawn(distribution, params, seed=6)).double()
    error = 4.0 * surprise.std().item() / math.sqrt(len(surprise))
    assert distribution.entropy(params[:1]).item() == pytest.approx(surprise.mean().item(), abs=error)


@pytest.mark.parametrize("distribution", ALL, ids=lambda each: type(each).__name__)
def test_gradients_of_log_prob_and_entropy_are_finite_differences(distribution: Distribution) -> None:
    params = params_of(distribution, rows=3, seed=7, double=True)
    actions = drawn(distribution, params, seed=8)
    outputs = torch.randn(3, distribution.num_outputs, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    outputs.requires_grad_()

    def log_prob(outputs: torch.Tensor) -> torch.Tensor:
        return distribution.log_prob(distribution.params(outputs, None), actions)

    def spread(outputs: torch.Tensor) -> torch.Tensor:
        return distribution.entropy(distribution.params(outputs, None))

    assert torch.autograd.gradcheck(log_prob, (outputs,))
    assert torch.autograd.gradcheck(spread, (outputs,), atol=1e-4)


@pytest.mark.parametrize("distribution", ALL, ids=lambda each: type(each).__name__)
def test_numpy_computes_the_same_parameters(distribution: Distribution) -> None:
    outputs = np.random.default_rng(1).normal(scale=3.0, size=(7, distribution.num_outputs)).astype(np.float32)
    masks: list[NDArray[np.bool_] | None] = [None]
    if distribution in DISCRETE:
        mask = np.random.default_rng(2).random(outputs.shape) < 0.5
        mask[:, [0, 3, 5] if distribution.num_outputs == 9 else [0]] = True
        masks.append(mask)
    for each in masks:
        expected = distribution.params(torch.from_numpy(outputs), None if each is None else torch.from_numpy(each))
        legal = np.ones_like(outputs, np.bool_) if each is None else each
        found = distribution.array_params(outputs.copy(), each)
        assert found.dtype == np.float32
        assert_allclose(found[legal], expected.numpy()[legal], rtol=1e-6, atol=1e-6)
        assert distribution.name or (np.exp(found[~legal]) == 0.0).all()


@given(st.integers(0, 2**32 - 1))
def test_no_action_is_more_likely_than_the_mode_of_parts(seed: int) -> None:
    parts = MultiCategorical((3, 2, 4))
    params = params_of(parts, seed=seed)
    mode = parts.mode(params)
    other = drawn(parts, params, seed=seed)
    assert (parts.log_prob(params, mode) >= parts.log_prob(params, other)).all()
    assert parts.agrees(params, mode).all()
