"""Masked categorical distributions as pure functions of log-probabilities."""

from __future__ import annotations

import torch
from torch import Tensor


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
