"""The mixture of script and policy, and how likely it was to choose what it chose."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def blend(
    expert: NDArray[np.int64],
    learned: NDArray[np.int64],
    opinion: NDArray[np.bool_] | None,
    uniforms: NDArray[np.float64],
    ratio: float,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Choose the policy's action with probability `ratio`, else the script's (DAgger's mixture, Ross et al. 2011).

        chosen = learned if u < β and the policy has an opinion, else expert

    With u in [0, 1), β = 0 never and β = 1 always takes the policy's. With the same u a larger β never turns a learned
    choice into a scripted one.

    Args:
        expert: [N]; the script's actions.
        learned: [N]; the policy's actions, any value where it has no opinion.
        opinion: [N], or None where the policy has one everywhere.
        uniforms: [N], in [0, 1).
        ratio: β in [0, 1].

    Returns:
        The chosen actions [N], and where they are the policy's [N] bool.
    """
    learned_drawn = uniforms < ratio
    if opinion is not None:
        learned_drawn &= opinion
    return np.where(learned_drawn, learned, expert), learned_drawn


def mixture_log_prob(
    policy_log_prob: NDArray[np.float64], agrees: NDArray[np.bool_], ratio: float
) -> NDArray[np.float64]:
    """Log-probability of an action under the blend.

        log μ(a) = log[β π(a) + (1 - β) 1[a = a_script]]

    Computed as logaddexp(log β + log π(a), log(1 - β)), so that a tiny π does not underflow.

    Args:
        policy_log_prob: log π(a), [N] float64.
        agrees: [N]; whether a is the script's action.
        ratio: β in [0, 1].

    Returns:
        [N] float64; -inf where μ(a) is 0.
    """
    log_ratio = math.log(ratio) if ratio > 0.0 else -math.inf
    log_rest = math.log1p(-ratio) if ratio < 1.0 else -math.inf
    return np.logaddexp(policy_log_prob + log_ratio, np.where(agrees, log_rest, -math.inf))
