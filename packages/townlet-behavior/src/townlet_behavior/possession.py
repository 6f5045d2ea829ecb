"""Possession: agents that a person or a program has taken over."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from threading import RLock

import numpy as np
from numpy.typing import NDArray

from .errors import PossessionError, StateError, UnknownActionError
from .saving import SavedState, check_array, check_names

_NO_ACTION = -1
_FOR_EVER = 2**62
_FREE = -(2**62)
_NO_OWNER = -1
_NAME_BYTES = ("utf-8", "surrogatepass")


class Possession:
    """The agents that are possessed, by slot: by whom, until when, and the action to carry out next.

    Any thread may call it at any time. A call that comes while a decision is made waits until it is settled, so that
    one caller at a time possesses an agent. An action that `feed` takes is carried out by the agent's next decision,
    once, unless it is fed again, released, leaves or runs out of ticks before; if `feed` comes too late, after the
    last decision of a lease, it raises.

    Examples:
        >>> possession = Possession(capacity=4, num_actions=3, on_acquire=lambda slot: None)
        >>> possession.acquire(2, tick=0, owner="ann")
        True
        >>> possession.acquire(2, tick=0, owner="bob")
        False
        >>> possession.feed(2, 1, owner="ann")
        >>> possession.release(2, owner="ann")
        True

    Args:
        capacity: slots are below it.
        num_actions: actions that can be fed are below it.
        on_acquire: called with the slot of every agent that is taken over, once, by the thread that takes it over.

    Attributes:
        lock: held by every method, and by the bridge from before a decision until it is settled. Hold it to make one
            step of several calls.
    """

    def __init__(self, *, capacity: int, num_actions: int, on_acquire: Callable[[int], None]) -> None:
        self.lock = RLock()
        self._num_actions = num_actions
        self._on_acquire = on_acquire
        self._until: NDArray[np.int64] = np.full(capacity, _FREE, np.int64)
        self._action: NDArray[np.int64] = np.full(capacity, _NO_ACTION, np.int64)
        self._owner: NDArray[np.object_] = np.full(capacity, None, np.object_)
        self._num_possessed = 0
        self._next_tick = 0
        """After the last decision."""

    def acquire(self, slot: int, *, tick: int, owner: str | None = None, lease_ticks: int | None = None) -> bool:
        """Take the agent in `slot` over, from the decision at `tick` on.

        Args:
            slot: of the agent.
            tick: of the next decision; one that is made already counts as the tick after it.
            owner: name that `feed` and `release` must give too.
            lease_ticks: number of ticks after which it ends by itself, at least 1; None: never.

        Returns:
            False if the agent is already possessed, by this owner or another.

        Raises:
            PossessionError: if the slot does not exist or the lease is shorter than one tick.
        """
        self._check_slot(slot)
        if lease_ticks is not None and lease_ticks < 1:
            raise PossessionError(f"`lease_ticks` must be at least 1, got {lease_ticks}")
        with self.lock:
            tick = max(tick, self._next_tick)
            self._expire(tick)
            if self.is_possessed(slot):
                return False
            self._until[slot] = _FOR_EVER if lease_ticks is None else tick + lease_ticks
            self._owner[slot] = owner
            self._num_possessed += 1
            self._on_acquire(slot)
            return True

    def feed(self, slot: int, action: int, *, owner: str | None = None) -> None:
        """Set the action of a possessed agent's next decision; used once, and replaced by feeding again.

        Args:
            slot: of the agent.
            action: in [0, num_actions).
            owner: name that was given to `acquire`.

        Raises:
            PossessionError: if the agent is not possessed, or no longer, or by another owner.
            UnknownActionError: if the action is not in the vocabulary.
        """
        self._check_slot(slot)
        if not 0 <= action < self._num_actions:
            raise UnknownActionError(f"`action` must be in [0, {self._num_actions}), got {action}")
        with self.lock:
            if not self.is_possessed(slot):
                raise PossessionError("must be possessed to be fed an action, is not, or no longer", slot=slot)
            self._check_owner(slot, owner)
            self._action[slot] = action

    def release(self, slot: int, *, owner: str | None = None) -> bool:
        """Give the agent back.

        Args:
            slot: of the agent.
            owner: name that was given to `acquire`.

        Returns:
            False if it was not possessed.

        Raises:
            PossessionError: if the slot does not exist, or somebody else possesses the agent.
        """
        self._check_slot(slot)
        with self.lock:
            if not self.is_possessed(slot):
                return False
            self._check_owner(slot, owner)
            self._free(np.array([slot]))
            return True

    def is_possessed(self, slot: int) -> bool:
        """Tell whether the agent's next decision is a possessor's.

        Raises:
            PossessionError: if the slot does not exist.
        """
        self._check_slot(slot)
        return bool(self._until[slot] != _FREE)

    def slots(self) -> NDArray[np.int64]:
        """Return all possessed slots, ascending."""
        with self.lock:
            return np.flatnonzero(self._until != _FREE)

    def wishes(self, slots: NDArray[np.int64], tick: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Return the possessed agents and the fed actions for the decision of `tick`. Asking uses nothing up.

        Args:
            slots: [N]; the agents present.
            tick: of the decision.

        Returns:
            possessed [N] bool, and action [N], -1 where nothing was fed.
        """
        with self.lock:
            if self._num_possessed:
                self._expire(tick)
            if not self._num_possessed:
                return np.zeros(len(slots), np.bool_), np.full(len(slots), _NO_ACTION, np.int64)
            return self._until.take(slots) != _FREE, self._action.take(slots)

    def use_up(self, slots: NDArray[np.int64], tick: int) -> None:
        """Drop the fed actions of the agents in `slots` [N], which the decision of `tick` has used.

        Leases whose last decision this was end now.
        """
        with self.lock:
            self._next_tick = tick + 1
            if self._num_possessed:
                self._action[slots] = _NO_ACTION
                self._expire(tick + 1)

    def forget(self, slots: NDArray[np.int64]) -> None:
        """End the possession of agents that have left."""
        with self.lock:
            self._free(slots[self._until[slots] != _FREE])

    def save_state(self) -> SavedState:
        """Return owners, leases and fed actions of all slots.

        Names of owners are kept as bytes: fixed-width text would lose zero characters at their ends.
        """
        with self.lock:
            owners, until, action = self._owner.tolist(), self._until.copy(), self._action.copy()
        names = [None if owner is None else owner.encode(*_NAME_BYTES) for owner in owners]
        lengths = [_NO_OWNER if name is None else len(name) for name in names]
        return {
            "until": until,
            "action": action,
            "owner_length": np.array(lengths, np.int64),
            "owner_bytes": np.frombuffer(b"".join(name for name in names if name is not None), np.uint8),
        }

    def check_state(self, state: SavedState) -> None:
        """Check that `restore` can use a state.

        Raises:
            StateError: if the state is of another capacity or vocabulary, or not of possession.
        """
        check_names(state, ("until", "action", "owner_length", "owner_bytes"), of="possession")
        check_array(state, "until", like=self._until, low=_FREE, high=_FOR_EVER)
        check_array(state, "action", like=self._action, low=_NO_ACTION, high=self._num_actions - 1)
        num_bytes = state["owner_bytes"].size
        check_array(state, "owner_length", like=self._until, low=_NO_OWNER, high=num_bytes)
        check_array(state, "owner_bytes", like=np.empty(num_bytes, np.uint8), low=0, high=255)
        owned = int(state["owner_length"].clip(0).sum())
        if owned != num_bytes:
            raise StateError(f"saved `owner_length` must add up to {num_bytes} bytes, got {owned}")
        free = state["until"] == _FREE
        if np.any(free & ((state["action"] != _NO_ACTION) | (state["owner_length"] != _NO_OWNER))):
            raise StateError("saved possession must name owners and actions of possessed slots only, got a free one")
        _owners(state)

    def restore(self, state: SavedState) -> None:
        """Replace possession by the saved one; `on_acquire` is not called, because no agent is taken over now.

        Raises:
            StateError: see `check_state`; then nothing has changed.
        """
        self.check_state(state)
        with self.lock:
            self._until, self._action = state["until"].copy(), state["action"].copy()
            self._owner[:] = _owners(state)
            self._num_possessed = int(np.count_nonzero(self._until != _FREE))
            self._next_tick = 0

    def _expire(self, tick: int) -> None:
        self._free(np.flatnonzero((self._until != _FREE) & (self._until <= tick)))

    def _free(self, possessed: NDArray[np.int64]) -> None:
        self._until[possessed] = _FREE
        self._action[possessed] = _NO_ACTION
        self._owner[possessed] = None
        self._num_possessed -= len(possessed)

    def _check_slot(self, slot: int) -> None:
        if not 0 <= slot < len(self._until):
            raise PossessionError(f"`slot` must be in [0, {len(self._until)}), got {slot}")

    def _check_owner(self, slot: int, owner: str | None) -> None:
        if self._owner[slot] != owner:
            raise PossessionError(f"possessed by {self._owner[slot]!r}, got owner {owner!r}", slot=slot)


def _owners(state: SavedState) -> list[str | None]:
    """The owner of every slot.

    Raises:
        StateError: if a name is not UTF-8.
    """
    names, lengths = BytesIO(state["owner_bytes"].tobytes()), state["owner_length"].tolist()
    try:
        return [None if length == _NO_OWNER else names.read(length).decode(*_NAME_BYTES) for length in lengths]
    except UnicodeDecodeError as error:
        raise StateError(f"saved `owner_bytes` must be UTF-8, got {error.object!r}") from error
