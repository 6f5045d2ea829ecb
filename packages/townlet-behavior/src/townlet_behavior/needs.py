"""Which need an agent should see to first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NO_NEED = -1
HUNGER, HYGIENE, ENERGY = range(3)
"""Columns of every `needs` array, in the order in which they are seen to."""


def urgent_need(
    needs: NDArray[np.float32], thresholds: tuple[float, float, float], satisfiable: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The first need, in the order hunger, hygiene, energy, that is below its threshold and can be satisfied.

        need(i) = min {k : needs[i, k] < thresholds[k] and satisfiable[i, k]}, or -1 where there is none

    Args:
        needs: [N, 3]; 0 (desperate) to 1 (satisfied).
        thresholds: one per column.
        satisfiable: [N, 3]; whether the world has something usable for it.

    Returns:
        [N]; `HUNGER`, `HYGIENE`, `ENERGY` or `NO_NEED`.
    """
    pressing = (needs < np.array(thresholds, np.float32)) & satisfiable
    return np.where(pressing.any(axis=1), pressing.argmax(axis=1), NO_NEED)
