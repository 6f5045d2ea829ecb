"""Columns as Arrow, and back."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import any_specs, damaged, extreme_rows

from townlet_trajectory import ArraySpec, ArtifactError, SchemaError
from townlet_trajectory.dataset.info import COMPRESSIONS
from townlet_trajectory.formats.shards.columns import (
    FREE_BYTES,
    MAX_DECODED_BYTES,
    allowance,
    arrow_array,
    arrow_repeated,
    arrow_texts,
    check_sizes,
    check_texts,
    declared_bytes,
    decode_columns,
    encode_columns,
)

TENSOR = np.arange(12, dtype=np.float32).reshape(2, 2, 3)


def texts_of(*texts: str) -> NDArray[np.object_]:
    array = np.empty(len(texts), object)
    array[:] = texts
    return array


@given(
    st.dictionaries(st.text(max_size=3), any_specs(), max_size=4),
    st.integers(0, 20),
    st.integers(0, 99),
    st.lists(st.text(max_size=4), min_size=20, max_size=20),
)
def test_decode_inverts_encode(specs: dict[str, ArraySpec], num_rows: int, seed: int, texts: list[str]) -> None:
    rng = np.random.default_rng(seed)
    columns = {name: extreme_rows(spec, num_rows, rng, finite=False) for name, spec in specs.items()}
    ids = texts_of(*texts[:num_rows])
    for compression in COMPRESSIONS:
        arrow = {name: arrow_array(column) for name, column in columns.items()}
        data = encode_columns({**arrow, "long name": arrow_texts(ids)}, compression=compression)
        decoded = decode_columns(data, "f", specs, texts=["long name"], num_rows=num_rows)
        assert decoded.pop("long name").tolist() == ids.tolist()
        assert decoded.keys() == columns.keys()
        for name, column in columns.items():
            assert (decoded[name].dtype, decoded[name].shape) == (column.dtype, column.shape)
            assert decoded[name].tobytes() == column.tobytes()
            assert not decoded[name].flags.writeable


def test_types_say_their_shape() -> None:
    assert arrow_array(TENSOR).type == pa.list_(pa.list_(pa.float32(), 3), 2)
    assert arrow_array(TENSOR).to_pylist()[1] == [[6, 7, 8], [9, 10, 11]]
    assert arrow_array(TENSOR[:, 0, 0]).type == pa.float32()
    assert arrow_array(TENSOR > 3).type == pa.list_(pa.list_(pa.bool_(), 3), 2)
    assert arrow_array(TENSOR.transpose(0, 2, 1)).to_pylist()[0] == [[0, 3], [1, 4], [2, 5]]


def test_repeated_texts_are_kept_once() -> None:
    repeated = arrow_repeated(texts_of("a", "b", "a"), np.array([2, 1, 3]))
    assert repeated.to_pylist() == ["a", "a", "b", "a", "a", "a"]
    assert repeated.dictionary.to_pylist() == ["a", "b"]


def test_only_unicode() -> None:
    check_texts(texts_of("", "\0", "\U0010ffff"))
    check_texts(texts_of())
    with pytest.raises(SchemaError, match=re.escape(r"Arrow holds Unicode text, got 'b\ud800c'")):
        check_texts(texts_of("a", "b\ud800c"))


def test_what_is_not_compressed_is_not_copied() -> None:
    specs = {"x": ArraySpec("float32", (2, 3))}
    data = encode_columns({"x": arrow_array(TENSOR)}, compression="none")
    array = decode_columns(data, "f", specs, num_rows=2)["x"]
    assert np.shares_memory(array, np.frombuffer(data, np.uint8))


def test_what_compresses_like_a_bomb_is_stored_plainly() -> None:
    zeros = np.zeros((32 << 20) // 8)
    for compression in ("lz4", "zstd"):
        data = encode_columns({"x": arrow_array(zeros)}, compression=compression)
        assert decode_columns(data, "f", {"x": ArraySpec("float64")}, num_rows=len(zeros))["x"].sum() == 0
    assert len(data) > 32 << 20


def encoded(**columns: pa.Array) -> bytes:
    return encode_columns(columns, compression="lz4")


MISSING = pa.array([1.0, None], pa.float32())
TENSORS = {
    "missing row": pa.FixedSizeListArray.from_arrays(pa.array(range(4), pa.float32()), 2, mask=pa.array([False, True])),
    "missing value": pa.FixedSizeListArray.from_arrays(pa.array([0, 1, None, 3], pa.float32()), 2),
}


@pytest.mark.parametrize(
    ("data", "spec", "reason"),
    [
        (encoded(y=pa.array([1, 2])), ArraySpec("int64"), r"expected one column 'x', got 0"),
        (encoded(x=pa.array([1, 2])), ArraySpec("int32"), "x: expected int32, got int64"),
        (encoded(x=pa.array([1, 2])), ArraySpec("int64", (1,)), r"x: expected fixed_size_list<.*>\[1\], got int64"),
        (encoded(x=arrow_array(TENSOR)), ArraySpec("float32", (3, 2)), r"\[3\], got .*\[2\]"),
        (encoded(x=pa.array([1, 2, 3])), ArraySpec("int64"), "expected 2 rows, got 3"),
        (encoded(x=MISSING), ArraySpec("float32"), "f:x: parse: 1 values are missing"),
        (encoded(x=TENSORS["missing row"]), ArraySpec("float32", (2,)), "f:x: parse: . values are missing"),
        (encoded(x=TENSORS["missing value"]), ArraySpec("float32", (2,)), "f:x: parse: 1 values are missing"),
        (encoded(x=pa.array([b"\xff", b"a"])), ArraySpec("int8"), "x: expected int8, got binary"),
    ],
)
def test_other_columns(data: bytes, spec: ArraySpec, reason: str) -> None:
    with pytest.raises(ArtifactError, match=reason):
        decode_columns(data, "f", {"x": spec}, num_rows=2)


def test_other_texts() -> None:
    with pytest.raises(ArtifactError, match="f:t: parse: 1 values are missing"):
        decode_columns(encoded(t=pa.array(["a", None])), "f", {}, texts=["t"], num_rows=2)
    with pytest.raises(ArtifactError, match="t: expected string, got large_string"):
        decode_columns(encoded(t=pa.array(["a"], pa.large_string())), "f", {}, texts=["t"], num_rows=1)
    latin = pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, 1], np.int32)), pa.py_buffer(b"\xff"))
    with pytest.raises(ArtifactError, match="not a sound Arrow file: .*UTF8"):
        decode_columns(encoded(t=latin), "f", {}, texts=["t"], num_rows=1)


def test_a_column_twice() -> None:
    rows = pa.RecordBatch.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_batch(rows)
    with pytest.raises(ArtifactError, match="expected one column 'x', got 2"):
        decode_columns(sink.getvalue().to_pybytes(), "f", {"x": ArraySpec("int64")}, num_rows=1)


def test_columns_that_are_not_asked_for_are_not_decoded() -> None:
    data = encoded(x=pa.array([1, 2]), y=pa.array([None, "q"]))
    assert decode_columns(data, "f", {"x": ArraySpec("int64")}, num_rows=2)["x"].tolist() == [1, 2]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_damage_is_an_error_or_arrays_of_the_right_form(compression: str) -> None:
    # There are no checksums in the file itself: those are in the manifest.
    specs = {"x": ArraySpec("float32", (2, 3)), "b": ArraySpec("bool")}
    arrays = {"x": arrow_array(TENSOR), "b": arrow_array(np.array([True, False]))}
    data = encode_columns({**arrays, "t": arrow_texts(texts_of("ab", "é"))}, compression=compression)
    rng = np.random.default_rng(9)
    for _ in range(500):
        try:
            decoded = decode_columns(damaged(data, rng), "f", specs, texts=["t"], num_rows=2)
        except ArtifactError:
            continue
        assert (decoded["x"].dtype, decoded["x"].shape) == (np.float32, (2, 2, 3))
        assert (decoded["b"].dtype, decoded["b"].shape, decoded["t"].shape) == (np.bool_, (2,), (2,))


NUMBERS = pa.record_batch({"x": np.arange(5000) % 7})
"""40,000 bytes, of which little is left when they are compressed."""


def arrow_file(*batches: pa.RecordBatch, compression: str | None = "lz4", metadata: str | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_file(sink, batches[0].schema if batches else NUMBERS.schema, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch, custom_metadata=metadata and {"ARROW:experimental_compression": metadata})
    return sink.getvalue().to_pybytes()


def old_file() -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(metadata_version=pa.MetadataVersion.V4)
    with pa.ipc.new_file(sink, NUMBERS.schema, options=options) as writer:
        writer.write_batch(NUMBERS)
    return sink.getvalue().to_pybytes()


def buffer_sizes(array: pa.Array) -> int:
    dictionary = buffer_sizes(array.dictionary) if pa.types.is_dictionary(array.type) else 0
    return dictionary + sum(buffer.size for buffer in array.buffers() if buffer is not None)


@given(
    st.lists(any_specs(), min_size=1, max_size=4),
    st.integers(0, 40),
    st.integers(0, 99),
    st.sampled_from(["lz4", "zstd", "none"]),
)
def test_what_is_declared_is_what_arrow_allocates(
    specs: list[ArraySpec], num_rows: int, seed: int, compression: str
) -> None:
    rng = np.random.default_rng(seed)
    columns = {str(n): arrow_array(extreme_rows(spec, num_rows, rng, finite=True)) for n, spec in enumerate(specs)}
    texts = np.array(["é" * n for n in range(num_rows)], object)
    columns |= {"texts": arrow_texts(texts), "repeated": arrow_repeated(texts, np.ones(num_rows, np.int64))}
    data = encode_columns(columns, compression=compression)
    rows = pa.ipc.open_file(pa.py_buffer(data)).get_batch(0)
    taken = sum(map(buffer_sizes, rows.columns))
    declared = declared_bytes(data, "f")
    assert taken <= declared <= taken + 64 * (len(columns) + 4) * 4  # what is not compressed is padded
    if compression != "none" and num_rows:
        assert declared == taken or declared == pytest.approx(taken, abs=16)


def test_declared_bytes_by_hand() -> None:
    assert declared_bytes(arrow_file(NUMBERS), "f") == 40_000
    assert declared_bytes(arrow_file(NUMBERS, compression=None), "f") == 40_000
    assert len(arrow_file(NUMBERS)) < 10_000


def with_length(length: int) -> bytes:
    data = arrow_file(NUMBERS)
    assert data.count(struct.pack("<q", 40_000)) == 1
    return data.replace(struct.pack("<q", 40_000), struct.pack("<q", length))


def test_the_bound_is_exact() -> None:
    free = allowance(len(arrow_file(NUMBERS)))
    assert free == FREE_BYTES + 200 * len(arrow_file(NUMBERS))
    check_sizes(with_length(free), "f")
    with pytest.raises(ArtifactError, match=f"f: parse: .* declare {free + 1} bytes of columns, at most {free} are"):
        check_sizes(with_length(free + 1), "f")
    assert allowance(1 << 40) == MAX_DECODED_BYTES


MALICIOUS: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "not an Arrow IPC file"),
    "magic alone": (lambda: b"ARROW1", "not an Arrow IPC file"),
    "magic twice": (lambda: b"ARROW1\0\0ARROW1", "not a sound Arrow file"),
    "cut": (lambda: arrow_file(NUMBERS)[:-1], "not an Arrow IPC file"),
    "short": (lambda: arrow_file(NUMBERS)[:400] + b"ARROW1", "not a sound Arrow file"),
    "no rows": (lambda: arrow_file(), "expected one batch of rows, got 0"),
    "two batches": (lambda: arrow_file(NUMBERS, NUMBERS), "expected one batch of rows, got 2"),
    "an old version": (old_file, "messages of version V5 are read"),
    # of old, the codec was said there: two places to look at are one too many
    "metadata of a message": (lambda: arrow_file(NUMBERS, metadata="lz4"), "has no metadata of its own"),
    "a bomb": (lambda: with_length(1 << 40), "declare 1099511627776 bytes"),
    "overflow": (lambda: with_length((1 << 63) - 1), "declare 9223372036854775807 bytes"),
    "negative": (lambda: with_length(-2), "a length must not be negative, got -2"),
    "most negative": (lambda: with_length(-(1 << 63)), "a length must not be negative"),
}


@pytest.mark.parametrize("name", MALICIOUS)
def test_malicious(name: str) -> None:
    make, reason = MALICIOUS[name]
    data = make()
    with pytest.raises(ArtifactError, match=reason):
        check_sizes(data, "f")


def test_lengths_add_up_without_wrapping() -> None:
    sink = {name: np.arange(5000) % 7 for name in "abcd"}
    data = arrow_file(pa.record_batch(sink)).replace(struct.pack("<q", 40_000), struct.pack("<q", 1 << 62))
    with pytest.raises(ArtifactError, match=f"declare {4 << 62} bytes"):
        check_sizes(data, "f")
