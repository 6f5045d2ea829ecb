"""The steps of a decision as pure functions, in the order in which the bridge takes them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .commitment import Held
from .decisions import Kind, Source
from .proposals import Proposals
from .views import gather

Ratio = float | NDArray[np.float64]
"""β: one of all rows, or that of each, [N]."""


def blend(
    expert: NDArray[np.int64],
    learned: NDArray[np.int64],
    opinion: NDArray[np.bool_] | None,
    uniforms: NDArray[np.float64],
    ratio: Ratio,
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
        ratio: β in [0, 1], or that of each row [N].

    Returns:
        The chosen actions [N], and where they are the policy's [N] bool.
    """
    learned_drawn = uniforms < ratio
    if opinion is not None:
        learned_drawn &= opinion
    return np.where(learned_drawn, learned, expert), learned_drawn


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


_DECISION, _FORCED, _FOREIGN = (np.int8(kind) for kind in Kind)
_EXTERNAL = np.int8(Source.EXTERNAL)
_ZERO = np.float32(0.0)


class Choices(NamedTuple):
    """The choices after some steps of a decision, one row per agent."""

    action: NDArray[np.int64]
    """[N]."""
    kind: NDArray[np.int8]
    """[N]; `Kind`."""
    source: NDArray[np.int8]
    """[N]; `Source`."""

    def foreign_where(self, rows: NDArray[np.bool_], action: NDArray[np.int64], source: NDArray[np.int8]) -> Choices:
        """Replace the choices of `rows` [N] bool by others that no recorded probability describes.

        Args:
            rows: [N].
            action: [N].
            source: [N]; `Source`.
        """
        return Choices(
            np.where(rows, action, self.action),
            np.where(rows, _FOREIGN, self.kind),
            np.where(rows, source, self.source),
        )


def script_alone(script: NDArray[np.int64]) -> Choices:
    """Without a policy the script decides, [N] actions, and there is nothing to learn a policy from."""
    return Choices(script, np.full(len(script), _FOREIGN), np.zeros(len(script), np.int8))


def blend_proposals(
    script: NDArray[np.int64], proposals: Proposals, draws: NDArray[np.float64], *, ratio: Ratio, min_ratio: float
) -> Choices:
    """Choose between script and policy, and tell which steps are decisions.

    The steps are decisions where the probabilities describe the choice and the script's share is not so large that
    correcting for it would need weights above 1/min_ratio.

    Args:
        script: [N]; its actions.
        proposals: of the policy, of the same rows.
        draws: [N], in [0, 1).
        ratio: β in [0, 1], or that of each row [N].
        min_ratio: β_min in (0, 1].
    """
    action, learned = blend(script, proposals.actions, proposals.opinion, draws, ratio)
    correctable = proposals.log_probs is not None and not proposals.greedy
    if correctable and not isinstance(ratio, float):
        kind = np.where(ratio >= min_ratio, _DECISION, _FOREIGN)
    else:
        kind = np.full(len(script), _DECISION if correctable and ratio >= min_ratio else _FOREIGN)
    if proposals.opinion is not None:
        kind[~proposals.opinion] = _FOREIGN
    # False and True are the codes of SCRIPTED and LEARNED.
    return Choices(action, kind, learned.view(np.int8))


def keep_commitments(choices: Choices, held: Held) -> Choices:
    """Replace the choice where an option is in force: it goes on, in the name of the source that began it."""
    bound = held.in_force
    if not np.count_nonzero(bound):
        return choices
    return Choices(
        np.where(bound, held.action, choices.action),
        np.where(bound, _FORCED, choices.kind),
        np.where(bound, held.source, choices.source),
    )


def take_only_actions(choices: Choices, mask: NDArray[np.bool_] | None) -> Choices:
    """Replace the choice where the mask leaves a single action: an agent that cannot choose decides nothing.

    Args:
        choices: so far, N rows.
        mask: [N, A]; None: every action is legal.
    """
    if mask is None:
        return choices
    alone = np.add.reduce(mask, axis=1) == 1
    if not np.count_nonzero(alone):
        return choices
    return Choices(
        np.where(alone, mask.argmax(axis=1), choices.action),
        np.where(alone, _FORCED, choices.kind),
        choices.source,
    )


def obey_possessors(choices: Choices, possessed: NDArray[np.bool_], wishes: NDArray[np.int64], *, wait: int) -> Choices:
    """Replace the choices of possessed agents by their possessors' wishes, or by waiting.

    Args:
        choices: so far, N rows.
        possessed: [N].
        wishes: [N]; fed actions, -1 for none.
        wait: the action that does nothing.
    """
    if not np.count_nonzero(possessed):
        return choices
    return choices.foreign_where(possessed, np.where(wishes < 0, wait, wishes), np.full(len(wishes), _EXTERNAL))


def log_probs(
    choices: Choices, script: NDArray[np.int64], proposals: Proposals | None, ratio: Ratio
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Compute log π and log μ of the choices, μ with the temperatures at which the policy's actions were drawn.

    Args:
        choices: after commitments and possession, N rows.
        script: [N]; its actions.
        proposals: of the policy; None: there is none.
        ratio: β in [0, 1], or that of each row [N].

    Returns:
        [N] each; 0 on steps that are not decisions.
    """
    decision = choices.kind == _DECISION
    if proposals is None or proposals.log_probs is None or not np.count_nonzero(decision):
        zeros = np.zeros(len(script), np.float32)
        return zeros, zeros
    policy = np.where(decision, gather(proposals.log_probs, choices.action), _ZERO)
    acting = policy
    if proposals.temperatures is not None:
        rows = np.flatnonzero(decision & (proposals.temperatures != 1.0))
        tempered = tempered_log_probs(proposals.log_probs[rows], proposals.temperatures[rows])
        acting = policy.copy()
        acting[rows] = gather(tempered, choices.action[rows])
    if isinstance(ratio, float) and ratio == 1.0:  # log μ = log π
        return policy, acting
    behavior = mixture_log_prob(acting.astype(np.float64), choices.action == script, ratio)
    return policy, np.where(decision, behavior.astype(np.float32), _ZERO)
