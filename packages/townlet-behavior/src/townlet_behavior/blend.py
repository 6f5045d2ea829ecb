"""The blend of a script and a policy: its formulas, and the choices that come of it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from .decisions import Kind
from .views import where_rows

_T = TypeVar("_T", bound=np.generic)
Ratio = float | NDArray[np.float64]
"""β: one of all rows, or that of each, [N]."""


def blend(
    expert: NDArray[_T],
    learned: NDArray[_T],
    opinion: NDArray[np.bool_] | None,
    uniforms: NDArray[np.float64],
    ratio: Ratio,
) -> tuple[NDArray[_T], NDArray[np.bool_]]:
    """Choose the policy's action with probability `ratio`, else the script's (DAgger's mixture, Ross et al. 2011).

        chosen = learned if u < β and the policy has an opinion, else expert

    With u in [0, 1), β = 0 never and β = 1 always takes the policy's. With the same u a larger β never turns a learned
    choice into a scripted one.

    Args:
        expert: [N] or [N, K]; the script's actions.
        learned: of the same form; the policy's actions, any value where it has no opinion.
        opinion: [N], or None where the policy has one everywhere.
        uniforms: [N], in [0, 1).
        ratio: β in [0, 1], or that of each row [N].

    Returns:
        The chosen actions, and where they are the policy's [N] bool.
    """
    learned_drawn = uniforms < ratio
    if opinion is not None:
        learned_drawn &= opinion
    return where_rows(learned_drawn, learned, expert), learned_drawn


def mixture_log_prob(
    policy_log_prob: NDArray[np.float64], agrees: NDArray[np.bool_], ratio: Ratio
) -> NDArray[np.float64]:
    """Log-probability of an action under the blend.

        log μ(a) = log[β π(a) + (1 - β) 1[a = a_script]]

    Computed as logaddexp(log β + log π(a), log(1 - β)), so that a tiny π does not underflow.

    Args:
        policy_log_prob: log π(a), [N] float64.
        agrees: [N]; whether a is the script's action.
        ratio: β in [0, 1], or that of each row [N].

    Returns:
        [N] float64; -inf where μ(a) is 0.
    """
    log_ratio: Ratio
    log_rest: Ratio
    if isinstance(ratio, float):
        log_ratio, log_rest = _logs(ratio)
    else:  # a logarithm for each ratio gives all rows of one ratio the same bits
        levels, which = np.unique(ratio, return_inverse=True)
        log_ratio, log_rest = np.array([_logs(level) for level in levels.tolist()]).T.take(which.reshape(-1), axis=1)
    mixed: NDArray[np.float64] = np.logaddexp(policy_log_prob + log_ratio, np.where(agrees, log_rest, -math.inf))
    return mixed


def _logs(ratio: float) -> tuple[float, float]:
    """log β and log(1 - β)."""
    return math.log(ratio) if ratio > 0.0 else -math.inf, math.log1p(-ratio) if ratio < 1.0 else -math.inf


def tempered_log_probs(log_probs: NDArray[np.float32], temperatures: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-probabilities of a policy whose draws are made more or less random.

        log π_τ(a) = log π(a) / τ - log Σ_b exp(log π(b) / τ)

    The softmax with temperature (Ackley, Hinton & Sejnowski 1985): τ = 1 is π, τ → 0 its most probable actions, τ → ∞
    uniform over actions that are possible.

    Args:
        log_probs: log π, [N, A]; of impossible actions finfo(float32).min.
        temperatures: τ > 0, [N].

    Returns:
        [N, A] float64, normalised.
    """
    scaled: NDArray[np.float64] = log_probs.astype(np.float64)
    # Of impossible actions none becomes possible, however high the temperature.
    scaled[log_probs <= np.finfo(np.float32).min / 2] = -np.inf
    scaled /= temperatures.astype(np.float64)[:, None]
    scaled -= scaled.max(axis=1, keepdims=True)
    scaled -= np.log(np.exp(scaled).sum(axis=1, keepdims=True))
    return scaled


_FOREIGN = np.int8(Kind.FOREIGN)


class Choices(NamedTuple):
    """The choices after some steps of a decision, one row per agent."""

    action: NDArray[Any]
    """[N] or [N, K]."""
    kind: NDArray[np.int8]
    """[N]; `Kind`."""
    source: NDArray[np.int8]
    """[N]; `Source`."""

    def foreign_where(self, rows: NDArray[np.bool_], action: NDArray[Any], source: NDArray[np.int8]) -> Choices:
        """Replace the choices of `rows` [N] bool by others that no recorded probability describes.

        Args:
            rows: [N].
            action: [N] or [N, K].
            source: [N]; `Source`.
        """
        return Choices(
            where_rows(rows, action, self.action),
            np.where(rows, _FOREIGN, self.kind),
            np.where(rows, source, self.source),
        )
