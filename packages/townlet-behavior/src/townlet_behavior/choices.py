"""The steps of a decision as pure functions, in the order in which the bridge takes them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .arrays import gather
from .blend import blend, mixture_log_prob
from .codes import Kind, Source
from .commitment import Held
from .proposals import Proposals

_DECISION, _FORCED, _FOREIGN = (np.int8(kind) for kind in Kind)
_EXTERNAL = np.int8(Source.EXTERNAL)
_ZERO = np.float32(0.0)


class Choices(NamedTuple):
    """What is chosen so far, one row per agent."""

    action: NDArray[np.int64]
    """[N]."""
    kind: NDArray[np.int8]
    """[N]; `Kind`."""
    source: NDArray[np.int8]
    """[N]; `Source`."""


def script_alone(script: NDArray[np.int64]) -> Choices:
    """Without a policy the script decides, [N] actions, and there is nothing to learn a policy from."""
    return Choices(script, np.full(len(script), _FOREIGN), np.zeros(len(script), np.int8))


def blend_proposals(
    script: NDArray[np.int64], proposals: Proposals, draws: NDArray[np.float64], *, ratio: float, min_ratio: float
) -> Choices:
    """Draw between script [N] and policy with `draws` [N] in [0, 1).

    The steps are decisions where the probabilities describe the choice and the script's share is not so large that
    correcting for it would need weights above 1/min_ratio.
    """
    action, learned = blend(script, proposals.actions, proposals.opinion, draws, ratio)
    correctable = proposals.log_probs is not None and not proposals.greedy and ratio >= min_ratio
    if correctable and proposals.opinion is not None:
        kind = np.where(proposals.opinion, _DECISION, _FOREIGN)
    else:
        kind = np.full(len(script), _DECISION if correctable else _FOREIGN)
    # False and True are the codes of SCRIPTED and LEARNED.
    return Choices(action, kind, learned.view(np.int8))


def keep_commitments(choices: Choices, held: Held) -> Choices:
    """Where an option is in force it goes on, whatever was drawn, in the name of who began it."""
    bound = held.in_force
    if not np.count_nonzero(bound):
        return choices
    return Choices(
        np.where(bound, held.action, choices.action),
        np.where(bound, _FORCED, choices.kind),
        np.where(bound, held.source, choices.source),
    )


def obey_possessors(choices: Choices, possessed: NDArray[np.bool_], wishes: NDArray[np.int64], *, wait: int) -> Choices:
    """Where an agent is `possessed` [N] it does what its possessor wishes ([N], -1: nothing), or waits."""
    if not np.count_nonzero(possessed):
        return choices
    return Choices(
        np.where(possessed, np.where(wishes < 0, wait, wishes), choices.action),
        np.where(possessed, _FOREIGN, choices.kind),
        np.where(possessed, _EXTERNAL, choices.source),
    )


def log_probs(
    choices: Choices, script: NDArray[np.int64], proposals: Proposals | None, ratio: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """log π and log μ of the choices.

    Returns:
        [N] each; 0 on steps that are not decisions.
    """
    decision = choices.kind == _DECISION
    if proposals is None or proposals.log_probs is None or not np.count_nonzero(decision):
        zeros = np.zeros(len(script), np.float32)
        return zeros, zeros
    policy = gather(proposals.log_probs, choices.action)
    behavior = mixture_log_prob(policy.astype(np.float64), choices.action == script, ratio)
    return np.where(decision, policy, _ZERO), np.where(decision, behavior.astype(np.float32), _ZERO)
