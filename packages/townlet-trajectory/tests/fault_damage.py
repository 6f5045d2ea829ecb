"""Damage: what disks, transfers and hands do to files, drawn from a generator."""

from __future__ import annotations

import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO

import numpy as np

Files = dict[str, bytes]
"""Content by relative path."""
Damage = dict[str, bytes | None]
"""What has changed: new content by relative path, None for a file that is gone."""

_TOKENS = (
    *(b"NaN", b"-Infinity", b"1e999", b"-1", b"1.5", b"true", b"null", b'""', b'"\\ud800"', b"[]", b"{}"),
    *(b"9" * 19, b"9" * 5000, b"[" * 70, b'{"a":1,"a":2}', b'"../../x"', b'"/etc/passwd"', b"\xff\xfe", b"\0"),
)
_ENTRY = b"PK\x01\x02"
_ENTRY_BYTES = 46


def damaged(files: Files, others: Files, names: Sequence[str], rng: np.random.Generator) -> Damage:
    """Damage one of `names`, or the folder; never returns what is sound again: `files` or `others`.

    Args:
        files: the sound files.
        others: sound files of the same kind with other content, to take parts from.
        names: those to damage.
        rng: decides what and where.
    """
    while True:
        name = names[rng.integers(len(names))]
        if rng.random() < 0.03:
            change = _damaged_folder(files, others, name, names, rng)
        else:
            change = {name: _damaged_bytes(files[name], others.get(name, b""), rng)}
        after = {**files, **change}
        if all(after != sound for sound in (files, others)):
            return change


def _damaged_folder(
    files: Files, others: Files, name: str, names: Sequence[str], rng: np.random.Generator
) -> Mapping[str, bytes | None]:
    kind = rng.integers(4)
    if kind == 0:
        return {name: None}
    if kind == 1:
        return {name: b""}
    if kind == 2 and name in others:
        return {name: others[name]}
    other = names[rng.integers(len(names))]
    return {name: files[other], other: files[name]}


def _damaged_bytes(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    if not data:
        return b"\0"
    if _ENTRY in data and rng.random() < 0.25:
        return _damaged_zip(data, rng)
    kinds = _KINDS if data[:1] in b"{[-#m" else _BINARY_KINDS
    return kinds[rng.integers(len(kinds))](data, other, rng)


def _flip(data: bytes, _other: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for place in rng.integers(0, len(data), rng.integers(1, 17)).tolist():
        changed[place] ^= int(rng.integers(1, 256))
    return bytes(changed)


def _flip_bit(data: bytes, _other: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    changed[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _cut(data: bytes, _other: bytes, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(len(data))]


def _delete(data: bytes, _other: bytes, rng: np.random.Generator) -> bytes:
    start, stop = _range(data, rng)
    return data[:start] + data[stop:]


def _repeat(data: bytes, _other: bytes, rng: np.random.Generator) -> bytes:
    start, stop = _range(data, rng)
    return data[:stop] + data[start:stop] + data[stop:]


def _blank(data: bytes, _other: bytes, rng: np.random.Generator) -> bytes:
    """A block that the disk lost."""
    block = int(rng.choice([16, 512, 4096]))
    start = int(rng.integers(len(data))) // block * block
    return data[:start] + bytes(len(data[start : start + block])) + data[start + block :]


def _splice(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(1, len(data) + 1))
    return data[:at] + other[at:]


def _insert(data: bytes, _other: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(data) + 1))
    return data[:at] + rng.bytes(int(rng.integers(1, 64))) + data[at:]


def _append(data: bytes, _other: bytes, rng: np.random.Generator) -> bytes:
    return data + rng.bytes(int(rng.integers(1, 64)))


def _token(data: bytes, _other: bytes, rng: np.random.Generator) -> bytes:
    """Put another value where one begins."""
    starts = [at + 1 for at in range(len(data) - 1) if data[at] in b" :,["]
    start = starts[rng.integers(len(starts))] if starts else 0
    stop = start + 1
    while stop < len(data) and data[stop] not in b",\n]}":
        stop += 1
    return data[:start] + _TOKENS[rng.integers(len(_TOKENS))] + data[stop:]


def _range(data: bytes, rng: np.random.Generator) -> tuple[int, int]:
    start = int(rng.integers(len(data)))
    return start, min(len(data), start + int(rng.integers(1, 64)))


def _damaged_zip(data: bytes, rng: np.random.Generator) -> bytes:
    kind = rng.integers(3)
    if kind == 0:
        return _wrong_directory(data, rng)
    if kind == 1:
        return _repeated_member(data, rng)
    return _zip_in_other_order(data, rng)


def _wrong_directory(data: bytes, rng: np.random.Generator) -> bytes:
    """Another value in one field of one record of the zip's central directory, or of its end."""
    places = [at for at in range(len(data) - _ENTRY_BYTES) if data[at : at + 4] == _ENTRY]
    fields = {4: 2, 6: 2, 8: 2, 10: 2, 16: 4, 20: 4, 24: 4, 28: 2, 30: 2, 32: 2, 34: 2, 38: 4, 42: 4}
    if rng.random() < 0.2 or not places:
        place, offset = len(data) - 22, int(rng.choice([4, 6, 8, 10, 12, 16, 20]))
        width = 4 if offset in (12, 16) else 2
    else:
        place, offset = places[rng.integers(len(places))], int(rng.choice(list(fields)))
        width = fields[offset]
    value = int(rng.choice([0, 1, 2, 8, 12, 14, 0x7FFF, 0xFFFF, 0xFFFFFFFF, int(rng.integers(1 << 32))]))
    at = place + offset
    return data[:at] + struct.pack("<I", value)[:width] + data[at + width :]


def _members(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(BytesIO(data)) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def _zip_of(members: Sequence[tuple[str, bytes]]) -> bytes:
    stream = BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
        warnings.simplefilter("ignore", UserWarning)  # of names that are there twice
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def _repeated_member(data: bytes, rng: np.random.Generator) -> bytes:
    """The same name twice, with other bytes the second time."""
    members = _members(data)
    name, content = members[rng.integers(len(members))]
    return _zip_of([*members, (name, _flip(content, b"", rng))])


def _zip_in_other_order(data: bytes, rng: np.random.Generator) -> bytes:
    members = _members(data)
    return _zip_of([members[index] for index in rng.permutation(len(members))])


_BINARY_KINDS: tuple[Callable[[bytes, bytes, np.random.Generator], bytes], ...] = (
    *(_flip, _flip, _flip, _flip_bit, _flip_bit),
    *(_cut, _delete, _repeat, _blank, _splice, _insert, _append),
)
_KINDS = (*_BINARY_KINDS, _token, _token)
