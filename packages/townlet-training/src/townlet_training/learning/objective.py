"""The mathematics of an update: advantages, value targets and returns by one recursion, and the terms of the losses.

The recursion is V-trace(λ); GAE is its case on policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from townlet_training.errors import ConfigError, EmptyBatchError, NonFiniteError, ShapeError
from townlet_trajectory import Kind, TrajectoryBatch

_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimates:
    """Advantages and value targets of steps, in the shape of their rewards."""

    advantages: NDArray[np.floating]
    """Â, in reward units."""
    value_targets: NDArray[np.floating]
    """v, in reward units."""


def vtrace(
    rewards: NDArray[np.floating],
    values: NDArray[np.floating],
    terminated: NDArray[np.bool_],
    *,
    rho: NDArray[np.floating] | float,
    trace: NDArray[np.floating] | float,
    decay: NDArray[np.floating] | float,
    discount: float,
) -> Estimates:
    """V-trace(λ) of fragments of equal length (Espeholt et al. 2018, arXiv:1802.01561, eq. 1, with λ of remark 2).

        δ_t = r_t + γ (1 - terminated_t) V_{t+1} - V_t
        e_t = ρ_t δ_t + γ (1 - terminated_t) λ_t c_t e_{t+1},   e_T = 0
        Â_t = δ_t + γ (1 - terminated_t) λ_t e_{t+1}
        v_t = V_t + e_t

    A step's own weight is not in its advantage: the policy loss multiplies by it.

    Args:
        rewards: [T, B].
        values: [T + 1, B], in reward units; the last row bootstraps a fragment that was cut off.
        terminated: [T, B]; true at true ends only, never at a time limit.
        rho: ρ [T, B] or of all steps, the weight of a step's own error, at least 0.
        trace: c [T, B] or of all steps, how far later errors count, in [0, 1].
        decay: λ [T, B] or of all steps, in [0, 1]; the last row has no effect.
        discount: γ in [0, 1].

    Returns:
        Both [T, B], in the precision of the arguments.

    Raises:
        ShapeError: if the shapes do not fit.
        ConfigError: if γ is out of range.
    """
    _require_unit_interval(discount=discount)
    _require_shapes(rewards, values, terminated=terminated, rho=rho, trace=trace, decay=decay)
    # Arrays are reused where their old content is done with: fresh memory costs more time than the arithmetic.
    carries = rewards.dtype.type(discount) * np.logical_not(terminated)
    deltas = rewards + carries * values[1:] - values[:-1]
    carries *= decay
    errors, traces = rho * deltas, carries * trace
    # e_t = ρ_t δ_t + γ (1 - terminated_t) λ_t c_t e_{t+1} for t from T - 2 to 0, in rows of `errors`
    for error, traced, later in zip(errors[-2::-1], traces[-2::-1], errors[:0:-1], strict=True):
        error += traced * later
    deltas[:-1] += carries[:-1] * errors[1:]
    return Estimates(advantages=deltas, value_targets=values[:-1] + errors)


def gae(
    rewards: NDArray[np.floating],
    values: NDArray[np.floating],
    terminated: NDArray[np.bool_],
    *,
    discount: float,
    lambda_: float,
) -> Estimates:
    """Generalized advantage estimates (Schulman et al. 2016, arXiv:1506.02438, eq. 16): `vtrace` where ρ = c = 1.

        Â_t = δ_t + γλ (1 - terminated_t) Â_{t+1},   v_t = V_t + Â_t

    Args:
        rewards: [T, B].
        values: [T + 1, B], in reward units; the last row bootstraps a fragment that was cut off.
        terminated: [T, B]; true at true ends only, never at a time limit.
        discount: γ in [0, 1].
        lambda_: λ in [0, 1].

    Returns:
        Both [T, B], in the precision of the arguments.

    Raises:
        ShapeError: if the shapes do not fit.
        ConfigError: if γ or λ is out of range.
    """
    _require_unit_interval(lambda_=lambda_)
    return vtrace(rewards, values, terminated, rho=1.0, trace=1.0, decay=lambda_, discount=discount)


def advantages_of(
    batch: TrajectoryBatch,
    values: NDArray[np.floating],
    final_values: NDArray[np.floating],
    *,
    discount: float,
    lambda_: float,
    min_ratio: float,
) -> Estimates:
    """V-trace(λ) of a batch of trajectories of any length, with the blend's commitments and foreign steps.

    As `vtrace`, with ρ and c of `importance_weights`, and with λ_t = 1 where step t + 1 is forced: λ is paid once
    per decision, so that a decision that lasted k ticks has the advantage of an option (Sutton, Precup & Singh 1999),
    Σ_{j<k} γ^j r_{t+j} + γ^k (V + λ e)_{t+k} - V_t. Nothing crosses from one trajectory into another; V after the last
    step is 0 where the trajectory terminated, else that of its final observation.

    Args:
        batch: R rows of B trajectories, with the columns `kind`, `policy_log_prob` and `behavior_log_prob`.
        values: V [R] of the acting policy, in reward units.
        final_values: V [B] of the final observations, in reward units.
        discount: γ in [0, 1].
        lambda_: λ in [0, 1].
        min_ratio: β_min in (0, 1], the smallest ratio at which the blend's steps are decisions.

    Returns:
        Both [R], float64.

    Raises:
        ShapeError: if the shapes do not fit.
        ConfigError: if γ, λ or β_min is out of range.
    """
    _require_unit_interval(discount=discount, lambda_=lambda_)
    if values.shape != (batch.num_steps,) or final_values.shape != (len(batch),):
        raise ShapeError(
            f"`values` and `final_values` must be {(batch.num_steps,)} and {(len(batch),)}, "
            f"got {values.shape} and {final_values.shape}"
        )
    rho, trace = importance_weights(batch, min_ratio=min_ratio)
    decay = np.full(batch.num_steps, lambda_)
    decay[:-1][batch.columns["kind"][1:] == Kind.FORCED] = 1.0
    end_values = np.where(batch.terminated, 0.0, final_values)
    return _side_by_side(batch, values, end_values, rho=rho, trace=trace, decay=decay, discount=discount)


def importance_weights(batch: TrajectoryBatch, *, min_ratio: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of a step's own error, and of later errors through it.

        ρ = min(1 / β_min, π/μ),   c = min(1, π/μ)   at decisions; of draws at temperature 1, π/μ never exceeds 1/β
        ρ = c = 1   at forced steps: what a commitment does is the world's doing
        ρ = c = 0   at foreign steps: the step before bootstraps with V of the state they began in

    Returns:
        ρ and c, each [R].

    Raises:
        ConfigError: if `min_ratio` is not in (0, 1].
    """
    if not 0.0 < min_ratio <= 1.0:
        raise ConfigError(f"`min_ratio` must be in (0, 1], got {min_ratio!r}")
    kind = batch.columns["kind"]
    policy, behavior = (np.asarray(batch.columns[f"{who}_log_prob"], np.float64) for who in ("policy", "behavior"))
    # The minimum is taken before exp, which could overflow on a damaged batch.
    rho = np.exp(np.minimum(policy - behavior, -np.log(min_ratio)))
    rho[kind == Kind.FORCED] = 1.0
    rho[kind == Kind.FOREIGN] = 0.0
    return rho, np.minimum(rho, 1.0)


def truncated_share(batch: TrajectoryBatch, *, min_ratio: float) -> float:
    """Share of the decisions whose π/μ exceeds 1/β_min, so that their ρ is truncated; 0 without a decision.

    Only draws at another temperature than 1, and records of other policies, have such weights.
    """
    decisions = batch.columns["kind"] == Kind.DECISION
    policy, behavior = (batch.columns[f"{who}_log_prob"][decisions] for who in ("policy", "behavior"))
    # Both are rounded to float32: at β = β_min the quotient may be above by so much.
    above = policy.astype(np.float64) - behavior > -np.log(min_ratio) + _ROUNDING * (1.0 + np.abs(behavior))
    return float(above.mean()) if len(above) else 0.0


def return_scale(batch: TrajectoryBatch, *, discount: float) -> float:
    """Root mean square of the discounted returns-to-go of `batch`: the unit in which a value head is near 1.

        G_t = r_t + γ G_{t+1},   scale = sqrt(mean G_t²)

    Returns:
        The scale in reward units; 1.0 where every reward is 0, or too small for float32.

    Raises:
        EmptyBatchError: if there is no row.
        NonFiniteError: if the scale is too large for float32; it names the largest reward.
        ConfigError: if γ is out of [0, 1].
    """
    if not batch.num_steps:
        raise EmptyBatchError("the scale of returns needs at least one row")
    # With V = 0 and ρ = c = λ = 1, the value targets of V-trace are the returns.
    one, nothing = np.ones(batch.num_steps), np.zeros(batch.num_steps)
    estimates = _side_by_side(batch, nothing, np.zeros(len(batch)), rho=one, trace=one, decay=one, discount=discount)
    scale = float(np.sqrt(np.mean(np.square(estimates.value_targets))))
    limits = np.finfo(np.float32)
    if scale > float(limits.max):
        raise NonFiniteError("return scale", f"{scale:.3g} is too large for float32; {largest_reward(batch)}")
    return scale if scale >= float(limits.tiny) else 1.0


def largest_reward(batch: TrajectoryBatch) -> str:
    """Describe the reward of the greatest size, with its agent and tick, for errors."""
    row = np.argmax(np.abs(batch.rewards))
    return f"the largest reward is {batch.rewards[row]:.3g} ({agent_and_tick(batch, row)})"


def agent_and_tick(batch: TrajectoryBatch, row: np.integer) -> str:
    """Describe row `row` of `batch`, for errors."""
    return f"agent {batch.agent_ids[batch.trajectory_of_row[row]]!r}, tick {batch.ticks[row]}"


def _side_by_side(
    batch: TrajectoryBatch,
    values: NDArray[np.floating],
    end_values: NDArray[np.floating],
    *,
    rho: NDArray[np.float64],
    trace: NDArray[np.float64],
    decay: NDArray[np.float64],
    discount: float,
) -> Estimates:
    """`vtrace` of trajectories of any length: `values` and the weights are [R], `end_values` [B], the results [R].

    Trajectories become columns of time that end in the same row; those before whose beginning something is left to fill
    repeat their first step there. Only trajectories whose lengths have the same power of two share an array, so that
    the memory is at most twice [R], however unequal the lengths are.
    """
    starts, ends = batch.offsets[:-1], batch.offsets[1:]
    magnitudes = np.frexp(batch.lengths)[1]
    advantages, value_targets = np.empty(batch.num_steps), np.empty(batch.num_steps)
    for magnitude in np.unique(magnitudes):
        columns = np.flatnonzero(magnitudes == magnitude)
        rows = ends[columns] - np.arange(batch.lengths[columns].max(), 0, -1)[:, None]
        inside = rows >= starts[columns]
        rows = np.maximum(rows, starts[columns])
        part = vtrace(
            batch.rewards[rows].astype(np.float64),
            np.concatenate([values[rows], end_values[None, columns]]),
            np.zeros(rows.shape, np.bool_),
            rho=rho[rows],
            trace=trace[rows],
            decay=decay[rows],
            discount=discount,
        )
        advantages[rows[inside]] = part.advantages[inside]
        value_targets[rows[inside]] = part.value_targets[inside]
    return Estimates(advantages=advantages, value_targets=value_targets)


def _require_unit_interval(**fractions: float) -> None:
    for name, value in fractions.items():
        if not 0.0 <= value <= 1.0:
            raise ConfigError(f"`{name}` must be in [0, 1], got {value!r}")


def _require_shapes(
    rewards: NDArray[np.floating], values: NDArray[np.floating], **columns: NDArray[np.generic] | float
) -> None:
    if rewards.ndim != 2:
        raise ShapeError(f"`rewards` must be [T, B], got {rewards.shape}")
    num_steps, num_fragments = rewards.shape
    if values.shape != (num_steps + 1, num_fragments):
        raise ShapeError(f"`values` must be {(num_steps + 1, num_fragments)}, got {values.shape}")
    for name, column in columns.items():
        if np.shape(column) not in ((), rewards.shape):
            raise ShapeError(f"`{name}` must be {rewards.shape}, got {np.shape(column)}")


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


def balanced_weights(counts: NDArray[np.int64], sizes: Sequence[int]) -> NDArray[np.float64]:
    """Weights of classes such that all that there are count alike, and their mean over the labels is 1.

        w_a = n / (m n_a)          n labels, n_a of them a, m classes that there are; 1 where n_a = 0

    Args:
        counts: n_a [Σ A_k], the classes of all parts side by side.
        sizes: A_k of each part; of one choice among A actions, (A,).

    Returns:
        w [Σ A_k].
    """
    weights = np.ones(len(counts))
    for part in np.split(np.arange(len(counts)), np.cumsum(sizes)[:-1]):
        there = part[counts[part] > 0]
        weights[there] = counts[part].sum() / (len(there) * counts[there])
    return weights


def weighted_cross_entropy(log_probs: Tensor, actions: Tensor, weights: Tensor, *, sizes: Sequence[int]) -> Tensor:
    """Cross-entropy with weights of classes, which the policy's logits are rid of (prior correction, Saerens 2002).

        loss = -w_a log g(a),   g(a) ∝ w_a π(a)          for each part; of parts the sum

    The weighted fit finds g(a|s) ∝ w_a n(s, a), n(s, a) labels a in state s. So log g = log π + log w up to a constant,
    and π = g / w, renormalised: logit_a of π is that of g - log w_a, as of King & Zeng 2001, eq. 7. π is what the
    unweighted fit finds, where the network can tell all states apart; where it cannot, rare actions count for more.

    Args:
        log_probs: log π [N, Σ A_k], those of all parts side by side, of forbidden actions finfo.min.
        actions: [N], or [N, K].
        weights: w [Σ A_k], above 0.
        sizes: A_k of each part; of one choice among A actions, (A,).

    Returns:
        [N].
    """
    weighted = (log_probs + weights.log()).split(tuple(sizes), dim=-1)
    fitted = torch.cat([torch.log_softmax(part, dim=-1) for part in weighted], dim=-1)
    starts = torch.tensor([0, *sizes[:-1]], device=actions.device).cumsum(0)
    columns = actions.reshape(len(actions), -1) + starts
    return -(weights[columns] * fitted.gather(-1, columns)).sum(dim=-1)
