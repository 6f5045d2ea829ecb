"""Guardrails: rules with the last word, which may replace an action before the world sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .actions import ActionSpec
from .decisions import DecisionBatch, constants_of
from .errors import GuardrailError
from .forms import Actions, IndexForm, form_of
from .views import View, where_rows

_NO_REASON = 0
_INT64, _FLOAT32, _INT8, _BOOL = np.dtype(np.int64), np.dtype(np.float32), np.dtype(np.int8), np.dtype(np.bool_)


@dataclass(frozen=True, kw_only=True, eq=False)
class Verdicts:
    """A guardrail's answer, one row per agent of the view.

    Raises:
        GuardrailError: if a field has another shape or dtype than stated.
    """

    vetoed: NDArray[np.bool_]
    """[N]."""
    replacement: Actions
    """The actions in their place, int64 [N], int64 [N, K] or float32 [N, K], read where vetoed."""
    reason: NDArray[np.int8]
    """[N]; index into the guardrail's `reasons`, read where vetoed."""

    def __post_init__(self) -> None:
        shape = self.vetoed.shape
        if self.vetoed.ndim != 1 or self.vetoed.dtype != _BOOL:
            raise GuardrailError(f"`vetoed` must be bool [N], got {self.vetoed.dtype} {shape}")
        replacement = self.replacement
        if replacement.shape != shape or replacement.dtype != _INT64:
            array = replacement.ndim == 2 and len(replacement) == len(self.vetoed)
            if not array or replacement.dtype not in (_INT64, _FLOAT32):
                raise GuardrailError(
                    f"`replacement` must be int64 {shape}, or int64 or float32 ({shape[0]}, K),"
                    f" got {replacement.dtype} {replacement.shape}"
                )
        if self.reason.shape != shape or self.reason.dtype != _INT8:
            raise GuardrailError(f"`reason` must be int8 {shape}, got {self.reason.dtype} {self.reason.shape}")


class Guardrail(Protocol):
    """Judges the actions that are about to be executed, of every source."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Names of the reasons it can give."""

    def review(self, view: Any, actions: Any) -> Verdicts:
        """Judge the `actions` that the world would get, N rows: int64 [N], int64 [N, K] or float32 [N, K].

        As with `BatchController`, the view is the one that the bridge was given.
        """

    def settled(self, view: Any, decisions: DecisionBatch) -> None:
        """Learn the executed actions of a tick with a veto; the world is told of vetoes here alone."""


class StatelessGuardrail:
    """Implements the part of a `Guardrail` that tells the world, for guardrails with nothing to tell."""

    def settled(self, view: View, decisions: DecisionBatch) -> None:
        """Do nothing: there is nothing to tell."""


class ActionMaskGuardrail(StatelessGuardrail):
    """Replaces actions that the view's mask forbids by waiting, or by the first legal one where it forbids that too.

    Of an action of several parts those are replaced that are forbidden.

    Args:
        wait: index of the action that does nothing; not read where `actions` are given.
        actions: of the agents; None: they have an index.
    """

    reasons = ("action_mask",)

    def __init__(self, *, wait: int = 0, actions: ActionSpec | None = None) -> None:
        self._form = IndexForm(wait + 1, wait=wait) if actions is None else form_of(actions)

    def review(self, view: View, actions: Actions) -> Verdicts:
        """Veto what `view.action_mask` forbids.

        Raises:
            GuardrailError: if an agent has no legal action; names its slot.
        """
        mask, form, reason = view.action_mask, self._form, np.zeros(len(actions), np.int8)
        if mask is None:
            return Verdicts(vetoed=reason.view(np.bool_), replacement=actions, reason=reason)
        vetoed = ~form.legal(mask, actions)
        if not np.count_nonzero(vetoed):
            return Verdicts(vetoed=vetoed, replacement=actions, reason=reason)
        stuck = form.stuck(mask)
        if np.count_nonzero(stuck):
            raise GuardrailError(
                "every agent must have a legal action, its mask has none", slot=int(view.slots[stuck.argmax()])
            )
        return Verdicts(vetoed=vetoed, replacement=form.replaced(mask, actions), reason=reason)


class Reviewed(NamedTuple):
    """The chosen actions after all guardrails."""

    action: Actions
    """To be executed, N rows."""
    vetoed: NDArray[np.bool_]
    """[N]; at least one guardrail objected."""
    reason: NDArray[np.int8]
    """[N]; 0, or 1 + index into all reasons: of the first objection, which is the one against the choice itself."""


def veto_reasons_of(guardrails: Sequence[Guardrail]) -> tuple[str, ...]:
    """Return the names of the reasons of vetoes under `guardrails`, the action mask's first.

    `veto_reason` of a decision is 1 + index into this; a recorder keeps the names in its schema.

    Raises:
        GuardrailError: if two reasons have the same name.
    """
    reasons = (*ActionMaskGuardrail.reasons, *(reason for guardrail in guardrails for reason in guardrail.reasons))
    if len(set(reasons)) != len(reasons):
        raise GuardrailError(f"the names of veto reasons must be unique, got {reasons}")
    return reasons


class GuardrailChain:
    """Applies the action mask, then the given guardrails in their order, each to the result of those before it.

    Examples:
        >>> import numpy as np
        >>> from townlet_behavior import ActionVocabulary
        >>> from townlet_behavior.testing import plain_view
        >>> view = plain_view(["ann", "bob"], action_mask=np.array([[True, True], [True, False]]))
        >>> chain = GuardrailChain([], ActionVocabulary(keys=("wait", "dig"), kinds=("wait", "work")))
        >>> reviewed = chain.review(view, np.array([1, 1]))
        >>> reviewed.action.tolist(), reviewed.vetoed.tolist(), chain.reasons
        ([1, 0], [False, True], ('action_mask',))

    Args:
        guardrails: in the order in which they judge.
        actions: of the agents.

    Raises:
        GuardrailError: if two reasons have the same name.
    """

    def __init__(self, guardrails: Sequence[Guardrail], actions: ActionSpec) -> None:
        self.reasons = veto_reasons_of(guardrails)
        self._mask, self._others = ActionMaskGuardrail(actions=actions), tuple(guardrails)
        self._form = form_of(actions)

    def review(self, view: View, actions: Actions) -> Reviewed:
        """Let every guardrail judge the actions that the world would get, N rows.

        Raises:
            GuardrailError: if verdicts are not for this view, or a replacement or reason does not exist, or the mask
                forbids a replacement.
        """
        constants = constants_of(len(actions))
        reviewed = Reviewed(actions, constants.nowhere, constants.codes[_NO_REASON])
        mask = view.action_mask
        # Nearly always every action is legal, which is quickly seen.
        if mask is not None and np.count_nonzero(self._form.legal(mask, actions)) != len(actions):
            reviewed = self._apply(self._mask, view, reviewed, first_reason=1)
        first_reason = 1 + len(self._mask.reasons)
        for guardrail in self._others:
            reviewed = self._apply(guardrail, view, reviewed, first_reason=first_reason)
            first_reason += len(guardrail.reasons)
        return reviewed

    def settled(self, view: View, decisions: DecisionBatch) -> None:
        """Tell every guardrail the executed actions of a tick with a veto."""
        for guardrail in (self._mask, *self._others):
            guardrail.settled(view, decisions)

    def _apply(self, guardrail: Guardrail, view: View, before: Reviewed, *, first_reason: int) -> Reviewed:
        verdicts = guardrail.review(view, before.action)
        vetoed = verdicts.vetoed
        if len(vetoed) != len(before.action):
            raise GuardrailError(
                f"{type(guardrail).__name__} must judge the {len(before.action)} agents of the view,"
                f" got {len(vetoed)} verdicts"
            )
        if not np.count_nonzero(vetoed):
            return before
        self._check_vetoes(guardrail, verdicts, view)
        return Reviewed(
            where_rows(vetoed, verdicts.replacement, before.action),
            vetoed | before.vetoed,
            np.where(vetoed > before.vetoed, verdicts.reason + np.int8(first_reason), before.reason),
        )

    def _check_vetoes(self, guardrail: Guardrail, verdicts: Verdicts, view: View) -> None:
        rows, form = np.flatnonzero(verdicts.vetoed), self._form
        actions, reasons = verdicts.replacement[rows], verdicts.reason[rows]
        if actions.shape[1:] != form.shape or actions.dtype != form.dtype:
            raise GuardrailError(
                f"{type(guardrail).__name__} must replace by actions of {form.dtype} {form.shape},"
                f" got {actions.dtype} {actions.shape[1:]}"
            )
        if np.count_nonzero(form.known(actions)) != len(rows):
            raise GuardrailError(f"{type(guardrail).__name__} must replace by actions in {form}, got {actions}")
        if reasons.min() < 0 or reasons.max() >= len(guardrail.reasons):
            raise GuardrailError(
                f"{type(guardrail).__name__} must give reasons in [0, {len(guardrail.reasons)}), got {reasons}"
            )
        if view.action_mask is not None:
            legal = form.legal(view.action_mask[rows], actions)
            if np.count_nonzero(legal) != len(rows):
                row = legal.argmin()
                raise GuardrailError(
                    f"{type(guardrail).__name__} must replace by legal actions,"
                    f" got {actions[row]}, which the mask forbids",
                    slot=int(view.slots[rows[row]]),
                )


CHAT_RIVAL = 0
"""The reason `chat_rival`, by its index into `RivalryGuardrail.reasons`."""
QUEUE_RIVAL = 1
"""The reason `queue_rival`, by its index into `RivalryGuardrail.reasons`."""


class RivalryView(View, Protocol):
    """Shows which actions would meet an agent that is to be avoided, by the world's own judgement."""

    def lines_up_with_rival(self, actions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell whether each action asks for, or starts with, an object at which an agent to be avoided is.

        That one waits for it, holds its turn or uses it; no agent is to be avoided by itself.

        Args:
            actions: [N].

        Returns:
            [N]; false for other actions, and for agents in the middle of a use: they go on, and line up nowhere.
        """

    def chats_with_rival(self, actions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell whether each action is a chat with an agent that is to be avoided.

        Args:
            actions: [N].

        Returns:
            [N]; false for other actions.
        """

    def record_blocks(self, rows: NDArray[np.int64], actions: NDArray[np.int64], reasons: NDArray[np.int8]) -> None:
        """Take note of actions that were not carried out because of a rival; called at most once a tick, at its end.

        Args:
            rows: [R] of this view, ascending; R is at least 1.
            actions: [R]; the choices of those agents.
            reasons: [R]; `CHAT_RIVAL` or `QUEUE_RIVAL`.
        """


class RivalryGuardrail:
    """Replaces chats and lines with an agent that is to be avoided by waiting, of every source.

    The world is told afterwards, by `RivalryView.record_blocks`.
    """

    reasons = ("chat_rival", "queue_rival")

    def __init__(self, *, wait: int) -> None:
        self._wait = np.array(wait)

    def review(self, view: RivalryView, actions: NDArray[np.int64]) -> Verdicts:
        """Veto the `actions` [N] that would meet a rival."""
        chats, lines_up = view.chats_with_rival(actions), view.lines_up_with_rival(actions)
        vetoed = chats | lines_up
        # False and True are the codes of the two reasons.
        reason = lines_up.view(np.int8)
        if not np.count_nonzero(vetoed):
            return Verdicts(vetoed=vetoed, replacement=actions, reason=reason)
        return Verdicts(vetoed=vetoed, replacement=np.where(vetoed, self._wait, actions), reason=reason)

    def settled(self, view: RivalryView, decisions: DecisionBatch) -> None:
        """Tell the world which choices were not carried out because of a rival.

        The choice itself counts, which one guardrail or another has stopped, not a replacement that another guardrail
        has put in its place.
        """
        judged = self.review(view, decisions.chosen_action)
        rows = np.flatnonzero(judged.vetoed)
        if len(rows):
            view.record_blocks(rows, decisions.chosen_action[rows], judged.reason[rows])
