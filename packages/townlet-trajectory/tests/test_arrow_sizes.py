"""What an Arrow file asks for is known before it is given."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import any_specs, extreme_rows

from townlet_trajectory import ArraySpec, ArtifactError
from townlet_trajectory.formats.shards.columns import (
    FREE_BYTES,
    MAX_DECODED_BYTES,
    allowance,
    arrow_array,
    arrow_repeated,
    arrow_texts,
    check_sizes,
    declared_bytes,
    encode_columns,
)

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


@pytest.mark.property
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
