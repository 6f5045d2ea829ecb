"""Arrays one after the other in one block of bytes, which another process reads without copying them."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 64
"""Every array begins at a multiple of so many bytes."""

Directory = list[list[Any]]
"""Name, dtype, shape and first byte of every array, as JSON has it."""
Arrays = Mapping[str, NDArray[Any]]


def directory_of(arrays: Arrays) -> Directory:
    """Place `arrays` of numbers, bools and texts of fixed width in a block."""
    found, end = [], 0
    for name, array in arrays.items():
        found.append([name, array.dtype.str, list(array.shape), end])
        end += array.nbytes + -array.nbytes % ALIGNMENT
    return found


def size_of(directory: Directory) -> int:
    """Bytes of a block, a multiple of `ALIGNMENT`."""
    if not directory:
        return 0
    _, dtype, shape, first = directory[-1]
    nbytes = np.dtype(dtype).itemsize * math.prod(shape)
    return int(first + nbytes + -nbytes % ALIGNMENT)


def write_arrays(stream: IO[bytes], arrays: Arrays) -> None:
    """Write the block of `arrays`, each once."""
    for array in arrays.values():
        numbers = array.size and array.dtype.kind != "U"
        stream.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data if numbers else array.tobytes())
        stream.write(b"\0" * (-array.nbytes % ALIGNMENT))


def block_of(arrays: Arrays) -> bytes:
    """Return the block of `arrays`."""
    stream = io.BytesIO()
    write_arrays(stream, arrays)
    return stream.getvalue()


def arrays_in(block: bytes | bytearray | memoryview, directory: Directory) -> dict[str, NDArray[Any]]:
    """Return the arrays of a block, which they share; they can be written to where it can.

    Raises:
        ValueError: if the block is shorter than its directory says.
    """
    return {
        name: np.ndarray(tuple(shape), np.dtype(dtype), buffer=block, offset=first)
        for name, dtype, shape, first in directory
    }
