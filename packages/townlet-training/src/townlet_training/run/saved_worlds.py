"""The state of worlds as files: npz for the numbers, and JSON for what npz has no place for. Nothing is pickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from townlet_training.errors import ShapeError
from townlet_trajectory import ArtifactError
from townlet_trajectory.storage.json import JsonValue, parse_object, readable_json
from townlet_trajectory.storage.npz import decode_npz, encode_npz

SavedWorlds: TypeAlias = Mapping[str, NDArray[np.generic]]
"""What `Collector.save_state` returns."""

ARRAYS_NAME, TYPES_NAME = "worlds.npz", "worlds.json"

_NUMBERS = frozenset(
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64".split(),
)
_TEXT = "text"
_CHARACTER = np.dtype("<u4")


def encode_worlds(state: SavedWorlds) -> dict[str, bytes]:
    """Content by file name.

    Raises:
        ShapeError: if an array holds something else than numbers, bools, or text of fixed width.
    """
    types: dict[str, JsonValue] = {}
    arrays: dict[str, NDArray[np.generic]] = {}
    for name, array in state.items():
        if array.dtype.kind == "U":
            types[name] = _TEXT
            # Characters as numbers, along one more axis.
            characters = np.asarray(array, array.dtype.newbyteorder("<"), order="C").reshape(*array.shape, 1)
            arrays[name] = characters.view(_CHARACTER)
        elif array.dtype.name in _NUMBERS:
            types[name] = array.dtype.name
            arrays[name] = array.astype(array.dtype.newbyteorder("<"), copy=False)
        else:
            raise ShapeError(f"the state `{name}` of the worlds must be numbers, bools or text, got {array.dtype}")
    return {ARRAYS_NAME: encode_npz(arrays), TYPES_NAME: readable_json(types)}


def decode_worlds(files: Mapping[str, bytes], path: Path) -> SavedWorlds:
    """The inverse of `encode_worlds`, of files from the directory `path`.

    Raises:
        ArtifactError: if one of them is damaged.
    """
    types = parse_object(files[TYPES_NAME], path / TYPES_NAME)
    arrays = decode_npz(files[ARRAYS_NAME], path / ARRAYS_NAME, names=frozenset(types))
    state: dict[str, NDArray[np.generic]] = {}
    for name, kind in types.items():
        array = arrays[name]
        if array.dtype.name != (_CHARACTER.name if kind == _TEXT else kind):
            raise ArtifactError(path / ARRAYS_NAME, "parse", f"`{name}` must be {kind}, got {array.dtype}")
        state[name] = _text(array, path) if kind == _TEXT else array
    return state


def _text(characters: NDArray[np.generic], path: Path) -> NDArray[np.generic]:
    """Text of the shape of `characters` [..., width]."""
    if characters.ndim < 1 or characters.shape[-1] < 1 or int(characters.max(initial=0)) > 0x10FFFF:
        raise ArtifactError(path / ARRAYS_NAME, "parse", "not the characters of text")
    width = characters.shape[-1]
    return characters.view(np.dtype(f"<U{width}")).reshape(characters.shape[:-1])
