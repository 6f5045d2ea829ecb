"""Columns of numpy arrays as one Arrow IPC file, and back.

A row of shape (2, 3) is an Arrow FixedSizeList<FixedSizeList<float, 3>, 2>: Polars shows it as an array of that shape,
DuckDB as FLOAT[3][2], pandas as nested arrays, none of them needs to be told. (The extension type fixed_shape_tensor
would lose the shape in DuckDB and pandas, and arithmetic in Polars.) There are no missing values. Booleans are Arrow's,
one bit each.

A compressed buffer begins with its uncompressed length, which Arrow allocates as it is told, and no function of pyarrow
says it beforehand. So it is read from the message headers first: FlatBuffers (https://flatbuffers.dev/internals), whose
tables are those of Arrow's `Message.fbs`. Arrow itself checks that they are sound before it hands them out.
"""

from __future__ import annotations

import struct
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.schema import ArraySpec
from townlet_trajectory.data.trajectory import Array
from townlet_trajectory.errors import ArtifactError, SchemaError, require

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

NO_COLUMNS: Mapping[str, ArraySpec] = {}

ArrowArray: TypeAlias = Any
"""A pyarrow.Array; pyarrow is published without types."""


def encode_columns(columns: Mapping[str, ArrowArray], *, compression: str) -> bytes:
    """The bytes of an Arrow IPC file with one batch of rows: Arrow arrays of equal lengths by name.

    `compression` is `lz4`, `zstd` or `none`. Columns that shrink so far that `decode_columns` would call them a bomb
    are written without.
    """
    pyarrow = require("pyarrow", "arrow")
    rows = pyarrow.RecordBatch.from_arrays([*columns.values()], names=[*columns])
    data = _file(rows, None if compression == "none" else compression)
    if declared_bytes(data, "the encoded columns") > allowance(len(data)):
        data = _file(rows, None)
    return data


def decode_columns(
    data: bytes,
    path: str | Path,
    specs: Mapping[str, ArraySpec],
    *,
    texts: Sequence[str] = (),
    optional: Mapping[str, ArraySpec] = NO_COLUMNS,
    num_rows: int,
) -> dict[str, Any]:
    """Columns of an Arrow IPC file that came from `path`; other columns are not decoded.

    What is not compressed is not copied: such arrays are read-only views of `data`.

    Args:
        data: the whole file.
        path: for the error.
        specs: what each column must be.
        texts: names of columns that must be strings; they come as arrays of objects.
        optional: what further columns must be, where the file has them.
        num_rows: how many rows there must be.

    Raises:
        ArtifactError: if it is damaged, lacks a column, holds another type, another number of rows or missing values,
            or declares sizes that exceed the limits of `arrow_sizes`.
    """
    check_sizes(data, path)
    pyarrow = require("pyarrow", "arrow")
    specs = {**specs, **optional}
    types = {name: _arrow_type(spec) for name, spec in specs.items()} | dict.fromkeys(texts, pyarrow.string())
    try:
        rows = _read_rows(data, path, types, optional)
        rows.validate(full=True)
    except (pyarrow.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:
        raise ArtifactError(path, "parse", f"not a sound Arrow file: {error}") from error
    if rows.num_rows != num_rows:
        raise ArtifactError(path, "parse", f"expected {num_rows} rows, got {rows.num_rows}")
    there = {name: spec for name, spec in specs.items() if name not in optional or name in rows.schema.names}
    decoded: dict[str, Any] = {name: _decode(rows.column(name), spec, f"{path}:{name}") for name, spec in there.items()}
    return decoded | {name: _decode_texts(rows.column(name), f"{path}:{name}") for name in texts}


def arrow_array(array: Array) -> ArrowArray:
    """`array` [R, ...] as an Arrow array of R rows; only bool is copied."""
    pyarrow = require("pyarrow", "arrow")
    flat, is_bool = np.ascontiguousarray(array).reshape(-1), array.dtype == np.bool_
    # Not `pyarrow.array(flat)`: that imports pandas wherever it is installed.
    type_ = pyarrow.uint8() if is_bool else pyarrow.from_numpy_dtype(flat.dtype)
    values = pyarrow.Array.from_buffers(type_, len(flat), [None, pyarrow.py_buffer(flat)])
    values = values.cast(pyarrow.bool_()) if is_bool else values
    for length in reversed(array.shape[1:]):
        values = pyarrow.FixedSizeListArray.from_arrays(values, length)
    return values


def arrow_texts(texts: NDArray[np.object_]) -> ArrowArray:
    """`texts` [R], which `check_texts` accepts, as an Arrow array of strings."""
    pyarrow = require("pyarrow", "arrow")
    encoded = [text.encode() for text in texts.tolist()]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    buffers = [None, pyarrow.py_buffer(ends), pyarrow.py_buffer(b"".join(encoded))]
    return pyarrow.Array.from_buffers(pyarrow.string(), len(encoded), buffers)


def check_texts(texts: NDArray[np.object_]) -> None:
    """Raise `SchemaError` unless every string of `texts` is Unicode text (without a lone surrogate), as Arrow's are."""
    try:
        "".join(texts.tolist()).encode()
    except UnicodeEncodeError as error:
        first = next(text for text in texts.tolist() if error.object[error.start] in text)
        raise SchemaError(f"Arrow holds Unicode text, got {first!r:.80}") from error


def arrow_repeated(texts: NDArray[np.object_], counts: NDArray[np.int64]) -> ArrowArray:
    """Each of `texts` [B] repeated as often as `counts` [B] says, as an Arrow dictionary array."""
    rows = arrow_array(np.repeat(np.arange(len(texts)), counts))
    return arrow_texts(texts).dictionary_encode().take(rows)


def _file(rows: Any, compression: str | None) -> bytes:
    pyarrow = require("pyarrow", "arrow")
    sink = pyarrow.BufferOutputStream()
    options = pyarrow.ipc.IpcWriteOptions(compression=compression)
    with pyarrow.ipc.new_file(sink, rows.schema, options=options) as writer:
        writer.write_batch(rows)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _arrow_type(spec: ArraySpec) -> Any:
    pyarrow = require("pyarrow", "arrow")
    type_ = pyarrow.from_numpy_dtype(spec.numpy_dtype)
    for length in reversed(spec.shape):
        type_ = pyarrow.list_(type_, length)
    return type_


def _read_rows(data: bytes, path: str | Path, types: Mapping[str, Any], optional: Container[str]) -> Any:
    pyarrow = require("pyarrow", "arrow")
    stream = pyarrow.py_buffer(data)[STREAM_BEGINS:]
    schema = pyarrow.ipc.read_schema(stream)
    indices = []
    for name, type_ in types.items():
        found = schema.get_all_field_indices(name)
        if not found and name in optional:
            continue
        if len(found) != 1:
            raise ArtifactError(path, "parse", f"expected one column {name!r}, got {len(found)}")
        if not (actual := schema.field(found[0]).type).equals(type_):
            raise ArtifactError(path, "parse", f"{name}: expected {type_}, got {actual!s:.80}")
        indices += found
    options = pyarrow.ipc.IpcReadOptions(included_fields=indices)
    return pyarrow.ipc.open_stream(stream, options=options).read_next_batch()


def _decode(column: ArrowArray, spec: ArraySpec, where: str) -> Array:
    values, num_missing = column, column.null_count
    for _ in spec.shape:
        values = values.flatten()
        num_missing += values.null_count
    if num_missing:
        raise ArtifactError(where, "parse", f"{num_missing} values are missing")
    # Not by `to_numpy`: that imports pandas wherever it is installed.
    numbers: Array = np.from_dlpack(values.cast("uint8") if spec.dtype == "bool" else values)
    numbers.flags.writeable = False
    return numbers.view(spec.numpy_dtype).reshape(len(column), *spec.shape)


def _decode_texts(column: ArrowArray, where: str) -> NDArray[np.object_]:
    if column.null_count:
        raise ArtifactError(where, "parse", f"{column.null_count} values are missing")
    # Equal texts are one object: a table of trajectories names few agents often.
    encoded = column.dictionary_encode()
    texts = np.empty(len(encoded.dictionary), np.object_)
    texts[:] = encoded.dictionary.to_pylist()
    found: NDArray[np.object_] = texts[np.from_dlpack(encoded.indices)]
    return found


def allowance(num_bytes: int) -> int:
    """Bytes that the columns of a file of `num_bytes` may take."""
    return min(MAX_DECODED_BYTES, MAX_RATIO * num_bytes + FREE_BYTES)


def check_sizes(data: bytes, path: str | Path) -> None:
    """Refuse the Arrow file `data`, which came from `path`, unless it decodes to at most `allowance` bytes. Raises
    `ArtifactError` if it declares more, or as `declared_bytes`."""
    declared, allowed = declared_bytes(data, path), allowance(len(data))
    if declared > allowed:
        raise ArtifactError(
            path, "parse", f"{len(data)} bytes declare {declared} bytes of columns, at most {allowed} are read"
        )


def declared_bytes(data: bytes, path: str | Path) -> int:
    """What the columns of the Arrow file `data`, which came from `path`, will take when they are decoded. Raises
    `ArtifactError` if it is not an Arrow IPC file of the form that this package writes: one batch of rows."""
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
