"""The steps of a decision as pure functions, in the order in which the bridge takes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .blend import Choices, Ratio, blend, mixture_log_prob
from .commitment import Held
from .decisions import Kind, Source, constants_of
from .forms import ActionForm, Actions
from .proposals import Proposals
from .views import same_rows, where_rows

_DECISION, _FORCED, _FOREIGN = (np.int8(kind) for kind in Kind)
_EXTERNAL = np.int8(Source.EXTERNAL)
_ZERO = np.float32(0.0)


def script_alone(script: Actions) -> Choices:
    """Without a policy the script decides, N actions, and there is nothing to learn a policy from."""
    codes = constants_of(len(script)).codes
    return Choices(script, codes[Kind.FOREIGN], codes[Source.SCRIPTED])


def blend_proposals(
    script: Actions,
    proposals: Proposals,
    draws: NDArray[np.float64],
    *,
    ratio: Ratio,
    min_ratio: float,
    switch: bool = False,
) -> Choices:
    """Choose between script and policy, and tell which steps are decisions.

    The steps are decisions where the probabilities describe the choice and the script's share is not so large that
    correcting for it would need weights above 1/min_ratio. With `switch` they are decisions where the policy decided.

    Args:
        script: its actions, N rows.
        proposals: of the policy, of the same rows.
        draws: [N], in [0, 1).
        ratio: β in [0, 1], or that of each row [N].
        min_ratio: β_min in (0, 1]; not read with `switch`.
        switch: see `BridgeConfig.blend`.
    """
    correctable = proposals.has_probabilities and not proposals.greedy
    if isinstance(ratio, float) and ratio == 1.0 and proposals.opinion is None:
        # The policy alone: what follows would say the same of every row, for a third of a tick of ten agents.
        codes = constants_of(len(script)).codes
        kind = codes[Kind.DECISION if correctable else Kind.FOREIGN]
        return Choices(proposals.actions.copy(), kind, codes[Source.LEARNED])
    action, learned = blend(script, proposals.actions, proposals.opinion, draws, ratio)
    if correctable and switch:
        kind = np.where(learned, _DECISION, _FOREIGN)
    elif correctable and not isinstance(ratio, float):
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


def take_only_actions(choices: Choices, mask: NDArray[np.bool_] | None, form: ActionForm) -> Choices:
    """Replace the choice where the mask leaves a single action: an agent that cannot choose decides nothing.

    Args:
        choices: so far, N rows.
        mask: [N, columns of the form]; None: every action is legal.
        form: of the actions.
    """
    if mask is None:
        return choices
    alone = form.only(mask)
    if not np.count_nonzero(alone):
        return choices
    return Choices(
        where_rows(alone, form.first(mask), choices.action),
        np.where(alone, _FORCED, choices.kind),
        choices.source,
    )


def obey_possessors(choices: Choices, possessed: NDArray[np.bool_], wishes: Actions, form: ActionForm) -> Choices:
    """Replace the choices of possessed agents by their possessors' wishes, or by waiting.

    Args:
        choices: so far, N rows.
        possessed: [N].
        wishes: fed actions, N rows.
        form: of the actions.
    """
    if not np.count_nonzero(possessed):
        return choices
    obeyed = where_rows(form.silent(wishes), form.wait, wishes)
    return choices.foreign_where(possessed, obeyed, np.full(len(wishes), _EXTERNAL))


def log_probs(
    choices: Choices,
    script: Actions,
    proposals: Proposals | None,
    ratio: Ratio,
    form: ActionForm,
    *,
    switch: bool = False,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Compute log π and log μ of the choices, μ with the temperatures at which the policy's actions were drawn.

    Args:
        choices: after commitments and possession, N rows.
        script: its actions, N rows.
        proposals: of the policy; None: there is none.
        ratio: β in [0, 1], or that of each row [N].
        form: of the actions.
        switch: whether μ = π, see `BridgeConfig.blend`.

    Returns:
        [N] each; 0 on steps that are not decisions.
    """
    decision = choices.kind == _DECISION
    if proposals is not None and proposals.drawn_log_probs is not None:
        # Numbers are not mixed: wherever there is a decision it is the policy's own draw.
        policy = np.where(decision, proposals.drawn_log_probs, _ZERO)
        return policy, policy
    num_decisions = np.count_nonzero(decision)
    if proposals is None or proposals.log_probs is None or not num_decisions:
        zeros = constants_of(len(script)).zeros
        return zeros, zeros
    policy = form.log_prob(proposals.log_probs, choices.action)
    if num_decisions < len(script):
        policy = np.where(decision, policy, _ZERO)
    acting = policy
    if proposals.temperatures is not None:
        rows = np.flatnonzero(decision & (proposals.temperatures != 1.0))
        tempered = form.tempered(proposals.log_probs[rows], proposals.temperatures[rows])
        acting = policy.copy()
        acting[rows] = form.log_prob(tempered, choices.action[rows])
    if switch or (isinstance(ratio, float) and ratio == 1.0):  # log μ = log π
        return policy, acting
    behavior = mixture_log_prob(acting.astype(np.float64), same_rows(choices.action, script), ratio)
    return policy, np.where(decision, behavior.astype(np.float32), _ZERO)
