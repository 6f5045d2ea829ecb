"""Who must not meet whom: agents that would chat or stand in line with a rival wait instead."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .decisions import DecisionBatch
from .guardrails import Verdicts
from .views import View

CHAT_RIVAL = 0
"""The reason `chat_rival`, by its index into `RivalryGuardrail.reasons`."""
QUEUE_RIVAL = 1
"""The reason `queue_rival`, by its index into `RivalryGuardrail.reasons`."""


class RivalryView(View, Protocol):
    """What a world says of agents that are to be avoided. Whom to avoid is the world's own judgement."""

    def lines_up_with_rival(self, actions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each agent's action would have it ask for, or start with, an object that somebody to be avoided
        waits for, holds the turn at or uses; the agent itself is nobody to be avoided.

        Args:
            actions: [N].

        Returns:
            [N]; false for other actions, and for agents in the middle of a use: they go on, and line up nowhere.
        """

    def chats_with_rival(self, actions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each agent's action is a chat whose partner is somebody to be avoided.

        Args:
            actions: [N].

        Returns:
            [N]; false for other actions.
        """

    def record_blocks(self, rows: NDArray[np.int64], actions: NDArray[np.int64], reasons: NDArray[np.int8]) -> None:
        """Hear of what was not carried out because of a rival; told once a tick, after everything is settled.

        Args:
            rows: [R] of this view, ascending; R is at least 1.
            actions: [R]; what those agents had chosen.
            reasons: [R]; `CHAT_RIVAL` or `QUEUE_RIVAL`.
        """


class RivalryGuardrail:
    """Nobody chats with, or stands in line with, an agent that is to be avoided: the agent waits instead, whoever had
    chosen for it. The world is told afterwards, by `RivalryView.record_blocks`."""

    reasons = ("chat_rival", "queue_rival")

    def __init__(self, *, wait: int) -> None:
        self._wait = np.array(wait)

    def review(self, view: RivalryView, actions: NDArray[np.int64]) -> Verdicts:
        """Veto what would be done with a rival."""
        chats, lines_up = view.chats_with_rival(actions), view.lines_up_with_rival(actions)
        vetoed = chats | lines_up
        # False and True are the codes of the two reasons.
        reason = lines_up.view(np.int8)
        if not np.count_nonzero(vetoed):
            return Verdicts(vetoed=vetoed, replacement=actions, reason=reason)
        return Verdicts(vetoed=vetoed, replacement=np.where(vetoed, self._wait, actions), reason=reason)

    def settled(self, view: RivalryView, decisions: DecisionBatch) -> None:
        """Tell the world which choices were not carried out because of a rival.

        What counts is the choice itself, which one guardrail or another has stopped: a replacement that another
        guardrail had put in its place is nobody's wish.
        """
        judged = self.review(view, decisions.chosen_action)
        rows = np.flatnonzero(judged.vetoed)
        if len(rows):
            view.record_blocks(rows, decisions.chosen_action[rows], judged.reason[rows])
