"""npz files in memory: written deterministically, read with every size checked before it is allocated."""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.errors import ArtifactError

Array = NDArray[np.generic]

MAX_NPZ_BYTES = 2 << 30
"""Greatest size of a file, and of all its arrays together."""
MAX_RATIO = 200
FREE_BYTES = 16 << 20
"""Arrays may together take `MAX_RATIO` times the file's size and this on top."""
MAX_MEMBERS = 4096
MAX_DIMENSIONS = 8

_MAX_DIRECTORY_BYTES = MAX_MEMBERS * 512
_END_OF_DIRECTORY = struct.Struct("<4s4H2LH")
_ZIP64_LOCATOR = b"PK\x06\x07"
_ZIP64_LOCATOR_BYTES = 20
_MAGIC = b"\x93NUMPY\x01\x00"
_PREAMBLE_BYTES = len(_MAGIC) + 2
_MAX_HEADER_BYTES = 1 << 12
_HEADER = re.compile(
    rb"\{'descr': '([<|][biuf][1248])', 'fortran_order': (False|True), "
    rb"'shape': \((|\d{1,18},|\d{1,18}(?:, \d{1,18})+)\), \} *\n"
)
_DTYPES = {
    np.dtype(name).str.encode(): np.dtype(name)
    for name in ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")
}
_READ_ERRORS = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OverflowError, RuntimeError, ValueError)
"""What zipfile raises for damaged archives, directly or as a subclass (NotImplementedError, UnicodeDecodeError)."""


def encode_npz(arrays: Mapping[str, Array], *, compress: bool = True) -> bytes:
    """The bytes of an npz file, the same for equal arrays; not compressed where `decode_npz` would call that a bomb."""
    members = {}
    for name, array in arrays.items():
        stream = io.BytesIO()
        np.lib.format.write_array(stream, np.asarray(array, order="C"), version=(1, 0), allow_pickle=False)
        members[f"{name}.npy"] = stream.getvalue()
    data = _zipped(members, zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED)
    if sum(map(len, members.values())) > _allowance(len(data)):
        data = _zipped(members, zipfile.ZIP_STORED)
    return data


def decode_npz(data: bytes, path: str | Path, *, names: frozenset[str] | None) -> dict[str, Array]:
    """The arrays of an npz file that came from `path`; nothing is unpickled.

    Args:
        data: the whole file.
        path: for the error.
        names: the arrays that it must hold, no more and no less; None: any.

    Raises:
        ArtifactError: if it is damaged, holds other arrays, other dtypes than bool, ints and floats, or declares sizes
            that contradict each other or exceed the limits of this module.
    """
    _check_directory(data, path)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            _check_members(members, len(data), names, path)
            return {member.filename.removesuffix(".npy"): _read_member(archive, member, path) for member in members}
    except _READ_ERRORS as error:
        raise ArtifactError(path, "parse", f"not a sound npz file: {error}") from error


def _zipped(members: Mapping[str, bytes], compression: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = compression
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    return stream.getvalue()


def _allowance(num_bytes: int) -> int:
    return min(MAX_NPZ_BYTES, MAX_RATIO * num_bytes + FREE_BYTES)


def _check_directory(data: bytes, path: str | Path) -> None:
    """Bound the zip directory before zipfile makes an object of each of its entries."""
    if len(data) > MAX_NPZ_BYTES:
        raise ArtifactError(path, "read", f"at most {MAX_NPZ_BYTES} bytes are read, got {len(data)}")
    if len(data) < _END_OF_DIRECTORY.size:
        raise ArtifactError(path, "parse", f"not a zip archive: {len(data)} bytes")
    end = len(data) - _END_OF_DIRECTORY.size
    signature, _, _, _, num_members, directory_bytes, _, comment_bytes = _END_OF_DIRECTORY.unpack_from(data, end)
    if signature != b"PK\x05\x06" or comment_bytes:
        raise ArtifactError(path, "parse", "not a zip archive that ends with its directory")
    if data[max(0, end - _ZIP64_LOCATOR_BYTES) : end].startswith(_ZIP64_LOCATOR):
        raise ArtifactError(path, "parse", "a zip64 directory is not read")
    if num_members > MAX_MEMBERS or directory_bytes > _MAX_DIRECTORY_BYTES:
        raise ArtifactError(
            path, "parse", f"at most {MAX_MEMBERS} members are read, got {num_members} in {directory_bytes} bytes"
        )


def _check_members(
    members: list[zipfile.ZipInfo], num_bytes: int, names: frozenset[str] | None, path: str | Path
) -> None:
    found = [member.filename for member in members]
    # A name without the suffix counts as unknown.
    wanted = names if names is not None else [name.removesuffix(".npy") for name in found]
    expected = {f"{name}.npy" for name in wanted}
    if len(found) != len(expected) or set(found) != expected:
        missing, unknown = sorted(expected - set(found)), sorted(set(found) - expected)
        raise ArtifactError(path, "parse", f"missing members {missing}, unknown {unknown}, {len(found)} in all")
    total = sum(member.file_size for member in members)
    if total > _allowance(num_bytes):
        allowed = _allowance(num_bytes)
        raise ArtifactError(
            path, "parse", f"{num_bytes} bytes declare {total} bytes of arrays, at most {allowed} are read"
        )
    for member in members:
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ArtifactError(path, "parse", f"{member.filename}: compression {member.compress_type} is not read")


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: str | Path) -> Array:
    where = f"{path}:{member.filename}"
    with archive.open(member) as stream:
        preamble = stream.read(_PREAMBLE_BYTES)
        if len(preamble) < _PREAMBLE_BYTES or not preamble.startswith(_MAGIC):
            raise ArtifactError(where, "parse", "not an npy array of version 1.0")
        header_bytes = int.from_bytes(preamble[-2:], "little")
        if header_bytes > _MAX_HEADER_BYTES:
            raise ArtifactError(where, "parse", f"a header has at most {_MAX_HEADER_BYTES} bytes, got {header_bytes}")
        dtype, fortran, shape = _parse_header(stream.read(header_bytes), where)
        expected = math.prod(shape) * dtype.itemsize
        declared = member.file_size - _PREAMBLE_BYTES - header_bytes
        if expected != declared:
            raise ArtifactError(where, "parse", f"{dtype} {shape} takes {expected} bytes, {declared} are there")
        content = stream.read(expected)
        if len(content) != expected or stream.read(1):
            raise ArtifactError(where, "read", f"expected {expected} bytes, got {len(content)}")
    # A copy owns its memory, so that it can be written to, or frozen.
    array: Array = np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C").copy(order="K")
    if dtype == np.bool_ and array.size and array.view(np.uint8).max() > 1:
        raise ArtifactError(where, "parse", "a bool is 0 or 1")
    return array


def _parse_header(header: bytes, where: str) -> tuple[np.dtype[np.generic], bool, tuple[int, ...]]:
    match = _HEADER.fullmatch(header)
    if match is None:
        raise ArtifactError(where, "parse", f"not a plain npy header: {header[:80]!r}")
    descr, order, lengths = match.groups()
    if descr not in _DTYPES:
        raise ArtifactError(where, "parse", f"dtype must be one of {sorted(_DTYPES)}, got {descr!r}")
    shape = tuple(int(length) for length in lengths.split(b",") if length.strip())
    if len(shape) > MAX_DIMENSIONS:
        raise ArtifactError(where, "parse", f"at most {MAX_DIMENSIONS} dimensions are read, got {len(shape)}")
    return _DTYPES[descr], order == b"True", shape
