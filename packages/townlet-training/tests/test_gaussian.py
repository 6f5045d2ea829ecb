"""Numbers within bounds: numbers worked out by hand, scipy as judge, and laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm
from torch.testing import assert_close

from townlet_training.errors import ShapeError
from townlet_training.network.config import MIN_LOG_STD
from townlet_training.network.gaussian import ClippedGaussian, Gaussian, SquashedGaussian

LOW, HIGH = (-2.0, 0.5), (2.0, 1.5)
"""Centres 0 and 1, half ranges 2 and 0.5."""
GAUSSIAN = (ClippedGaussian, SquashedGaussian)


@pytest.mark.parametrize("make", GAUSSIAN)
def test_numbers_have_no_mask(make: type[Gaussian]) -> None:
    numbers = make(LOW, HIGH)
    mask = np.ones((1, 4), np.bool_)
    for refused in (
        lambda: numbers.require_legal(mask, num_rows=1),
        lambda: numbers.params(torch.zeros(1, 4), torch.from_numpy(mask)),
        lambda: numbers.allows(torch.from_numpy(mask), torch.zeros(1, 2)),
    ):
        with pytest.raises(ShapeError, match="numbers within bounds have no `action_mask`"):
            refused()


def test_the_units_of_a_clipped_gaussian_by_hand() -> None:
    # The mean 0.5 of half ranges 2 and 0.5 from the centres 0 and 1; deviations are half ranges where log s' is 0.
    numbers = ClippedGaussian(LOW, HIGH)
    unit = numbers.unbounded(0.0)
    params = numbers.params(torch.tensor([[0.5, 0.5, unit, unit]]), None)
    assert_close(params, torch.tensor([[1.0, 1.25, math.log(2.0), math.log(0.5)]]))
    # Both numbers lie one deviation above their means: 2 (-1/2 - log(2π)/2) - log 2 - log 0.5.
    assert_close(numbers.log_prob(params, torch.tensor([[3.0, 1.75]])), torch.tensor([-1.0 - math.log(2.0 * math.pi)]))
    # log(2πe), as log 2 + log 0.5 = 0.
    assert_close(numbers.entropy(params), torch.tensor([math.log(2.0 * math.pi * math.e)]))
    # The mean 5 of the first number is beyond its bound of 2.
    assert numbers.mode(torch.tensor([[5.0, 1.25, 0.0, 0.0]])).tolist() == [[2.0, 1.25]]


def test_a_squashed_gaussian_by_hand() -> None:
    # u = 1/2 is z = log(3)/2; log N(z; 0, 1) - log(1 - 1/4) - log h of each, h = 2 and 0.5.
    numbers = SquashedGaussian(LOW, HIGH)
    z = math.log(3.0) / 2.0
    expected = 2.0 * (-z * z / 2.0 - math.log(2.0 * math.pi) / 2.0 - math.log(0.75)) - math.log(2.0) - math.log(0.5)
    assert_close(numbers.log_prob(torch.zeros(1, 4), torch.tensor([[1.0, 1.25]])), torch.tensor([expected]))
    assert_close(numbers.mode(torch.tensor([[z, -z, 0.0, 0.0]])), torch.tensor([[1.0, 0.75]]))
    unit = numbers.unbounded(0.0)
    assert_close(numbers.params(torch.tensor([[0.5, -3.0, unit, unit]]), None), torch.tensor([[0.5, -3.0, 0.0, 0.0]]))


@pytest.mark.parametrize("make", GAUSSIAN)
def test_agreement_is_within_a_twentieth_of_the_range(make: type[Gaussian]) -> None:
    # Modes 0 and 1: 0.2 and 0.05 away is the same, and clipping comes first.
    numbers = make(LOW, HIGH)
    params = numbers.params(torch.zeros(4, 4), None)
    actions = torch.tensor([[0.19, 0.951], [0.21, 1.0], [0.0, 1.06], [0.0, 1.0]])
    assert numbers.agrees(params, actions).tolist() == [True, False, False, True]
    far = torch.tensor([[9.0, -9.0, 0.0, 0.0]])
    assert numbers.agrees(numbers.params(far, None), torch.tensor([[5.0, 0.0]])).tolist() == [True]


@pytest.mark.parametrize("make", GAUSSIAN)
def test_deviations_stay_above_their_floor_and_keep_a_gradient(make: type[Gaussian]) -> None:
    assert make.unbounded(0.0) == pytest.approx(-3.0 + math.log(math.exp(3.0) - 1.0))
    numbers = make((-1.0,), (1.0,))
    outputs = torch.tensor([[0.0, -8.0]], requires_grad=True)
    log_std = numbers.params(outputs, None)[0, 1]
    assert MIN_LOG_STD < log_std < MIN_LOG_STD + 0.01
    log_std.backward()
    assert outputs.grad is not None and outputs.grad[0, 1] > 0.0


def test_a_clipped_log_probability_is_scipys() -> None:
    numbers = ClippedGaussian(LOW, HIGH)
    outputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    params = numbers.params(outputs, None)
    actions = torch.randn(5, 2, generator=torch.Generator().manual_seed(3)) + 1.0
    for row, action, found in zip(params, actions, numbers.log_prob(params, actions), strict=True):
        mean, std = row[:2].numpy(), row[2:].exp().numpy()
        expected = multivariate_normal(mean, np.diag(std**2))
        assert found.item() == pytest.approx(expected.logpdf(action.double().numpy()), rel=1e-12)
        assert numbers.entropy(row[None]).item() == pytest.approx(expected.entropy(), rel=1e-12)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.7, 0.5), (-2.0, 0.2), (1.0, 1.4)])
def test_a_squashed_density_sums_to_one_and_has_that_entropy(mean: float, std: float) -> None:
    numbers = SquashedGaussian((-2.0,), (2.0,))
    params = torch.tensor([[mean, math.log(std)]], dtype=torch.float64)

    def log_density(action: float) -> float:
        return numbers.log_prob(params, torch.tensor([[action]], dtype=torch.float64)).item()

    # Within ±2 (1 - 1e-6) the density is exact.
    edge, peak = 2.0 - 2e-6, 2.0 * math.tanh(mean)
    total, _ = quad(lambda a: math.exp(log_density(a)), -edge, edge, points=[peak], limit=200)
    assert total == pytest.approx(1.0, abs=1e-4)
    entropy, _ = quad(lambda a: -math.exp(log_density(a)) * log_density(a), -edge, edge, points=[peak], limit=200)
    assert numbers.entropy(params).item() == pytest.approx(entropy, abs=2e-3)
    # To more digits over z, where nothing is cut off: H(z) + log h + E log(1 - tanh² z).
    slope, _ = quad(
        lambda z: norm.pdf(z, mean, std) * -2.0 * np.log(np.cosh(z)), mean - 10 * std, mean + 10 * std, limit=200
    )
    exact = norm.entropy(mean, std) + math.log(2.0) + slope
    assert numbers.entropy(params).item() == pytest.approx(exact, abs=2e-5)


def test_a_squashed_action_at_its_bounds_has_a_finite_log_probability_and_gradient() -> None:
    # At the bound u is 1 - 1e-6: z = atanh u = 7.254.
    numbers = SquashedGaussian((-2.0,), (2.0,))
    params = torch.tensor([[6.0, 0.0]] * 2, requires_grad=True)
    found = numbers.log_prob(params, torch.tensor([[2.0], [-2.0]]))
    z = math.atanh(1.0 - 1e-6)
    slope = math.log(1.0 - (1.0 - 1e-6) ** 2) + math.log(2.0)
    expected = [norm.logpdf(z, 6.0, 1.0) - slope, norm.logpdf(-z, 6.0, 1.0) - slope]
    assert_allclose(found.detach().numpy(), expected, rtol=1e-6)
    found.sum().backward()
    assert params.grad is not None and torch.isfinite(params.grad).all()


@given(
    st.floats(-3, 3, width=32), st.floats(-2, 1, width=32), st.floats(-8, 8, width=32), st.floats(0.125, 64, width=32)
)
def test_stretching_the_bounds_moves_density_by_its_factor(mean: float, log_std: float, at: float, by: float) -> None:
    # a' = by · a has density π(a) / by: log-probabilities shift by -log by, in both kinds.
    for make in GAUSSIAN:
        narrow, broad = make((-1.0,), (1.0,)), make((-by,), (by,))
        outputs = torch.tensor([[mean, make.unbounded(log_std)]], dtype=torch.float64)
        action = torch.tensor([[math.tanh(at) if make is SquashedGaussian else at]], dtype=torch.float64)
        first = narrow.log_prob(narrow.params(outputs, None), action)
        second = broad.log_prob(broad.params(outputs, None), action * by)
        assert_close(second, first - math.log(by), rtol=1e-5, atol=1e-5)
        assert_close(
            broad.entropy(broad.params(outputs, None)),
            narrow.entropy(narrow.params(outputs, None)) + math.log(by),
            rtol=1e-5,
            atol=1e-5,
        )
