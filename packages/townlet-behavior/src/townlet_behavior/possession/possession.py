"""Possession: agents that a person or a program has taken over, and how they are handed over."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..actions import ActionSpec
from ..decisions import constants_of
from ..errors import PossessionError, StateError
from ..forms import Actions, OneAction, one_form
from ..saving import SavedState, check_array, check_names, join_groups, restore_names, save_names, split_groups
from .handover import Handover
from .locks import CallbackLock
from .presence import Presence
from .tickets import EndReason, InputQueues, Ticket

_FOR_EVER = 2**62
_FREE = -(2**62)
_PARTS = ("leases", "owners", "inputs", "handover")
_Name = TypeVar("_Name")


class Possession:
    """The agents that are possessed, by slot: by whom, until when, and the inputs that wait to be carried out.

    People's calls (`acquire`, `feed`, `renew`, `release`) may come from any thread at any time; one that comes while a
    decision is made waits until it is settled, so that one caller at a time possesses an agent. They refuse slots that
    hold nobody. Every input that `feed` takes is a `Ticket` that ends exactly once: executed or vetoed by a decision,
    or too late for one.

    The bridge's calls (`present`, `wishes`, `handed_over`, `use_up`) belong together: `lock` is held from the first of
    a decision to the last. What a script or a guardrail feeds while it is made is for the next one.

    Examples:
        >>> possession = Possession(capacity=4, num_actions=3, on_acquire=lambda slot: None)
        >>> possession.present(np.array([2, 3]))
        >>> possession.acquire(2, tick=0, owner="ann")
        True
        >>> possession.acquire(2, tick=0, owner="bob")
        False
        >>> ticket = possession.feed(2, 1, owner="ann")
        >>> possession.release(2, owner="ann")
        True
        >>> ticket.end
        TicketEnd(reason='released', tick=None)

    Args:
        capacity: slots are below it.
        num_actions: actions that can be fed are below it; None: they are of `actions`.
        actions: of the agents.
        on_acquire: called with the slot of every agent that is taken over, once, while `lock` is held.
        on_end: told of slots, as `tell_ends` says.
        handover_ticks: k of `handed_over`.

    Attributes:
        lock: held by every call, and by the bridge from before a decision until it is settled. Hold it to make one step
            of several calls.

    Raises:
        ConfigError: if `handover_ticks` is negative, or not one of `num_actions` and `actions` is given.
    """

    def __init__(
        self,
        *,
        capacity: int,
        num_actions: int | None = None,
        actions: ActionSpec | None = None,
        on_acquire: Callable[[int], None],
        on_end: Callable[[int, str | None, EndReason], None] | None = None,
        handover_ticks: int = 0,
    ) -> None:
        self.lock = CallbackLock()
        self._form = one_form(num_actions, actions)
        self._on_acquire = on_acquire
        self._tellers: list[Callable[[int, EndReason], None]] = []
        self._handover = Handover(capacity=capacity, ticks=handover_ticks)
        self._inputs = InputQueues(capacity=capacity, form=self._form)
        self._until: NDArray[np.int64] = np.full(capacity, _FREE, np.int64)
        self._owner: NDArray[np.object_] = np.full(capacity, None, np.object_)
        self._num_possessed = 0
        self._presence = Presence(capacity=capacity)
        self._next_tick = 0
        """Of the next decision, as far as it is known."""
        self._no_wishes = self._form.empty(capacity)
        self._no_wishes.flags.writeable = False
        if on_end is not None:
            self.tell_ends(on_end, name=int)

    # People's calls, from any thread

    def acquire(self, slot: int, *, tick: int, owner: str | None = None, lease_ticks: int | None = None) -> bool:
        """Take the agent in `slot` over, from the decision at `tick` on.

        Args:
            slot: of an agent that is present.
            tick: of the next decision; one that is made already counts as the tick after it.
            owner: name that `feed`, `renew` and `release` must give too.
            lease_ticks: ticks after which it ends by itself, at least 1; None: never.

        Returns:
            False if the agent is already possessed, by this owner or another.

        Raises:
            PossessionError: if the slot holds nobody or the lease is shorter than one tick.
        """
        _check_lease(lease_ticks)
        with self.lock:
            self._presence.check(slot)
            tick = max(tick, self._next_tick)
            if _FREE < self._until[slot] <= tick:
                self._free(np.array([slot]), "lapsed")
            if self.is_possessed(slot):
                return False
            self._until[slot] = _FOR_EVER if lease_ticks is None else tick + lease_ticks
            self._owner[slot] = owner
            self._num_possessed += 1
            self._handover.forget(np.array([slot]))
            self._on_acquire(slot)
            return True

    def feed(self, slot: int, action: OneAction, *, owner: str | None = None, queue: bool = False) -> Ticket:
        """Let a possessed agent carry out an action, once: at its next decision, or after the inputs that wait.

        Args:
            slot: of an agent that is present.
            action: in [0, num_actions), or K indices or numbers of `actions`.
            owner: name that was given to `acquire`.
            queue: wait behind the inputs that wait already, of which there are at most 64; else they are superseded.

        Returns:
            The ticket of this input, which says how and when it ended.

        Raises:
            PossessionError: if the slot holds nobody, the agent is not possessed by this owner (any more), or too many
                inputs wait; then nothing has changed.
            UnknownActionError: if there is no such action.
        """
        action = self._form.one(action)
        with self.lock:
            self._check_possessed(slot, owner, to="be fed an action")
            if not queue:
                self._inputs.end_all(slot, "superseded")
            return self._inputs.accept(slot, action, owner)

    def renew(self, slot: int, lease_ticks: int | None, owner: str | None = None) -> None:
        """Extend a lease: possession ends `lease_ticks` ticks from the next decision on, unless it would end later.

        Args:
            slot: of an agent that is present.
            lease_ticks: at least 1; None: it does not end by itself any more.
            owner: name that was given to `acquire`.

        Raises:
            PossessionError: if the slot holds nobody, the agent is not possessed by this owner (any more), or the lease
                is shorter than one tick.
        """
        _check_lease(lease_ticks)
        with self.lock:
            self._check_possessed(slot, owner, to="have its lease renewed")
            until = _FOR_EVER if lease_ticks is None else self._next_tick + lease_ticks
            self._until[slot] = max(int(self._until[slot]), until)

    def release(self, slot: int, *, owner: str | None = None) -> bool:
        """Give the agent back; inputs that wait end as `released`.

        Args:
            slot: of an agent that is present.
            owner: name that was given to `acquire`.

        Returns:
            False if it was not possessed.

        Raises:
            PossessionError: if the slot holds nobody, or somebody else possesses the agent.
        """
        with self.lock:
            self._presence.check(slot)
            if not self.is_possessed(slot):
                return False
            self._check_owner(slot, owner)
            self._free(np.array([slot]), "released")
            return True

    def is_possessed(self, slot: int) -> bool:
        """Tell whether the agent's next decision is a possessor's.

        Raises:
            PossessionError: if the slot does not exist.
        """
        self._presence.check_slot(slot)
        return bool(self._until[slot] != _FREE)

    def slots(self) -> NDArray[np.int64]:
        """Return all possessed slots, ascending."""
        with self.lock:
            return np.flatnonzero(self._until != _FREE)

    def owners(self) -> dict[int, str | None]:
        """Return the owner of every possessed agent, by slot."""
        with self.lock:
            return {slot: self._owner[slot] for slot in self.slots().tolist()}

    def waiting(self) -> list[Ticket]:
        """Return the inputs that wait, those of an agent in the order in which they will be carried out."""
        with self.lock:
            return self._inputs.waiting()

    def take_ended(self) -> list[Ticket]:
        """Return the tickets that ended since the last call, the newest 4,096; restored ones keep their numbers."""
        with self.lock:
            return self._inputs.take_ended()

    def counts(self) -> dict[str, int]:
        """Count the inputs that were `accepted`, those of them that are `waiting`, and the ended ones by reason."""
        with self.lock:
            return self._inputs.counts()

    def tell_ends(
        self, callback: Callable[[_Name, str | None, EndReason], None], *, name: Callable[[int], _Name | None]
    ) -> None:
        """Tell `callback` name, owner and reason (`ended` or `lapsed`) of every possession that is not released.

        Args:
            callback: called once for each, by the thread that ends it, when `lock` is free: it may call anything here.
            name: of the agent in a slot that is still its own, asked while `lock` is held; None: is not told.
        """

        def tell(slot: int, reason: EndReason) -> None:
            named = name(slot)
            if named is not None:
                self.lock.call_when_free(callback, named, self._owner[slot], reason)

        self._tellers.append(tell)

    # The bridge's calls

    def present(self, slots: NDArray[np.int64], *, tick: int = 0) -> None:
        """Take the agents that are there now, until the next call; leases that are over by `tick` end.

        Args:
            slots: [N], ascending; kept, and not to be changed meanwhile.
            tick: of the next decision.
        """
        self._presence.show(slots)
        if tick > self._next_tick:
            self._next_tick = tick
        if self._num_possessed:
            with self.lock:
                self._expire(tick)

    def wishes(self, slots: NDArray[np.int64], tick: int) -> tuple[NDArray[np.bool_], Actions]:
        """Return the possessed agents and the fed actions for the decision of `tick`. Asking uses nothing up.

        Args:
            slots: [N]; the agents present.
            tick: of the decision.

        Returns:
            possessed [N] bool, and actions, N rows, -1 or NaN where nothing was fed.
        """
        if not self._num_possessed:
            return constants_of(len(slots)).nowhere, self._no_wishes[: len(slots)]
        with self.lock:
            self._expire(tick)
            return self._until.take(slots) != _FREE, self._inputs.offer(slots)

    def handed_over(self, slots: NDArray[np.int64], tick: int) -> NDArray[np.float32] | None:
        """Return how far agents are under script and policy again: a factor of the ratio.

            factor = min((i + 1) / (k + 1), 1) at the i-th tick, from 0, since the first decision after a possession

        Args:
            slots: [N]; the agents present.
            tick: of the decision.

        Returns:
            [N], in (0, 1]; None where it is 1 for all of them.
        """
        return self._handover.shares(slots, tick)

    def use_up(self, slots: NDArray[np.int64], tick: int, *, vetoed: NDArray[np.bool_] | None = None) -> None:
        """End the inputs of the agents in `slots` that `wishes` told of and the decision of `tick` has used.

        Leases whose last decision this was end now.

        Args:
            slots: [N].
            tick: of the decision.
            vetoed: [N]; whether a guardrail put another action in place of the input; None: nowhere.
        """
        self._next_tick = tick + 1
        self._handover.decided(tick)
        if not self._num_possessed:
            return
        with self.lock:
            self._inputs.use_up(slots, vetoed, tick=tick)
            self._expire(tick + 1)

    def forget(self, slots: NDArray[np.int64]) -> None:
        """End the possession of agents that have left; their slots hold nobody until they are present again."""
        with self.lock:
            self._presence.leave(slots)
            if self._num_possessed:
                self._free(slots[self._until[slots] != _FREE], "ended")
            self._handover.forget(slots)

    # Saving

    def save_state(self) -> SavedState:
        """Return leases, owners, inputs and ramps of all slots."""
        with self.lock:
            leases = {
                "until": self._until.copy(),
                "present": self._presence.table(),
                "next_tick": np.array(self._next_tick, np.int64),
            }
            owners = save_names(self._owner.tolist())
            states = (leases, owners, self._inputs.save_state(), self._handover.save_state())
            return join_groups(dict(zip(_PARTS, states, strict=True)))

    def check_state(self, state: SavedState) -> None:
        """Check that `restore` can use a state.

        Raises:
            StateError: if the state is of another capacity or vocabulary, or not of possession.
        """
        leases, saved_owners, inputs, handover = split_groups(state, _PARTS).values()
        check_names(leases, ("until", "present", "next_tick"), of="the leases")
        check_array(leases, "until", like=self._until, low=_FREE, high=_FOR_EVER)
        check_array(leases, "present", like=self._presence.table(), low=0, high=1)
        check_array(leases, "next_tick", like=np.array(0), low=0, high=_FOR_EVER)
        owners = restore_names(saved_owners, count=len(self._until))
        self._inputs.check_state(inputs)
        self._handover.check_state(handover)
        free = leases["until"] == _FREE
        owned = np.array([owner is not None for owner in owners])
        if np.any(free & owned) or np.any(free[inputs["slot"]]):
            raise StateError("saved possession must have owners and inputs of possessed slots only, got a free one")

    def restore(self, state: SavedState) -> None:
        """Replace possession by the saved one; `on_acquire` is not called, because no agent is taken over now.

        The agents of before are gone: their possession and the inputs that wait for them end as `ended`.

        Raises:
            StateError: as `check_state` says; then nothing has changed.
        """
        self.check_state(state)
        leases, owners, inputs, handover = split_groups(state, _PARTS).values()
        with self.lock:
            self._free(np.flatnonzero(self._until != _FREE), "ended")
            self._until = leases["until"].copy()
            self._owner[:] = restore_names(owners, count=len(self._owner))
            self._num_possessed = int(np.count_nonzero(self._until != _FREE))
            self._presence.show(np.flatnonzero(leases["present"]))
            self._next_tick = int(leases["next_tick"])
            self._inputs.restore(inputs, self._owner)
            self._handover.restore(handover)

    def _expire(self, tick: int) -> None:
        self._free(np.flatnonzero((self._until != _FREE) & (self._until <= tick)), "lapsed")

    def _free(self, possessed: NDArray[np.int64], reason: EndReason) -> None:
        if not len(possessed):
            return
        for slot in possessed.tolist():
            self._inputs.end_all(slot, reason)
            for tell in self._tellers if reason != "released" else ():
                tell(slot, reason)
        self._until[possessed] = _FREE
        self._owner[possessed] = None
        self._num_possessed -= len(possessed)
        self._handover.begin(possessed)

    def _check_possessed(self, slot: int, owner: str | None, *, to: str) -> None:
        self._presence.check(slot)
        if not self.is_possessed(slot):
            raise PossessionError(f"must be possessed to {to}, is not, or no longer", slot=slot)
        self._check_owner(slot, owner)

    def _check_owner(self, slot: int, owner: str | None) -> None:
        if self._owner[slot] != owner:
            raise PossessionError(f"possessed by {self._owner[slot]!r}, got owner {owner!r}", slot=slot)


def _check_lease(lease_ticks: int | None) -> None:
    if lease_ticks is not None and lease_ticks < 1:
        raise PossessionError(f"`lease_ticks` must be at least 1, got {lease_ticks}")
