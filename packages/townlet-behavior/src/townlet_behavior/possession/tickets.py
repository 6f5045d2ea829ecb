"""Inputs of possessors: a ticket for each, and the queues in which they wait."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from itertools import chain
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import PossessionError, StateError
from ..forms import ActionForm, Actions, OneAction
from ..saving import SavedState, check_array, check_names

EndReason = Literal["executed", "vetoed", "released", "lapsed", "ended", "superseded"]
"""Why an input waits no more. `executed` and `vetoed`: it came to a decision. Else it came too late: the agent was
`released`, its lease had `lapsed`, the agent itself had `ended`, or the input was `superseded` by a later one."""
END_REASONS: tuple[EndReason, ...] = get_args(EndReason)
MAX_WAITING = 64
"""Inputs that may wait for one agent."""
KEPT_ENDS = 4096
"""Ended tickets that `InputQueues.take_ended` can still return; older ones are dropped."""
_MOST = 2**62


class TicketEnd(NamedTuple):
    """The end of an input."""

    reason: EndReason
    tick: int | None
    """Of the decision; None where the input never came to one."""


class Ticket:
    """An input that was accepted. It ends exactly once, and any thread may look at it or wait for its end.

    Attributes:
        number: counts the accepted inputs from 0; saved states keep it.
        slot: of the possessed agent.
        action: that was fed: an `int`, or a tuple of K indices or numbers.
        owner: who possesses the agent.
    """

    def __init__(
        self, number: int, slot: int, action: OneAction, owner: str | None, promise: Future[TicketEnd]
    ) -> None:
        self.number = number
        self.slot = slot
        self.action: Any = action
        self.owner = owner
        self._promise = promise

    @property
    def end(self) -> TicketEnd | None:
        """The end; None while the input waits."""
        return self._promise.result() if self._promise.done() else None

    def wait(self, timeout: float | None = None) -> TicketEnd | None:
        """Wait for the end, for at most `timeout` seconds; None where it has not come by then.

        To be called by another thread than the one that decides, and not while `Possession.lock` is held.
        """
        try:
            return self._promise.result(timeout)
        except TimeoutError:
            return None

    def __repr__(self) -> str:
        return f"Ticket(number={self.number}, slot={self.slot}, action={self.action}, end={self.end})"


class _Waiting(NamedTuple):
    ticket: Ticket
    promise: Future[TicketEnd]


class InputQueues:
    """The inputs that wait, by slot in their order, and counts of all that were ever accepted.

    Args:
        capacity: slots are below it.
        form: of the actions.
    """

    def __init__(self, *, capacity: int, form: ActionForm) -> None:
        self._form = form
        self._first = form.empty(capacity)
        """Actions of `capacity` rows; that of the first input that waits."""
        self._offered: dict[int, Ticket] = {}
        """By slot, the inputs that the decision being made is carrying out."""
        self._queues: dict[int, deque[_Waiting]] = {}
        self._ends = dict.fromkeys(END_REASONS, 0)
        self._accepted = 0
        self._ended: deque[Ticket] = deque(maxlen=KEPT_ENDS)

    def accept(self, slot: int, action: OneAction, owner: str | None) -> Ticket:
        """Let an input wait behind the others of its slot.

        Args:
            slot: of the agent.
            action: that exists.
            owner: who feeds it.

        Raises:
            PossessionError: if too many wait already.
        """
        queue = self._queues.get(slot, ())
        if len(queue) >= MAX_WAITING:
            raise PossessionError(f"at most {MAX_WAITING} inputs may wait, got one more", slot=slot)
        ticket = self._wait(self._accepted, slot, action, owner)
        self._accepted += 1
        return ticket

    def offer(self, slots: NDArray[np.int64]) -> Actions:
        """Return the actions of the first inputs of `slots` [N] for a decision, none where none waits."""
        actions: Actions = self._first.take(slots, axis=0)
        fed = slots[~self._form.silent(actions)]
        self._offered = {slot: self._queues[slot][0].ticket for slot in fed.tolist()}
        return actions

    def use_up(self, slots: NDArray[np.int64], vetoed: NDArray[np.bool_] | None, *, tick: int) -> None:
        """End the inputs that were offered for a decision, where they still wait: others came while it was made.

        Args:
            slots: [N]; of the decision.
            vetoed: [N]; whether it replaced the input; None: nowhere.
            tick: of the decision.
        """
        for row in np.flatnonzero(~self._form.silent(self._first.take(slots, axis=0))).tolist():
            slot = int(slots[row])
            if self._queues[slot][0].ticket is self._offered.get(slot):
                self._end_first(slot, TicketEnd("vetoed" if vetoed is not None and vetoed[row] else "executed", tick))

    def end_all(self, slot: int, reason: EndReason) -> None:
        """End every input that waits in `slot`, without a decision."""
        self._first[slot] = self._form.nothing
        for waiting in self._queues.pop(slot, ()):
            self._end(waiting, TicketEnd(reason, None))

    def waiting(self) -> list[Ticket]:
        """Return the tickets that wait, those of a slot in their order."""
        return [one.ticket for one in chain.from_iterable(self._queues.values())]

    def take_ended(self) -> list[Ticket]:
        """Return the tickets that ended since the last call, in the order of their ends; the newest if many did."""
        ended = list(self._ended)
        self._ended.clear()
        return ended

    def counts(self) -> dict[str, int]:
        """Return how many inputs were accepted, how many of them wait, and how many ended for each reason."""
        counts = {"accepted": self._accepted, "waiting": sum(map(len, self._queues.values()))}
        return counts | {str(reason): count for reason, count in self._ends.items()}

    def save_state(self) -> SavedState:
        """Return the inputs that wait, and the counts."""
        waiting = self.waiting()
        columns = {
            "slot": [ticket.slot for ticket in waiting],
            "number": [ticket.number for ticket in waiting],
            "accepted": self._accepted,
            "ends": list(self._ends.values()),
        }
        actions = np.array([ticket.action for ticket in waiting], self._form.dtype)
        return {
            "action": actions.reshape(len(waiting), *self._form.shape),
            **{name: np.array(values, np.int64) for name, values in columns.items()},
        }

    def check_state(self, state: SavedState) -> None:
        """Check that `restore` can use a state.

        Raises:
            StateError: if the state is of another capacity or vocabulary, or not of inputs.
        """
        check_names(state, ("slot", "action", "number", "accepted", "ends"), of="the inputs")
        like: NDArray[np.int64] = np.empty(state["slot"].size, np.int64)
        check_array(state, "slot", like=like, low=0, high=len(self._first) - 1)
        actions: Actions = np.empty((like.size, *self._form.shape), self._form.dtype)
        check_array(state, "action", like=actions, low=self._form.low, high=self._form.high)
        check_array(state, "accepted", like=np.array(0), low=0, high=_MOST)
        check_array(state, "number", like=like, low=0, high=int(state["accepted"]) - 1)
        check_array(state, "ends", like=np.empty(len(END_REASONS), np.int64), low=0, high=_MOST)
        num_ends, accepted = sum(state["ends"].tolist()), int(state["accepted"])
        if num_ends + like.size != accepted:
            raise StateError(f"saved `accepted` must be {num_ends} ends and {like.size} that wait, got {accepted}")
        if len(set(state["number"].tolist())) != like.size:
            raise StateError(f"saved `number` must be one for each input, got {state['number'].tolist()}")
        longest = int(np.bincount(state["slot"], minlength=1).max())
        if longest > MAX_WAITING:
            raise StateError(f"saved `slot` must have at most {MAX_WAITING} inputs for each agent, got {longest}")

    def restore(self, state: SavedState, owners: NDArray[np.object_]) -> None:
        """Replace counts and inputs, of which none may wait, by saved ones that have passed `check_state`.

        Args:
            state: of `save_state`.
            owners: [capacity]; who possesses each slot.
        """
        for slot, action, number in zip(*(state[name].tolist() for name in ("slot", "action", "number")), strict=True):
            self._wait(number, slot, self._form.read(action), owners[slot])
        self._accepted = int(state["accepted"])
        self._ends = dict(zip(END_REASONS, state["ends"].tolist(), strict=True))

    def _wait(self, number: int, slot: int, action: OneAction, owner: str | None) -> Ticket:
        promise: Future[TicketEnd] = Future()
        ticket = Ticket(number, slot, action, owner, promise)
        queue = self._queues.setdefault(slot, deque())
        if not queue:
            self._first[slot] = action
        queue.append(_Waiting(ticket, promise))
        return ticket

    def _end_first(self, slot: int, end: TicketEnd) -> None:
        queue = self._queues[slot]
        self._end(queue.popleft(), end)
        self._first[slot] = queue[0].ticket.action if queue else self._form.nothing
        if not queue:
            del self._queues[slot]

    def _end(self, waiting: _Waiting, end: TicketEnd) -> None:
        self._ends[end.reason] += 1
        self._ended.append(waiting.ticket)
        waiting.promise.set_result(end)
