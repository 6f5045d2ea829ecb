"""The terms of the losses, by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from townlet_training.learning.losses import clipped_surrogate, is_clipped, policy_divergence, squared_value_error


def logs(*ratios: float) -> Tensor:
    return torch.tensor([math.log(ratio) for ratio in ratios])


def test_clipped_surrogate_by_hand() -> None:
    # ε = 0.2; -w · min(r Â, clip(r) Â):
    # r 1.5, Â 2: -min(3, 2.4);  r 1.5, Â -2: -min(-3, -2.4);  r 0.5, Â 2: -min(1, 1.6);  r 0.5, Â -2: -min(-1, -1.6)
    actual = clipped_surrogate(
        logs(1.5, 1.5, 0.5, 0.5),
        torch.tensor([2.0, -2.0, 2.0, -2.0]),
        torch.tensor([1.0, 10.0, 1.0, 10.0]),
        clip_range=0.2,
    )
    assert_close(actual, torch.tensor([-2.4, 30.0, -1.0, 16.0]))


def test_a_clipped_gain_has_no_gradient_and_a_loss_has_one() -> None:
    log_ratios = logs(1.5, 1.5).requires_grad_()
    clipped_surrogate(log_ratios, torch.tensor([1.0, -1.0]), torch.ones(2), clip_range=0.2).sum().backward()
    assert log_ratios.grad is not None
    assert_close(log_ratios.grad, torch.tensor([0.0, 1.5]))


def test_policy_divergence_by_hand() -> None:
    # w ((r - 1) - log r): 3 · (2 - 1 - log 2) and 1 · (0.5 - 1 + log 2)
    actual = policy_divergence(logs(2.0, 0.5), torch.tensor([3.0, 1.0]))
    assert_close(actual, torch.tensor([3.0 * (1.0 - math.log(2.0)), math.log(2.0) - 0.5]))


@pytest.mark.property
@given(st.floats(-20, 20, width=32), st.floats(0, 10, width=32))
def test_policy_divergence_is_never_negative(log_ratio: float, weight: float) -> None:
    assert policy_divergence(torch.tensor([log_ratio]), torch.tensor([weight])).item() >= 0.0


def test_is_clipped_by_hand() -> None:
    assert is_clipped(logs(1.1, 1.3, 0.9, 0.7), clip_range=0.2).tolist() == [False, True, False, True]


def test_squared_value_error_by_hand() -> None:
    values, targets, old = torch.tensor([3.0, 3.0]), torch.tensor([5.0, 2.0]), torch.tensor([1.0, 2.5])
    assert_close(squared_value_error(values, targets, old, value_clip=None), torch.tensor([4.0, 1.0]))
    # Clipped to 1 + 0.5 and 2.5 + 0.5: max(4, 3.5²) and max(1, 1).
    assert_close(squared_value_error(values, targets, old, value_clip=0.5), torch.tensor([12.25, 1.0]))
    # Downwards too: from 1 to -1, clipped to 0.5, the target at -3: max(2², 3.5²).
    lower = squared_value_error(torch.tensor([-1.0]), torch.tensor([-3.0]), torch.tensor([1.0]), value_clip=0.5)
    assert_close(lower, torch.tensor([12.25]))
