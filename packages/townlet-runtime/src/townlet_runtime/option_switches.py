"""Counts how often agents go from one kind of action straight to another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import ActionVocabulary


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

    def forget(self, slots: NDArray[np.int64]) -> None:
        """The agents in `slots` have left."""
        self._last[slots] = self._resting
        self._counts[slots] = 0
