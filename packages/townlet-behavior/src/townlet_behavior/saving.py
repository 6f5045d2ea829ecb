"""State as named arrays: what a file can keep without knowing what it means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import StateError

SavedState = Mapping[str, NDArray[Any]]
"""Arrays of numbers, booleans or fixed-width text by name (`part/array`). What is restored from it behaves bit for bit
as what was saved."""


def join_states(parts: Mapping[str, SavedState]) -> dict[str, NDArray[Any]]:
    """One state of several: the arrays of part `p` are named `p/...`."""
    return {f"{part}/{name}": array for part, state in parts.items() for name, array in state.items()}


def split_state(state: SavedState, parts: Iterable[str]) -> dict[str, SavedState]:
    """The opposite of `join_states`; a part without arrays is empty.

    Raises:
        StateError: if an array belongs to none of the parts.
    """
    split: dict[str, dict[str, NDArray[Any]]] = {part: {} for part in parts}
    for name, array in state.items():
        part, _, rest = name.partition("/")
        if part not in split or not rest:
            raise StateError(f"saved arrays must be named PART/NAME with a part of {sorted(split)}, got {name!r}")
        split[part][rest] = array
    return dict(split)


def check_names(state: SavedState, names: Iterable[str], *, of: str) -> None:
    """Refuse the state of `of` that has not exactly these arrays.

    Raises:
        StateError: naming what is expected and what came.
    """
    if sorted(state) != sorted(names):
        raise StateError(f"the saved state of {of} must have the arrays {sorted(names)}, got {sorted(state)}")


def check_array(state: SavedState, name: str, *, like: NDArray[Any], low: float, high: float) -> None:
    """Refuse an array that is not of the dtype and shape of `like`, or not within [low, high].

    Raises:
        StateError: naming the array, what was expected and what came.
    """
    array = state[name]
    if array.dtype != like.dtype or array.shape != like.shape:
        raise StateError(f"saved `{name}` must be {like.dtype} {like.shape}, got {array.dtype} {array.shape}")
    within = (array >= low) & (array <= high)
    if np.count_nonzero(within) != array.size:
        raise StateError(f"saved `{name}` must be in [{low}, {high}], got {array[~within].flat[0]}")
