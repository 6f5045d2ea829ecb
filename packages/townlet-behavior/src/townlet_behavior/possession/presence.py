"""The slots that hold an agent now, as far as the last view tells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import PossessionError


class Presence:
    """The agents of the last view, without those that have left since.

    Args:
        capacity: slots are below it.
    """

    def __init__(self, *, capacity: int) -> None:
        self._present: NDArray[np.int64] = np.empty(0, np.int64)
        self._left: NDArray[np.bool_] = np.zeros(capacity, np.bool_)
        """[capacity]; agents of `_present` that have left since."""
        self._any_left = False

    def show(self, slots: NDArray[np.int64]) -> None:
        """Take the agents in `slots` [N], ascending, for those that are there; the array is kept."""
        self._present = slots
        if self._any_left:
            self._left[:] = self._any_left = False

    def leave(self, slots: NDArray[np.int64]) -> None:
        """Note that the agents in `slots` [E] have left."""
        self._left[slots] = self._any_left = True

    def check(self, slot: int) -> None:
        """Check that `slot` holds an agent.

        Raises:
            PossessionError: if it does not exist, or holds nobody.
        """
        self.check_slot(slot)
        row = int(self._present.searchsorted(slot))
        if row == len(self._present) or self._present[row] != slot or self._left[slot]:
            raise PossessionError("must hold an agent that is present, holds nobody", slot=slot)

    def check_slot(self, slot: int) -> None:
        """Check that `slot` exists; else it is a `PossessionError`."""
        if not 0 <= slot < len(self._left):
            raise PossessionError(f"`slot` must be in [0, {len(self._left)}), got {slot}")

    def table(self) -> NDArray[np.bool_]:
        """Return which slots hold an agent, [capacity]."""
        present = np.zeros(len(self._left), np.bool_)
        present[self._present] = True
        return present & ~self._left
