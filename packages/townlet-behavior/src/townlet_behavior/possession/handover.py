"""The way of an agent back from its possessor to script and policy, by degrees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..saving import SavedState, check_array, check_names

_NEVER = -(2**62)
_NEXT = 2**62


class Handover:
    """Since when agents are under script and policy again.

    Args:
        capacity: slots are below it.
        ticks: k of `Possession.handed_over`; 0: an agent is handed over at once.
    """

    def __init__(self, *, capacity: int, ticks: int) -> None:
        if ticks < 0:
            raise ConfigError(f"`handover_ticks` must be at least 0, got {ticks}")
        self._ticks = ticks
        self._since: NDArray[np.int64] = np.full(capacity, _NEVER, np.int64)
        """[capacity]; tick of the first decision, `_NEXT` where that is the next one."""
        self._over = _NEVER
        """From this tick on no agent is being handed over."""

    def begin(self, slots: NDArray[np.int64]) -> None:
        """Hand the agents in `slots` [K] over from the next decision on."""
        if self._ticks and len(slots):
            self._since[slots] = self._over = _NEXT

    def forget(self, slots: NDArray[np.int64]) -> None:
        """Drop the agents in `slots` [K], which have left or are possessed again."""
        if self._over != _NEVER:
            self._since[slots] = _NEVER

    def decided(self, tick: int) -> None:
        """Note that the decision of `tick` was the first one of the agents whose handover began before it."""
        if self._over == _NEXT:
            self._since[self._since == _NEXT] = tick
            self._over = int(self._since.max()) + self._ticks

    def shares(self, slots: NDArray[np.int64], tick: int) -> NDArray[np.float32] | None:
        """Return the factors of `Possession.handed_over`."""
        if tick >= self._over:
            return None
        since = np.minimum(self._since.take(slots), tick)
        shares = np.minimum((tick - since + 1) / (self._ticks + 1), 1.0).astype(np.float32)
        return None if (shares == 1.0).all() else shares

    def save_state(self) -> SavedState:
        """Return the ramps of all slots."""
        return {"since": self._since.copy()}

    def check_state(self, state: SavedState) -> None:
        """Check that `restore` can use a state; one of another capacity is a `StateError`."""
        check_names(state, ("since",), of="the handover")
        check_array(state, "since", like=self._since, low=_NEVER, high=_NEXT)

    def restore(self, state: SavedState) -> None:
        """Replace the ramps by saved ones that have passed `check_state`."""
        self._since = state["since"].copy()
        self._over = min(int(self._since.max()) + self._ticks, _NEXT)
