"""Masked categorical distributions."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from townlet_training.network.distributions import entropy, log_prob_of, masked_log_softmax

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


@pytest.mark.property
@given(st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=6), st.floats(-20, 20, width=32))
def test_adding_a_constant_to_the_logits_changes_nothing(logits: list[float], constant: float) -> None:
    row = torch.tensor([logits], dtype=torch.float64)
    mask = torch.ones_like(row, dtype=torch.bool)
    mask[0, 0] = False
    moved, expected = masked_log_softmax(row + constant, mask), masked_log_softmax(row, mask)
    assert_close(moved.exp(), expected.exp())
    assert_close(expected.exp().sum(), torch.tensor(1.0, dtype=torch.float64))
