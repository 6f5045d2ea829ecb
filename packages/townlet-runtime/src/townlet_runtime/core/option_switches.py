"""Counts how often agents go from one kind of action straight to another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import ActionVocabulary, SavedState
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.saved_state import saved_array


class OptionSwitches:
    """Changes from one non-wait kind directly to another, by slot; a wait in between breaks the chain."""

    def __init__(self, vocabulary: ActionVocabulary, *, capacity: int) -> None:
        kinds = sorted(set(vocabulary.kinds))
        resting = kinds.index(vocabulary.kinds[vocabulary.wait])
        codes = np.arange(len(kinds))
        self._kind_of = np.array([kinds.index(kind) for kind in vocabulary.kinds], np.int64)
        self._resting = resting
        self._is_switch = (codes[:, None] != codes) & (codes[:, None] != resting) & (codes != resting)
        self._last = np.full(capacity, resting, np.int64)
        self._counts = np.zeros(capacity, np.int64)

    def note(self, slots: NDArray[np.int64], actions: NDArray[np.int64]) -> None:
        """The agents in `slots` [N] carry out `actions` [N]."""
        kinds = self._kind_of[actions]
        self._counts[slots] += self._is_switch[self._last[slots], kinds]
        self._last[slots] = kinds

    def take(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Switches of the agents in `slots` [N] since the last call; their counts begin again at 0."""
        counts = self._counts[slots]
        self._counts[slots] = 0
        return counts

    def take_by_id(self, slots: NDArray[np.int64], agent_ids: NDArray[np.object_]) -> dict[str, int]:
        """As `take`, by agent id [N], where there are any."""
        counts = self.take(slots).tolist()
        return {agent_id: count for agent_id, count in zip(agent_ids, counts, strict=True) if count}

    def forget(self, slots: NDArray[np.int64]) -> None:
        """The agents in `slots` have left."""
        self._last[slots] = self._resting
        self._counts[slots] = 0

    def save_state(self) -> SavedState:
        """Last kinds and counts, by slot."""
        return {"last": self._last.copy(), "counts": self._counts.copy()}

    def restore(self, state: SavedState) -> None:
        """Go on from what was saved.

        Raises:
            SimulationError: if it is of another number of slots, or of other kinds.
        """
        last, counts = (saved_array(state, key, dtype=np.int64, shape=self._last.shape) for key in ("last", "counts"))
        if last.min() < 0 or last.max() >= len(self._is_switch):
            raise SimulationError(f"expected kinds below {len(self._is_switch)} in the saved state, got {last}")
        self._last, self._counts = last, counts
