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


def join_groups(groups: Mapping[str, SavedState]) -> dict[str, NDArray[Any]]:
    """Join the states of several components in one: the arrays of group `g` are named `g/...`."""
    return {f"{group}/{name}": array for group, state in groups.items() for name, array in state.items()}


def split_groups(state: SavedState, groups: Iterable[str]) -> dict[str, SavedState]:
    """Split a state that `join_groups` joined, in the order of `groups`; a group without arrays is empty.

    Raises:
        StateError: if an array belongs to none of the groups.
    """
    split: dict[str, dict[str, NDArray[Any]]] = {group: {} for group in groups}
    for name, array in state.items():
        group, _, rest = name.partition("/")
        if group not in split or not rest:
            raise StateError(f"saved arrays must be named GROUP/NAME with a group of {sorted(split)}, got {name!r}")
        split[group][rest] = array
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
