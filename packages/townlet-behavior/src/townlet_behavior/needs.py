"""Which needs press."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

HUNGER, HYGIENE, ENERGY = range(3)
"""Columns of every `needs` array, in the order in which they are seen to."""


def pressing_needs(needs: NDArray[np.floating], thresholds: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Where a need is below its threshold; at the threshold it does not press.

        pressing(i, k) = needs[i, k] < thresholds[i, k]

    Args:
        needs: [N, 3]; 0 (desperate) to 1 (satisfied).
        thresholds: [N, 3], or [3] for all agents.

    Returns:
        [N, 3] bool; `HUNGER`, `HYGIENE`, `ENERGY` name the columns.
    """
    return needs < thresholds
