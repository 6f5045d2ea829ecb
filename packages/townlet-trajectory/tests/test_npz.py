"""npz in bounded memory, with one kind of error."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from strategies import damaged

from townlet_trajectory import ArtifactError
from townlet_trajectory.data.schema import DTYPES
from townlet_trajectory.storage.npz import FREE_BYTES, MAX_MEMBERS, MAX_RATIO, decode_npz, encode_npz

ARRAYS = {
    "x": np.arange(12, dtype=np.float32).reshape(3, 4),
    "decisions.kind": np.array([0, 1, 2], np.int8),
    "done": np.array([True, False]),
}
NAMES = frozenset(ARRAYS)


def same(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> bool:
    return left.keys() == right.keys() and all(
        array.dtype == right[name].dtype
        and array.shape == right[name].shape
        and array.tobytes() == right[name].tobytes()
        for name, array in left.items()
    )


@given(
    st.dictionaries(
        st.from_regex(r"[a-z_.]{1,8}", fullmatch=True),
        st.sampled_from(sorted(DTYPES)).flatmap(
            lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0))
        ),
        max_size=4,
    )
)
def test_decode_inverts_encode(arrays: dict[str, np.ndarray]) -> None:
    data = encode_npz(arrays)
    assert same(decode_npz(data, "f", names=frozenset(arrays)), arrays)
    assert encode_npz(arrays) == data


def test_numpy_reads_ours_and_we_read_numpy() -> None:
    with np.load(io.BytesIO(encode_npz(ARRAYS)), allow_pickle=False) as loaded:
        assert same(dict(loaded), ARRAYS)
    for save in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        save(stream, **ARRAYS)
        assert same(decode_npz(stream.getvalue(), "f", names=NAMES), ARRAYS)


def test_fortran_order_is_kept() -> None:
    stream = io.BytesIO()
    np.savez(stream, x=np.asfortranarray(ARRAYS["x"]))
    np.testing.assert_array_equal(decode_npz(stream.getvalue(), "f", names=frozenset({"x"}))["x"], ARRAYS["x"])


def test_arrays_can_be_written_to() -> None:
    decode_npz(encode_npz(ARRAYS), "f", names=NAMES)["x"][0, 0] = 7


def test_what_compresses_like_a_bomb_is_stored_plainly() -> None:
    arrays = {"x": np.zeros(8 << 20, np.float32)}
    data = encode_npz(arrays)
    assert len(data) > 32 << 20
    assert same(decode_npz(data, "f", names=frozenset({"x"})), arrays)


def npy(header: bytes, content: bytes = b"", *, version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header + content


def zipped(members: dict[str, bytes], *, compression: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.comment = comment
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def header(descr: str = "<f4", shape: str = "(2,)", order: str = "False") -> bytes:
    return f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()


def object_npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, x=np.array([{"a": 1}], object))
    return stream.getvalue()


def duplicated() -> bytes:
    stream = io.BytesIO()
    content = npy(header(), b"\0" * 8)
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("x.npy", content)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x.npy", content)
    return stream.getvalue()


def with_zip64_locator() -> bytes:
    data = zipped({"x.npy": npy(header(), b"\0" * 8)})
    return data[:-22] + b"PK\x06\x07" + b"\0" * 16 + data[-22:]


X = frozenset({"x"})
MALICIOUS: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "not a zip archive: 0 bytes"),
    "text": (lambda: b"not a zip archive, but long enough", "not a zip archive that ends with"),
    "comment": (lambda: zipped({}, comment=b"hello"), "not a zip archive that ends with"),
    "zip64": (with_zip64_locator, "zip64"),
    "object": (object_npz, "not a plain npy header"),
    "missing": (lambda: zipped({"y.npy": b""}), r"missing members \['x.npy'\], unknown \['y.npy'\]"),
    "extra": (lambda: zipped({"x.npy": b"", "y.npy": b""}), r"missing members \[\], unknown \['y.npy'\], 2 in all"),
    "duplicate": (duplicated, "2 in all"),
    "many": (lambda: zipped({str(n): b"" for n in range(MAX_MEMBERS + 1)}), "at most 4096 members are read, got 4097"),
    "bomb": (lambda: zipped({"x.npy": npy(header(shape="(25000000,)"), b"\0" * 100_000_000)}), "declare 100000"),
    "lzma": (lambda: zipped({"x.npy": b""}, compression=zipfile.ZIP_LZMA), "compression 14 is not read"),
    "lying": (lambda: zipped({"x.npy": npy(header(shape="(999999999999999999,)"), b"\0" * 8)}), "8 are there"),
    "lying product": (lambda: zipped({"x.npy": npy(header(shape=f"({', '.join(['9' * 18] * 6)})"))}), "0 are there"),
    "short": (lambda: zipped({"x.npy": npy(header(), b"\0" * 7)}), "takes 8 bytes, 7 are there"),
    "long": (lambda: zipped({"x.npy": npy(header(), b"\0" * 9)}), "takes 8 bytes, 9 are there"),
    "negative": (lambda: zipped({"x.npy": npy(header(shape="(-1,)"))}), "not a plain npy header"),
    "dimensions": (lambda: zipped({"x.npy": npy(header(shape=f"({', '.join('1' * 9)})"), b"\0" * 4)}), "8 dimensions"),
    "big endian": (lambda: zipped({"x.npy": npy(header(">f4"), b"\0" * 8)}), "not a plain npy header"),
    "half": (lambda: zipped({"x.npy": npy(header("<i1"), b"\0" * 2)}), "dtype must be one of"),
    "code": (lambda: zipped({"x.npy": npy(b"__import__('os').system('true')")}), "not a plain npy header"),
    "version": (lambda: zipped({"x.npy": npy(header(), b"\0" * 8, version=b"\x02\x00")}), "npy array of version 1.0"),
    "huge header": (lambda: zipped({"x.npy": npy(b" " * 5000)}), "a header has at most 4096 bytes, got 5000"),
    "no header": (lambda: zipped({"x.npy": b"\x93NUM"}), "npy array of version 1.0"),
    "cut header": (lambda: zipped({"x.npy": npy(header())[:-9]}), "not a plain npy header"),
    "bool": (lambda: zipped({"x.npy": npy(header("|b1"), b"\1\2")}), "a bool is 0 or 1"),
}


@pytest.mark.parametrize("name", MALICIOUS)
def test_malicious(name: str) -> None:
    make, reason = MALICIOUS[name]
    data = make()
    tracemalloc.start()
    with pytest.raises(ArtifactError, match=reason):
        decode_npz(data, "f.npz", names=X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_the_bound_of_the_ratio_is_exact() -> None:
    padding = 1000
    for _ in range(50):  # the size of the file depends a little on what is in it
        data = zipped({"x.npy": npy(header("|u1", f"({padding},)"), b"\0" * padding)})
        allowed = MAX_RATIO * len(data) + FREE_BYTES - len(npy(header("|u1", f"({padding},)")))
        if padding == allowed:
            break
        padding = allowed
    assert decode_npz(data, "f", names=X)["x"].size == padding
    one_more = zipped({"x.npy": npy(header("|u1", f"({padding + 1},)"), b"\0" * (padding + 1))})
    if len(one_more) == len(data):
        with pytest.raises(ArtifactError, match="at most"):
            decode_npz(one_more, "f", names=X)


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_file_is_never_loaded_as_something_else(seed: int) -> None:
    data = encode_npz(ARRAYS) if seed % 2 else zipped({}) + encode_npz(ARRAYS)
    rng = np.random.default_rng(seed)
    refused = 0
    for _ in range(1000):
        try:
            arrays = decode_npz(damaged(data, rng), "f", names=NAMES)
        except ArtifactError:
            refused += 1
            continue
        assert same(arrays, ARRAYS)
    assert refused > 500


def test_stored_plainly_when_asked() -> None:
    data = encode_npz(ARRAYS, compress=False)
    assert ARRAYS["x"].tobytes() in data
    assert same(decode_npz(data, "f", names=NAMES), ARRAYS)


def test_whatever_names_there_are() -> None:
    assert same(decode_npz(encode_npz(ARRAYS), "f", names=None), ARRAYS)
    with pytest.raises(ArtifactError, match=r"unknown \['x'\], 1 in all"):
        decode_npz(zipped({"x": npy(header(), b"\0" * 8)}), "f", names=None)
    with pytest.raises(ArtifactError, match="2 in all"):
        decode_npz(duplicated(), "f", names=None)
