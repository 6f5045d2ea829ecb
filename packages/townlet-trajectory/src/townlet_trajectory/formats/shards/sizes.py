"""How much memory an Arrow IPC file asks for, read from its message headers before anything of it is allocated.

A compressed buffer begins with its uncompressed length, which Arrow allocates as it is told. The headers are
FlatBuffers (https://flatbuffers.dev/internals); their tables are those of Arrow's `Message.fbs`. Arrow itself checks
that they are sound before it hands them out.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.errors import ArtifactError
from townlet_trajectory.storage.extras import require

MAX_DECODED_BYTES = 2 << 30
"""Greatest size of the columns of one file."""
MAX_RATIO = 200
FREE_BYTES = 16 << 20
"""The columns may together take `MAX_RATIO` times the file's size and this on top."""

MAGIC = b"ARROW1"
STREAM_BEGINS = 8
"""A file is its magic, padded to 8 bytes, a stream of messages, and an index of them that is not needed here."""

_MESSAGE_HEADER, _MESSAGE_METADATA = 2, 4
_DICTIONARY_BATCH_DATA = 1
_RECORD_BATCH_BUFFERS, _RECORD_BATCH_COMPRESSION = 2, 3
_LENGTH_BYTES = 8
_NOT_COMPRESSED = -1


def allowance(num_bytes: int) -> int:
    """Bytes that the columns of a file of `num_bytes` may take."""
    return min(MAX_DECODED_BYTES, MAX_RATIO * num_bytes + FREE_BYTES)


def check_sizes(data: bytes, path: str | Path) -> None:
    """Refuse the Arrow file `data`, which came from `path`, unless it decodes to at most `allowance` bytes.

    Raises:
        ArtifactError: if it declares more, or as `declared_bytes`.
    """
    declared, allowed = declared_bytes(data, path), allowance(len(data))
    if declared > allowed:
        raise ArtifactError(
            path, "parse", f"{len(data)} bytes declare {declared} bytes of columns, at most {allowed} are read"
        )


def declared_bytes(data: bytes, path: str | Path) -> int:
    """What the columns of the Arrow file `data`, which came from `path`, will take when they are decoded.

    Raises:
        ArtifactError: if it is not an Arrow IPC file of the form that this package writes: one batch of rows.
    """
    pyarrow = require("pyarrow", "arrow")
    if not data.startswith(MAGIC) or not data.endswith(MAGIC) or len(data) < STREAM_BEGINS + len(MAGIC):
        raise ArtifactError(path, "parse", "not an Arrow IPC file")
    total = num_batches = 0
    try:
        for message in pyarrow.ipc.MessageReader.open_stream(pyarrow.py_buffer(data)[STREAM_BEGINS:]):
            if message.metadata_version != pyarrow.MetadataVersion.V5:
                raise ArtifactError(path, "parse", f"messages of version V5 are read, got {message.metadata_version}")
            if message.type != "schema":
                total += _declared_bytes(memoryview(message.metadata), message.body, message.type)
                num_batches += message.type == "record batch"
    except (pyarrow.ArrowException, OSError, EOFError, struct.error, ValueError) as error:
        raise ArtifactError(path, "parse", f"not a sound Arrow file: {error}") from error
    if num_batches != 1:
        raise ArtifactError(path, "parse", f"expected one batch of rows, got {num_batches}")
    return total


def _declared_bytes(metadata: memoryview, body: object, kind: str) -> int:
    """Bytes that the buffers of one message take when they are decoded; a `ValueError` where they contradict it."""
    message = _follow(metadata, 0)
    if _field(metadata, message, _MESSAGE_METADATA) is not None:
        raise ValueError("a message of rows has no metadata of its own")
    batch = _table(metadata, message, _MESSAGE_HEADER)
    if kind == "dictionary":
        batch = _table(metadata, batch, _DICTIONARY_BATCH_DATA)
    content = np.frombuffer(body, np.uint8)  # type: ignore[call-overload]  # a pyarrow.Buffer
    buffers = _buffers(metadata, batch)
    starts, lengths = buffers[:, 0], buffers[:, 1]
    if np.any((starts < 0) | (lengths < 0) | (lengths > len(content)) | (starts > len(content) - lengths)):
        raise ValueError("a buffer lies outside of its message")
    if _field(metadata, batch, _RECORD_BATCH_COMPRESSION) is None:
        return int(lengths.sum())
    starts, lengths = starts[lengths > 0], lengths[lengths > 0]
    if np.any(lengths < _LENGTH_BYTES):
        raise ValueError("a compressed buffer has no length")
    declared = content[starts[:, None] + np.arange(_LENGTH_BYTES)].view("<i8")[:, 0]
    sizes = np.where(declared == _NOT_COMPRESSED, lengths - _LENGTH_BYTES, declared)
    if np.any(sizes < 0):
        raise ValueError(f"a length must not be negative, got {sizes.min()}")
    return sum(sizes.tolist())  # in Python's integers: int64 could wrap


def _buffers(metadata: memoryview, batch: int) -> NDArray[np.int64]:
    """[K, 2]; where each buffer begins in the body, and its bytes there."""
    place = _field(metadata, batch, _RECORD_BATCH_BUFFERS)
    if place is None:
        return np.empty((0, 2), np.int64)
    vector = _follow(metadata, place)
    (count,) = struct.unpack_from("<I", metadata, vector)
    return np.frombuffer(metadata, "<i8", 2 * count, vector + 4).reshape(count, 2).astype(np.int64)


def _table(metadata: memoryview, table: int, slot: int) -> int:
    place = _field(metadata, table, slot)
    if place is None:
        raise ValueError("a message lacks its header")
    return _follow(metadata, place)


def _field(metadata: memoryview, table: int, slot: int) -> int | None:
    """Where the field `slot` of the table at `table` is; None if it is absent."""
    vtable = table - struct.unpack_from("<i", metadata, table)[0]
    if vtable < 0:
        raise ValueError("a table lies outside of its message")
    entry = 4 + 2 * slot
    if entry >= struct.unpack_from("<H", metadata, vtable)[0]:
        return None
    offset: int = struct.unpack_from("<H", metadata, vtable + entry)[0]
    return table + offset if offset else None


def _follow(metadata: memoryview, place: int) -> int:
    """Where the reference at `place` leads to."""
    offset: int = struct.unpack_from("<I", metadata, place)[0]
    return place + offset
