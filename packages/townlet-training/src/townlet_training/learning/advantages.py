"""Advantages and value targets: GAE and V-trace(λ), by columns of time, in numpy.

Time is the first axis: one Python step per tick over vectors of all trajectories.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from townlet_training.errors import ConfigError, ShapeError
from townlet_trajectory import Kind, TrajectoryBatch


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimates:
    """What a learner learns from, in the shape of the rewards."""

    advantages: NDArray[np.floating]
    """Â, in reward units."""
    value_targets: NDArray[np.floating]
    """v, in reward units."""


def gae(
    rewards: NDArray[np.floating],
    values: NDArray[np.floating],
    terminated: NDArray[np.bool_],
    *,
    discount: float,
    lambda_: float,
) -> Estimates:
    """Generalized advantage estimates of fragments of equal length (Schulman et al. 2016, arXiv:1506.02438, eq. 16).

        δ_t = r_t + γ (1 - terminated_t) V_{t+1} - V_t
        Â_t = δ_t + γλ (1 - terminated_t) Â_{t+1},   v_t = V_t + Â_t

    Args:
        rewards: [T, B].
        values: [T + 1, B]; the last row bootstraps a fragment that was cut off.
        terminated: [T, B]; true at true ends only, never at a time limit.
        discount: γ in [0, 1].
        lambda_: λ in [0, 1].

    Raises:
        ShapeError: if the shapes do not fit.
        ConfigError: if γ or λ is out of range.
    """
    _require_unit_interval(discount=discount, lambda_=lambda_)
    _require_shapes(rewards, values, terminated=terminated)
    alive = np.logical_not(terminated).astype(rewards.dtype)
    alive *= rewards.dtype.type(discount)
    advantages = alive * values[1:]
    advantages += rewards
    advantages -= values[:-1]
    alive *= rewards.dtype.type(lambda_)
    _accumulate(advantages[:-1], alive[:-1], advantages[1:])
    return Estimates(advantages=advantages, value_targets=advantages + values[:-1])


def vtrace(
    rewards: NDArray[np.floating],
    values: NDArray[np.floating],
    terminated: NDArray[np.bool_],
    *,
    rho: NDArray[np.floating],
    trace: NDArray[np.floating],
    decay: NDArray[np.floating],
    discount: float,
) -> Estimates:
    """V-trace(λ) of fragments of equal length (Espeholt et al. 2018, arXiv:1802.01561, eq. 1, with λ of remark 2).

        δ_t = r_t + γ (1 - terminated_t) V_{t+1} - V_t
        e_t = ρ_t δ_t + γ (1 - terminated_t) c_t λ_t e_{t+1}
        v_t = V_t + e_t
        Â_t = δ_t + γ (1 - terminated_t) λ_t e_{t+1}

    A step's own weight is not in its advantage: the policy loss multiplies by it. Equal to `gae` where ρ = c = 1 and
    λ is constant.

    Args:
        rewards: [T, B].
        values: [T + 1, B]; the last row bootstraps a fragment that was cut off.
        terminated: [T, B]; true at true ends only, never at a time limit.
        rho: ρ [T, B], weight of a step's own error, at least 0.
        trace: c [T, B], how far later errors count, in [0, 1].
        decay: λ_t [T, B] in [0, 1]; the last row has no effect.
        discount: γ in [0, 1].

    Raises:
        ShapeError: if the shapes do not fit.
        ConfigError: if γ is out of range.
    """
    _require_unit_interval(discount=discount)
    _require_shapes(rewards, values, terminated=terminated, rho=rho, trace=trace, decay=decay)
    alive = np.logical_not(terminated).astype(rewards.dtype)
    alive *= rewards.dtype.type(discount)
    advantages = alive * values[1:]
    advantages += rewards
    advantages -= values[:-1]
    alive *= decay
    errors = rho * advantages
    _accumulate(errors[:-1], (alive * trace)[:-1], errors[1:])
    advantages[:-1] += alive[:-1] * errors[1:]
    return Estimates(advantages=advantages, value_targets=errors + values[:-1])


def advantages_of(
    batch: TrajectoryBatch,
    values: NDArray[np.floating],
    final_values: NDArray[np.floating],
    *,
    discount: float,
    lambda_: float,
    min_ratio: float,
) -> Estimates:
    """V-trace(λ) of a batch of trajectories of any length, the blend's commitments and foreign steps included.

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
    last = batch.row_of_last
    next_values = np.empty(batch.num_steps)
    next_values[:-1] = values[1:]
    next_values[last] = np.where(batch.terminated, 0.0, final_values)
    advantages = batch.rewards + discount * next_values - values
    carry = np.full(batch.num_steps, discount * lambda_)
    carry[:-1][batch.columns["kind"][1:] == Kind.FORCED] = discount
    carry[last] = 0.0
    errors = _accumulated(rho * advantages, carry * trace, batch.offsets)
    advantages[:-1] += carry[:-1] * errors[1:]
    return Estimates(advantages=advantages, value_targets=errors + values)


def importance_weights(batch: TrajectoryBatch, *, min_ratio: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How much a step's own error counts, and how far later errors count through it.

        ρ = min(1 / β_min, π/μ),   c = min(1, π/μ)   at decisions; π/μ never exceeds 1/β, so ρ is not truncated
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


def discounted_returns(
    rewards: NDArray[np.floating], offsets: NDArray[np.int64], *, discount: float
) -> NDArray[np.float64]:
    """G_t = r_t + γ G_{t+1} [R], 0 after the last step of each trajectory.

    Args:
        rewards: [R], the rows of B trajectories one after the other.
        offsets: [B + 1], where each begins, and the end of the last.
        discount: γ in [0, 1].
    """
    _require_unit_interval(discount=discount)
    return _accumulated(rewards.astype(np.float64), np.full(len(rewards), discount), offsets)


def _accumulated(
    errors: NDArray[np.float64], carries: NDArray[np.float64], offsets: NDArray[np.int64]
) -> NDArray[np.float64]:
    """e_t + carry_t e_{t+1} from the back of every trajectory, without a padded copy.

    Rows are put in order of time within the trajectory, longest trajectory first, so that the rows at time t + 1 belong
    to the first trajectories of those at time t: memory stays [R], however unequal the lengths are.
    """
    lengths = np.diff(offsets)
    by_length = np.argsort(-lengths, kind="stable")
    rank = np.empty_like(by_length)
    rank[by_length] = np.arange(len(by_length))
    time = np.arange(len(errors)) - np.repeat(offsets[:-1], lengths)
    order = np.lexsort((np.repeat(rank, lengths), time))
    counts = np.bincount(time)
    starts = np.concatenate([[0], np.cumsum(counts)])
    packed_errors, packed_carries = errors[order], carries[order]
    spans = list(zip(starts[:-2].tolist(), starts[1:-1].tolist(), counts[1:].tolist(), strict=True))
    _accumulate(
        [packed_errors[now : now + count] for now, _, count in spans],
        [packed_carries[now : now + count] for now, _, count in spans],
        [packed_errors[later : later + count] for _, later, count in spans],
    )
    accumulated = np.empty_like(errors)
    accumulated[order] = packed_errors
    return accumulated


def _accumulate(
    errors: Iterable[NDArray[np.floating]],
    carries: Iterable[NDArray[np.floating]],
    later: Iterable[NDArray[np.floating]],
) -> None:
    """e_t += carry_t e_{t+1} in place from the last t to the first, over rows that are views; `carries` is consumed."""
    multiply, add = np.multiply, np.add
    rows = list(zip(errors, carries, later, strict=True))
    for error, carry, following in reversed(rows):
        multiply(carry, following, carry)
        add(error, carry, error)


def _require_unit_interval(**fractions: float) -> None:
    for name, value in fractions.items():
        if not 0.0 <= value <= 1.0:
            raise ConfigError(f"`{name}` must be in [0, 1], got {value!r}")


def _require_shapes(
    rewards: NDArray[np.floating], values: NDArray[np.floating], **columns: NDArray[np.generic]
) -> None:
    if rewards.ndim != 2:
        raise ShapeError(f"`rewards` must be [T, B], got {rewards.shape}")
    num_steps, num_fragments = rewards.shape
    if values.shape != (num_steps + 1, num_fragments):
        raise ShapeError(f"`values` must be {(num_steps + 1, num_fragments)}, got {values.shape}")
    for name, column in columns.items():
        if column.shape != rewards.shape:
            raise ShapeError(f"`{name}` must be {rewards.shape}, got {column.shape}")
