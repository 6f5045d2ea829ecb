"""What keeps a mind from being asked: budgets, and a circuit breaker; and the cache, which makes asking needless."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import StateError
from ..saving import SavedState, check_array, check_names
from .config import DeferredConfig

MOST = 2**62
"""Charges and ticks stop here."""
DIGEST_BYTES = 32
NO_DIGESTS: NDArray[np.uint8] = np.zeros((0, DIGEST_BYTES), np.uint8)


def digests(shown: Sequence[str]) -> NDArray[np.uint8]:
    """[n, 32]; hexadecimal digests as bytes."""
    return np.frombuffer(bytes.fromhex("".join(shown)), np.uint8).reshape(-1, DIGEST_BYTES)


def texts(saved: NDArray[np.uint8]) -> list[str]:
    """Return the hexadecimal digests that `digests` was given."""
    return [row.tobytes().hex() for row in saved]


class Charges:
    """Calls, tokens and billionths of cost that were charged to the run and to the agent in each slot.

    Args:
        capacity: every slot is below it.
        config: has the budgets.
    """

    def __init__(self, *, capacity: int, config: DeferredConfig) -> None:
        self.worst = config.worst_case()
        """Of one question."""
        self._limits, agent_limits = config.run_budget.limits(), config.agent_budget.limits()
        self._agent_limits = np.array(agent_limits, np.int64)[:, None]
        self._each = np.array(self.worst, np.int64)[:, None]
        self._bounds_agents = config.agent_budget.is_bound
        self._run = [0, 0, 0]
        self._agents: NDArray[np.int64] = np.zeros((3, capacity), np.int64)

    @property
    def run(self) -> tuple[int, int, int]:
        """Of the run."""
        calls, tokens, nano = self._run
        return calls, tokens, nano

    def room(self) -> int:
        """Return how many questions the run's budget has room for."""
        rooms = [
            (limit - charged) // worst
            for limit, charged, worst in zip(self._limits, self._run, self.worst, strict=True)
            if worst
        ]
        return max(min(rooms), 0)

    def has_room(self, slots: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """Whether the budget of each agent in `slots` [N] has room for a question; None: all have."""
        if not self._bounds_agents:
            return None
        fits: NDArray[np.bool_] = np.logical_and.reduce(self._agents[:, slots] + self._each <= self._agent_limits)
        return fits

    def charge(self, amounts: tuple[int, int, int], slot: int | None) -> None:
        """Charge the run, and the agent in `slot`; None: it has left."""
        for kind, amount in enumerate(amounts):
            self._run[kind] = min(self._run[kind] + amount, MOST)
            if slot is not None:
                self._agents[kind, slot] = min(int(self._agents[kind, slot]) + amount, MOST)

    def forget(self, slots: NDArray[np.int64]) -> None:
        """Begin anew for the next agents in `slots`; the run stays charged."""
        self._agents[:, slots] = 0

    def save_state(self) -> SavedState:
        """Return all charges."""
        return {"run": np.array(self._run, np.int64), "agents": self._agents.copy()}

    def restore(self, state: SavedState) -> None:
        """Replace all charges by saved ones.

        Raises:
            StateError: if they are not of as many slots; then nothing has changed.
        """
        check_names(state, ("run", "agents"), of="the charges")
        check_array(state, "run", like=np.zeros(3, np.int64), low=0, high=MOST)
        check_array(state, "agents", like=self._agents, low=0, high=MOST)
        self._run, self._agents = state["run"].tolist(), state["agents"].copy()


class Breaker:
    """Stops all questions after some failed calls in a row, then lets a single one through, on trial.

    Args:
        failures: failed calls in a row that stop it.
        ticks: that it stops for.
    """

    def __init__(self, *, failures: int, ticks: int) -> None:
        self._most, self._ticks = failures, ticks
        self._failures, self._until, self._trial = 0, 0, -1

    def room(self, room: int, tick: int) -> int:
        """Return how many of `room` questions may be asked at a tick."""
        if self._failures < self._most:
            return room
        return min(room, 1) if tick >= self._until and self._trial < 0 else 0

    def begun(self, call: int) -> None:
        """Take note of the call that is begun: it may be the trial."""
        if self._failures >= self._most:
            self._trial = call

    def ended(self, call: int) -> None:
        """Take note that a call is over: a trial without an outcome is no trial any more."""
        if self._trial == call:
            self._trial = -1

    def succeeded(self) -> None:
        """Let all questions through."""
        self._failures = 0

    def failed(self, tick: int) -> bool:
        """Count a failed call; return whether all questions are stopped from here on."""
        self._failures += 1
        if self._failures < self._most:
            return False
        self._until = tick + self._ticks
        return True

    def save_state(self) -> SavedState:
        """Return failures in a row, the tick until which it stops, and the call on trial."""
        return {"breaker": np.array([self._failures, self._until, self._trial], np.int64)}

    def restore(self, state: SavedState) -> None:
        """Go on as the breaker that was saved.

        Raises:
            StateError: if it is no state of one.
        """
        check_names(state, ("breaker",), of="the breaker")
        check_array(state, "breaker", like=np.zeros(3, np.int64), low=-1, high=MOST)
        self._failures, self._until, self._trial = state["breaker"].tolist()


class AnswerCache:
    """Actions by the digest of their question; the one that was unused for longest is dropped.

    Args:
        entries: at most; 0: nothing is kept.
        num_actions: A, size of the vocabulary.
    """

    def __init__(self, *, entries: int, num_actions: int) -> None:
        self._most, self._num_actions = entries, num_actions
        self._actions: OrderedDict[str, int] = OrderedDict()

    def get(self, shown: str) -> int | None:
        """Return the action of a question; None where it is not known."""
        action = self._actions.get(shown)
        if action is not None:
            self._actions.move_to_end(shown)
        return action

    def put(self, shown: str, action: int) -> None:
        """Keep the action of a question."""
        if self._most == 0:
            return
        self._actions[shown] = action
        self._actions.move_to_end(shown)
        if len(self._actions) > self._most:
            self._actions.popitem(last=False)

    def save_state(self) -> SavedState:
        """Return all entries, the one unused for longest first."""
        return {"shown": digests(list(self._actions)), "action": np.array(list(self._actions.values()), np.int64)}

    def restore(self, state: SavedState) -> None:
        """Replace all entries by saved ones.

        Raises:
            StateError: if there are too many, or they contradict each other.
        """
        check_names(state, ("shown", "action"), of="the cache")
        number = state["action"].size
        if number > self._most:
            raise StateError(f"saved `action` must have at most {self._most} entries, got {number}")
        check_array(state, "action", like=np.zeros(number, np.int64), low=0, high=self._num_actions - 1)
        check_array(state, "shown", like=np.zeros((number, DIGEST_BYTES), np.uint8), low=0, high=255)
        entries = zip(texts(state["shown"]), state["action"].tolist(), strict=True)
        actions = OrderedDict(entries)
        if len(actions) != number:
            raise StateError("saved `shown` must have every digest once, got one more often")
        self._actions = actions
