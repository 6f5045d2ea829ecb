"""Columns as Arrow, and back."""

from __future__ import annotations

import re

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
    arrow_array,
    arrow_repeated,
    arrow_texts,
    check_texts,
    decode_columns,
    encode_columns,
)

TENSOR = np.arange(12, dtype=np.float32).reshape(2, 2, 3)


def texts_of(*texts: str) -> NDArray[np.object_]:
    array = np.empty(len(texts), object)
    array[:] = texts
    return array


@pytest.mark.property
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
