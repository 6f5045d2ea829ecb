"""Columns of numpy arrays as one Arrow IPC file, and back.

A row of shape (2, 3) is an Arrow FixedSizeList<FixedSizeList<float, 3>, 2>: Polars shows it as an array of that shape,
DuckDB as FLOAT[3][2], pandas as nested arrays, none of them needs to be told. (The extension type fixed_shape_tensor
would lose the shape in DuckDB and pandas, and arithmetic in Polars.) There are no missing values. Booleans are Arrow's,
one bit each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.schema import ArraySpec
from townlet_trajectory.data.trajectory import Array
from townlet_trajectory.errors import ArtifactError, SchemaError
from townlet_trajectory.formats.shards.sizes import STREAM_BEGINS, allowance, check_sizes, declared_bytes
from townlet_trajectory.storage.extras import require

ArrowArray: TypeAlias = Any
"""A pyarrow.Array; pyarrow is published without types."""


def encode_columns(columns: Mapping[str, ArrowArray], *, compression: str) -> bytes:
    """The bytes of an Arrow IPC file with one batch of rows.

    Args:
        columns: Arrow arrays of equal lengths by name, of `arrow_array`, `arrow_texts` or `arrow_repeated`.
        compression: `lz4`, `zstd` or `none`. Columns that shrink so far that `decode_columns` would call them a bomb
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
    num_rows: int,
) -> dict[str, Array]:
    """Columns of an Arrow IPC file that came from `path`; other columns are not decoded.

    What is not compressed is not copied: such arrays are read-only views of `data`.

    Args:
        data: the whole file.
        path: for the error.
        specs: what each column must be.
        texts: names of columns that must be strings; they come as arrays of objects.
        num_rows: how many rows there must be.

    Raises:
        ArtifactError: if it is damaged, lacks a column, holds another type, another number of rows or missing values,
            or declares sizes that exceed the limits of `arrow_sizes`.
    """
    check_sizes(data, path)
    pyarrow = require("pyarrow", "arrow")
    types = {name: _arrow_type(spec) for name, spec in specs.items()} | dict.fromkeys(texts, pyarrow.string())
    try:
        rows = _read_rows(data, path, types)
        rows.validate(full=True)
    except (pyarrow.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:
        raise ArtifactError(path, "parse", f"not a sound Arrow file: {error}") from error
    if rows.num_rows != num_rows:
        raise ArtifactError(path, "parse", f"expected {num_rows} rows, got {rows.num_rows}")
    decoded = {name: _decode(rows.column(name), spec, f"{path}:{name}") for name, spec in specs.items()}
    return decoded | {name: _decode_texts(rows.column(name), f"{path}:{name}") for name in texts}


def arrow_array(array: Array) -> ArrowArray:
    """`array` [R, ...] as an Arrow array of R rows; only bool is copied."""
    pyarrow = require("pyarrow", "arrow")
    flat = np.ascontiguousarray(array).reshape(-1)
    # Not `pyarrow.array(flat)`: that imports pandas wherever it is installed.
    bits = np.packbits(flat.view(np.uint8), bitorder="little") if flat.dtype == np.bool_ else None
    content = pyarrow.py_buffer(flat if bits is None else bits)
    values = pyarrow.Array.from_buffers(pyarrow.from_numpy_dtype(flat.dtype), len(flat), [None, content])
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
    pyarrow = require("pyarrow", "arrow")
    encoded = arrow_texts(texts).dictionary_encode()
    indices = arrow_array(np.repeat(_values(encoded.indices, np.dtype(np.int32)), counts))
    return pyarrow.DictionaryArray.from_arrays(indices, encoded.dictionary)


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


def _read_rows(data: bytes, path: str | Path, types: Mapping[str, Any]) -> Any:
    pyarrow = require("pyarrow", "arrow")
    stream = pyarrow.py_buffer(data)[STREAM_BEGINS:]
    schema = pyarrow.ipc.read_schema(stream)
    indices = []
    for name, type_ in types.items():
        found = schema.get_all_field_indices(name)
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
    return _values(values, spec.numpy_dtype).reshape(len(column), *spec.shape)


def _values(column: ArrowArray, dtype: np.dtype[np.generic]) -> Array:
    """The values of a column of numbers or flags, read-only; only bool is copied.

    Not by `column.to_numpy()`: that imports pandas wherever it is installed.
    """
    _, content = column.buffers()
    if content is None:  # of no rows
        return np.empty(0, dtype)
    if dtype == np.bool_:
        bits = np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little", count=column.offset + len(column))
        bits.flags.writeable = False
        return bits[column.offset :].view(np.bool_)
    values: Array = np.frombuffer(content, dtype, len(column), column.offset * dtype.itemsize)
    values.flags.writeable = False
    return values


def _decode_texts(column: ArrowArray, where: str) -> NDArray[np.object_]:
    if column.null_count:
        raise ArtifactError(where, "parse", f"{column.null_count} values are missing")
    texts = np.empty(len(column), np.object_)
    texts[:] = column.to_pylist()
    return texts
