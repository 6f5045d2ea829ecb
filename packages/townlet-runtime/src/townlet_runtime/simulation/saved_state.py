"""Reads single arrays of a saved state, and checks that a file can keep it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import SavedState
from townlet_runtime.errors import SimulationError

_KINDS = "biufU"


def saved_array(state: SavedState, key: str, *, dtype: type[np.generic], shape: tuple[int | None, ...]) -> NDArray[Any]:
    """A copy of one array of a saved state.

    Args:
        state: all of it.
        key: of the array.
        dtype: that it must have.
        shape: that it must have; None: any length.

    Raises:
        SimulationError: names the key, what was expected and what came.
    """
    if key not in state:
        raise SimulationError(f"expected `{key}` in the saved state, got {sorted(state)}")
    array = state[key]
    fits = len(shape) == array.ndim and all(
        length is None or length == found for length, found in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype != dtype:
        expected = " ".join("any" if length is None else str(length) for length in shape)
        raise SimulationError(
            f"expected `{key}` of the saved state to be {np.dtype(dtype)} [{expected}],"
            f" got {array.dtype} {list(array.shape)}"
        )
    return array.copy()


def saved_number(state: SavedState, key: str) -> int:
    """One int64 of a saved state. `SimulationError` as in `saved_array`."""
    return int(saved_array(state, key, dtype=np.int64, shape=()))


def check_saved_state(state: SavedState) -> None:
    """Refuse arrays that a file cannot keep without loss, or only by running code when it is read.

    Raises:
        SimulationError: names the key.
    """
    for key, array in state.items():
        if array.dtype.kind not in _KINDS:
            raise SimulationError(f"expected numbers, bools or texts in a saved state, got {array.dtype} for `{key}`")
