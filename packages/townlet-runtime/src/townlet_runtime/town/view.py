"""The view of a town before a decision, for policies and scripted behaviors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from townlet_behavior.guardrails import CHAT_RIVAL
from townlet_runtime.simulation.interface import Observed
from townlet_runtime.town.arrays import Bools, Floats, Ints
from townlet_runtime.town.config import OBJECT_TYPES
from townlet_runtime.town.place import TABLE, Place
from townlet_runtime.town.relations import SHUNNED
from townlet_runtime.town.state import HOLDS_TURN, USING, Company, Targets, TownState

_EAT, _COOK, _WASH, _SLEEP = (TABLE.index(f"request:{kind}:first") for kind in OBJECT_TYPES)
_CHAT, _START = TABLE.index("chat"), TABLE.index("start")
_SHUNS = 0.5 * SHUNNED
"""Scores of chats below this are with somebody to avoid."""
_T = TypeVar("_T", bound=np.generic)


@dataclass(frozen=True, kw_only=True, eq=False)
class TownObserved(Observed):
    """An `Observed` that scripted behaviors can read (`townlet_behavior.ScriptedView`). It shows the state as it is,
    so it holds only until the next step."""

    action_mask: Bools
    state: TownState
    place: Place
    targets: Targets
    company: Company
    may_chat: Bools
    """[S]."""
    chats_possible: bool
    """Somebody may chat."""
    chat_scores: Floats
    """[S]; of `townlet_runtime.town.rules.social.chat_scores`."""
    rows: Ints | None
    """[N] slots of the rows; None where every slot is taken."""

    @property
    def using(self) -> Bools:
        """[N]; in the middle of a use."""
        return rows_of(self.state.phase == USING, self.rows)

    @property
    def holds_turn(self) -> Bools:
        """[N]; its turn at an object, not begun yet."""
        return rows_of(self.state.phase == HOLDS_TURN, self.rows)

    @property
    def needs(self) -> Floats:
        """[N, 3]; hunger, hygiene, energy in [0, 1]; 1 is satisfied."""
        return rows_of(self.state.needs, self.rows)

    @property
    def tick_of_day(self) -> Ints:
        """[N]."""
        ticks = np.empty(len(self.slots), dtype=np.int64)
        ticks.fill(self.state.tick % len(self.place.timetable.on))
        return ticks

    @property
    def shift_start(self) -> Ints:
        """[N]; tick of the day, -1 without a job."""
        return self.place.timetable.start[rows_of(self.state.job, self.rows)]

    @property
    def at_workplace(self) -> Bools:
        """[N]."""
        return rows_of(self.state.cell == self.state.workplace, self.rows)

    @property
    def can_eat(self) -> Bools:
        """[N]; some fridge holds a meal that the agent can pay, and it is free to ask for it."""
        return self.action_mask[:, _EAT]

    @property
    def can_cook(self) -> Bools:
        """[N]; some stove has ingredients that the agent can pay, and it is free to ask for it."""
        return self.action_mask[:, _COOK]

    @property
    def can_wash(self) -> Bools:
        """[N]; there is a shower that the agent can pay, and it is free to ask for it."""
        return self.action_mask[:, _WASH]

    @property
    def can_sleep(self) -> Bools:
        """[N]; there is a bed, and the agent is free to ask for it."""
        return self.action_mask[:, _SLEEP]

    @property
    def extroversion(self) -> Floats:
        """[N]; in [0, 1)."""
        return rows_of(self.state.extroversion, self.rows)

    @property
    def profile(self) -> Ints:
        """[N]; index into `townlet_behavior.personality.PROFILES`."""
        return rows_of(self.state.profile, self.rows)

    @property
    def can_chat(self) -> Bools:
        """[N]; it may chat, and the partner has a positive score and is nobody to avoid."""
        return rows_of(self.chat_scores > 0.0, self.rows)

    @property
    def rival_here(self) -> Bools:
        """[N]; somebody to avoid is on the same cell."""
        return rows_of(self.state.relations.meets(self.company.here), self.rows)

    @property
    def step_away(self) -> Ints:
        """[N]; the step to the first of east, west, south, north where nobody is; -1 where there is none."""
        sides = rows_of(self.company.here, self.rows)[:, None] + self.place.grid.steps
        free = self.action_mask[:, TABLE.moves] & (self.company.crowd.take(sides) == 0)
        return np.where(free.any(axis=1), TABLE.moves.start + free.argmax(axis=1), -1)

    def chats_with_rival(self, actions: Ints) -> Bools:
        """[N]; whether each of `actions` [N] is a chat with somebody to avoid."""
        relations = self.state.relations
        if not len(relations.avoiding):
            return np.zeros(len(actions), dtype=np.bool_)
        chats: Bools = actions == _CHAT
        chats &= rows_of(self.chat_scores < _SHUNS, self.rows)
        return chats

    def lines_up_with_rival(self, actions: Ints) -> Bools:
        """[N]; whether each of `actions` [N] asks for, or starts with, an object that somebody to avoid waits for,
        holds the turn at or uses. Not so of agents that are using an object."""
        avoiding, rival = self.state.relations.avoiding, self.state.relations.rival
        meets = np.zeros(len(self.state.cell), dtype=np.bool_)
        if not len(avoiding):
            return meets[: len(actions)]
        state = self.state
        full = np.zeros(len(meets), dtype=np.int64)
        full[self.slots] = actions
        goal = self.targets.goals(full)
        np.copyto(goal, state.object, where=full == _START)
        met = (goal[avoiding] >= 0) & (goal[avoiding] == state.object[rival]) & (state.phase[avoiding] != USING)
        meets[avoiding[met]] = True
        return rows_of(meets, self.rows)

    def record_blocks(self, rows: Ints, actions: Ints, reasons: NDArray[np.int8]) -> None:
        """Take note of actions that were vetoed because of a rival; a chat counts as failed in the coming tick.

        Args:
            rows: [R].
            actions: [R]; the choices of those agents.
            reasons: [R]; indices into the reasons of `townlet_behavior.RivalryGuardrail`.
        """
        chats = rows[reasons == CHAT_RIVAL]
        if chats.size:
            self.state.blocked[self.slots[chats]] = True
            self.state.some_blocked = True


def rows_of(column: NDArray[_T], rows: Ints | None) -> NDArray[_T]:
    """The rows of a column by slot; None: all of them, the column itself."""
    if rows is None:
        return column
    # Whole rows are taken five times as fast as they are indexed.
    return column[rows] if column.ndim == 1 else column.take(rows, axis=0)
