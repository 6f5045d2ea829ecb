"""Distributions over actions, from the outputs of a network: probabilities, entropies and most probable actions."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Distribution(Protocol):
    """A family of distributions over the actions of one agent group.

    Shapes: N rows; O outputs of a network; P parameters, that a policy is recorded and exported by.
    """

    @property
    def num_outputs(self) -> int:
        """O."""

    def params(self, outputs: Tensor, action_mask: Tensor | None) -> Tensor:
        """Turn outputs [N, O] into parameters [N, P] under a mask of legal actions."""

    def log_prob(self, params: Tensor, actions: Tensor) -> Tensor:
        """log π(a) [N] of actions [N, ...]."""

    def entropy(self, params: Tensor) -> Tensor:
        """H(π) in nats, [N]."""

    def mode(self, params: Tensor) -> Tensor:
        """The most probable action of each row, [N, ...]."""

    def agrees(self, params: Tensor, actions: Tensor) -> Tensor:
        """Whether `mode` is the action of each row, [N] bool."""

    def allows(self, action_mask: Tensor, actions: Tensor) -> Tensor:
        """Whether a mask allows the action of each row, [N] bool."""


class Categorical:
    """One of A actions, with outputs that are logits and parameters that are log-probabilities."""

    def __init__(self, num_actions: int) -> None:
        self.num_outputs = num_actions

    def params(self, outputs: Tensor, action_mask: Tensor | None) -> Tensor:
        """Log-probabilities [N, A] of logits [N, A] under a mask [N, A]."""
        return masked_log_softmax(outputs, action_mask)

    def log_prob(self, params: Tensor, actions: Tensor) -> Tensor:
        """log π(a) [N] of actions [N] int64."""
        return log_prob_of(params, actions)

    def entropy(self, params: Tensor) -> Tensor:
        """H(π) in nats, [N]."""
        return entropy(params)

    def mode(self, params: Tensor) -> Tensor:
        """The most probable action [N], the first of equal ones."""
        return params.argmax(dim=-1)

    def agrees(self, params: Tensor, actions: Tensor) -> Tensor:
        """Whether the most probable action is the given one, [N] bool."""
        return self.mode(params) == actions

    def allows(self, action_mask: Tensor, actions: Tensor) -> Tensor:
        """Whether a mask [N, A] allows actions [N], [N] bool."""
        return log_prob_of(action_mask, actions)


def masked_log_softmax(logits: Tensor, action_mask: Tensor | None) -> Tensor:
    """Log-probabilities of the distribution over the legal actions.

        log π(a) = z_a - log Σ_b exp z_b,   z_a = finfo.min where a is illegal

    A finite floor instead of -inf: 0 · log 0 and its gradient are then 0, not NaN (Huang & Ontañón 2022,
    arXiv:2006.14171, section 4).

    Args:
        logits: [..., A].
        action_mask: [..., A] bool, true where legal, with at least one legal action in each row; None if all are.

    Returns:
        [..., A], finite.
    """
    if action_mask is not None:
        logits = torch.where(action_mask, logits, torch.finfo(logits.dtype).min)
    return torch.log_softmax(logits, dim=-1)


def log_prob_of(log_probs: Tensor, actions: Tensor) -> Tensor:
    """log π(a) [N] of `actions` [N] int64, out of `log_probs` [N, A]."""
    return log_probs.gather(-1, actions.unsqueeze(-1)).squeeze(-1)


def entropy(log_probs: Tensor) -> Tensor:
    """H(π) = -Σ_a π(a) log π(a) in nats, [N], of `log_probs` [N, A]."""
    return -(log_probs.exp() * log_probs).sum(dim=-1)
