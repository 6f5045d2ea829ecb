"""Saved states: named arrays, which a file can keep without knowing their meaning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import StateError

SavedState = Mapping[str, NDArray[Any]]
"""Arrays of numbers, booleans or fixed-width text by name (`group/array`). A component restored from it behaves bit for
bit as the saved one."""


class Saved(Protocol):
    """A component whose state can be checked before anything is restored."""

    def save_state(self) -> SavedState: ...

    def check_state(self, state: SavedState) -> None: ...

    def restore(self, state: SavedState) -> None: ...


_NAME_BYTES = ("utf-8", "surrogatepass")
_NO_NAME = -1


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
    """Check that a state has exactly these arrays.

    Args:
        state: to check.
        names: of the arrays.
        of: the component, for the message.

    Raises:
        StateError: naming the arrays expected and found.
    """
    if sorted(state) != sorted(names):
        raise StateError(f"the saved state of {of} must have the arrays {sorted(names)}, got {sorted(state)}")


def check_array(
    state: SavedState, name: str, *, like: NDArray[Any], low: float | NDArray[Any], high: float | NDArray[Any]
) -> None:
    """Check dtype, shape and range of a saved array.

    Args:
        state: that has the array.
        name: of the array.
        like: an array of the dtype and shape expected.
        low: least value, or that of each column.
        high: largest value, or that of each column.

    Raises:
        StateError: naming the array, the expected and the found form or value.
    """
    array = state[name]
    if array.dtype != like.dtype or array.shape != like.shape:
        raise StateError(f"saved `{name}` must be {like.dtype} {like.shape}, got {array.dtype} {array.shape}")
    within = (array >= low) & (array <= high)
    if np.count_nonzero(within) != array.size:
        raise StateError(f"saved `{name}` must be in [{low}, {high}], got {array[~within].flat[0]}")


def save_names(names: Iterable[str | None]) -> SavedState:
    """Return names as bytes with their lengths: fixed-width text would lose zero characters at their ends."""
    encoded = [None if name is None else name.encode(*_NAME_BYTES) for name in names]
    return {
        "name_length": np.array([_NO_NAME if name is None else len(name) for name in encoded], np.int64),
        "name_bytes": np.frombuffer(b"".join(name for name in encoded if name is not None), np.uint8),
    }


def restore_names(state: SavedState, *, count: int) -> list[str | None]:
    """Return the names that `save_names` saved.

    Raises:
        StateError: if they are not `count`, or contradict themselves.
    """
    check_names(state, ("name_length", "name_bytes"), of="names")
    num_bytes = state["name_bytes"].size
    check_array(state, "name_length", like=np.empty(count, np.int64), low=_NO_NAME, high=num_bytes)
    check_array(state, "name_bytes", like=np.empty(num_bytes, np.uint8), low=0, high=255)
    named = int(state["name_length"].clip(0).sum())
    if named != num_bytes:
        raise StateError(f"saved `name_length` must add up to {num_bytes} bytes, got {named}")
    names, lengths = BytesIO(state["name_bytes"].tobytes()), state["name_length"].tolist()
    try:
        return [None if length == _NO_NAME else names.read(length).decode(*_NAME_BYTES) for length in lengths]
    except UnicodeDecodeError as error:
        raise StateError(f"saved `name_bytes` must be UTF-8, got {error.object!r}") from error
