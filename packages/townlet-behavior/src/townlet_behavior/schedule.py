"""Agents that follow a fixed list of actions, over and over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .actions import ActionSpec
from .batch_controllers import BatchController
from .controllers import Avoiding, Cancellable, Controller, Informed
from .decisions import DecisionBatch
from .errors import ConfigError, ShapeError, StateError, UnknownActionError
from .forms import Actions, OneAction, one_form
from .intent import AgentIntent
from .proposers import ProposerAware, proposed_by, proposers_of
from .saving import SavedState, check_array, check_names, join_groups, split_groups
from .views import View, WorldView, same_rows, where_rows

SCHEDULE = "schedule"
"""Name of the proposer of agents that follow a schedule."""


class ScheduleController:
    """Plays each scheduled agent's list in a loop; another controller proposes for agents without one.

    An agent goes on to its next entry only when the last one was really executed: a possession, a veto or the policy's
    choice of something else makes it wait its turn, not skip.

    Args:
        capacity: slots are below it.
        num_actions: actions of the vocabulary; None: they are of `actions`.
        actions: of the agents.
        otherwise: proposes for agents without a schedule.

    Raises:
        ConfigError: if not one of `num_actions` and `actions` is given.
    """

    def __init__(
        self,
        *,
        capacity: int,
        num_actions: int | None = None,
        actions: ActionSpec | None = None,
        otherwise: BatchController,
    ) -> None:
        self._form = one_form(num_actions, actions)
        self._otherwise = otherwise
        self._aware = otherwise if isinstance(otherwise, ProposerAware) else None
        self._entries: Actions = self._form.empty(capacity)[:, None]
        """Actions of [capacity, L] entries, none beyond the length of each schedule."""
        self._lengths: NDArray[np.int64] = np.ones(capacity, np.int64)
        self._positions: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._others: Actions = self._form.empty(0)
        """Last proposals of the other controller, N rows."""

    def assign(self, slot: int, actions: Sequence[OneAction]) -> None:
        """Give the agent in `slot` a schedule, from its first entry on.

        Raises:
            ShapeError: if the slot does not exist.
            ConfigError: if the list is empty.
            UnknownActionError: if there is no such action as an entry.
        """
        if not 0 <= slot < len(self._entries):
            raise ShapeError(f"`slot` must be in [0, {len(self._entries)}), got {slot}")
        if not actions:
            raise ConfigError(f"the schedule of slot {slot} must have at least one action, got none")
        try:
            entries = np.array([self._form.one(action) for action in actions], self._form.dtype)
        except UnknownActionError as error:
            raise UnknownActionError(
                f"the schedule of slot {slot} must hold actions in {self._form}, got {list(actions)}"
            ) from error
        missing = len(actions) - self._entries.shape[1]
        if missing > 0:
            widths = ((0, 0), (0, missing), *[(0, 0)] * len(self._form.shape))
            self._entries = np.pad(self._entries, widths, constant_values=self._form.nothing)
        self._entries[slot, : len(actions)] = entries
        self._lengths[slot] = len(actions)
        self._positions[slot] = 0

    def propose(self, view: View) -> Actions:
        """N rows; the current entry of each schedule, else the other controller's proposal."""
        scheduled, self._others = self._current(view), self._otherwise.propose(view)
        return where_rows(self._form.silent(scheduled), self._others, scheduled)

    @property
    def proposers(self) -> tuple[str, ...]:
        """Those of the other controller, and `schedule`."""
        return (*proposers_of(self._otherwise), SCHEDULE)

    def proposed_by(self, view: View) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
        """[N] each; see `ProposerAware`."""
        scheduled = ~self._form.silent(self._current(view))
        proposer, age = proposed_by(self._aware, view, self._form.silent(self._others) & ~scheduled)
        return np.where(scheduled, np.int8(len(self.proposers) - 1), proposer), np.where(scheduled, np.int32(0), age)

    def settled(self, view: View, decisions: DecisionBatch) -> None:
        """Advance the schedules whose current entry was executed."""
        slots = view.slots[same_rows(decisions.action, self._current(view))]
        self._positions[slots] = (self._positions[slots] + 1) % self._lengths[slots]
        self._otherwise.settled(view, decisions)

    def forget(self, slots: NDArray[np.int64]) -> None:
        """Agents that left lose their schedule."""
        self._entries[slots] = self._form.nothing
        self._lengths[slots] = 1
        self._positions[slots] = 0
        self._otherwise.forget(slots)

    def save_state(self) -> SavedState:
        """The schedules, the position in each, and the other controller's plans."""
        own = {"entries": self._entries.copy(), "lengths": self._lengths.copy(), "positions": self._positions.copy()}
        return join_groups({"schedule": own, "otherwise": self._otherwise.save_state()})

    def restore(self, state: SavedState) -> None:
        """Replace schedules, positions and plans by the saved ones.

        Raises:
            StateError: if the state is of another capacity, vocabulary or kind of controller; then nothing has changed.
        """
        parts = split_groups(state, ("schedule", "otherwise"))
        own = parts["schedule"]
        check_names(own, ("entries", "lengths", "positions"), of="the schedules")
        capacity, longest = len(self._entries), own["entries"].shape[-1] if own["entries"].ndim else 0
        self._check_entries(own, np.empty((capacity, longest, *self._form.shape), self._form.dtype))
        check_array(own, "lengths", like=self._lengths, low=1, high=longest)
        check_array(own, "positions", like=self._positions, low=0, high=longest - 1)
        if np.any(own["positions"] >= own["lengths"]):
            raise StateError("saved `positions` must be below `lengths`, got one that is not")
        self._otherwise.restore(parts["otherwise"])
        self._entries, self._lengths = own["entries"].copy(), own["lengths"].copy()
        self._positions = own["positions"].copy()

    def _check_entries(self, own: SavedState, like: Actions) -> None:
        entries = own["entries"]
        if entries.dtype != like.dtype or entries.shape != like.shape:
            raise StateError(f"saved `entries` must be {like.dtype} {like.shape}, got {entries.dtype} {entries.shape}")
        rows = entries.reshape(-1, *self._form.shape)
        possible = self._form.proposed(rows)
        if not possible.all():
            wrong = rows[possible.argmin()]
            raise StateError(f"saved `entries` must be in {self._form} or {self._form.nothing}, got {wrong}")

    def _current(self, view: View) -> Actions:
        return self._entries[view.slots, self._positions[view.slots]]


class ScheduledBehavior:
    """Plays each scheduled agent's intents in a loop, for plain worlds; another controller decides for the others.

    An agent goes on to its next intent when the last one was really executed, as with `ScheduleController`. An intent
    that is `blocked` is to wait for a tick. The other controller is told of all agents, and keeps its say about whom to
    avoid.

    Args:
        otherwise: decides for agents without a schedule.
        schedules: by agent, at least one intent each.

    Raises:
        ConfigError: if a schedule is empty; names the agent.
    """

    def __init__(
        self, otherwise: Controller[WorldView, AgentIntent], schedules: Mapping[str, Sequence[AgentIntent]]
    ) -> None:
        empty = sorted(agent_id for agent_id, intents in schedules.items() if not intents)
        if empty:
            raise ConfigError(f"a schedule must have at least one intent, that of {empty[0]!r} has none")
        self._otherwise = otherwise
        self._schedules = {agent_id: tuple(intents) for agent_id, intents in schedules.items()}
        self._positions = dict.fromkeys(self._schedules, 0)

    def decide(self, world: WorldView, agent_id: str, /) -> AgentIntent:
        """Return the current intent of the agent's schedule, else the other controller's."""
        if agent_id not in self._schedules:
            return self._otherwise.decide(world, agent_id)
        intents = self._schedules[agent_id]
        intent = intents[self._positions[agent_id] % len(intents)]
        return AgentIntent(kind="wait") if intent.blocked else intent

    def settled(self, world: WorldView, agent_id: str, intent: AgentIntent, /) -> None:
        """Advance the agent's schedule if its intent was executed; see `Informed.settled`."""
        if agent_id in self._schedules and intent == self.decide(world, agent_id):
            self._positions[agent_id] += 1
        if isinstance(self._otherwise, Informed):
            self._otherwise.settled(world, agent_id, intent)

    def cancel_pending(self, agent_id: str, /) -> None:
        """Let the other controller give up its plan."""
        if isinstance(self._otherwise, Cancellable):
            self._otherwise.cancel_pending(agent_id)

    def should_avoid(self, world: WorldView, agent_id: str, other_id: str, /) -> bool:
        """Return the judgement of the other controller, else the world's; see `Avoiding.should_avoid`."""
        if isinstance(self._otherwise, Avoiding):
            return bool(self._otherwise.should_avoid(world, agent_id, other_id))
        return world.rivalry_should_avoid(agent_id, other_id)
