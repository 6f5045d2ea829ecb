"""The terms of the losses, per row, as pure functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor


def clipped_surrogate(log_ratios: Tensor, advantages: Tensor, weights: Tensor, *, clip_range: float) -> Tensor:
    """Decoupled clipped policy loss (Hilton et al. 2021, arXiv:2110.00641, eq. 3; Schulman et al. 2017, eq. 7).

        r = π_θ(a) / π(a),   loss = -w · min(r Â, clip(r, 1 - ε, 1 + ε) Â)

    Args:
        log_ratios: log r [N], of the policy that learns over the one that acted.
        advantages: Â [N].
        weights: w = π/μ [N], of the policy that acted over the blend that drew the action.
        clip_range: ε in (0, 1).

    Returns:
        [N].
    """
    ratios = log_ratios.exp()
    clipped = ratios.clamp(1.0 - clip_range, 1.0 + clip_range)
    return -weights * torch.minimum(ratios * advantages, clipped * advantages)


def policy_divergence(log_ratios: Tensor, weights: Tensor) -> Tensor:
    """Low-variance estimate of KL(π ‖ π_θ) per row, never negative (Schulman 2020, "Approximating KL divergence", k3).

        w · ((r - 1) - log r)

    Args:
        log_ratios: log r [N].
        weights: w = π/μ [N]; without it, rows that the script chose would hide most of the change.

    Returns:
        [N].
    """
    # expm1: exp(x) - 1 of a small x would be rounding error.
    return weights * (torch.expm1(log_ratios) - log_ratios)


def is_clipped(log_ratios: Tensor, *, clip_range: float) -> Tensor:
    """Whether r left [1 - ε, 1 + ε]: bool [N]."""
    return (log_ratios.exp() - 1.0).abs() > clip_range


def squared_value_error(values: Tensor, targets: Tensor, old_values: Tensor, *, value_clip: float | None) -> Tensor:
    """Squared error of the values, clipped as the policy is, if asked (OpenAI baselines `ppo2`).

        max((V_θ - v)², (V + clip(V_θ - V, ± value_clip) - v)²)

    Args:
        values: V_θ [N] of the network that learns.
        targets: v [N].
        old_values: V [N] before the first update.
        value_clip: in the unit of the values; None: the plain squared error.

    Returns:
        [N].
    """
    errors = (values - targets).square()
    if value_clip is None:
        return errors
    clipped = old_values + (values - old_values).clamp(-value_clip, value_clip)
    return torch.maximum(errors, (clipped - targets).square())
