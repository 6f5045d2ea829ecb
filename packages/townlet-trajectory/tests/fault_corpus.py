"""Files made to harm: each must be refused with the one kind of error, in little memory, and run nothing."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fault_formats import DATA, capture_digest, files_of, sealed_capture, sealed_manifest, write_capture

from townlet_trajectory.formats.captures.directory import read_metrics
from townlet_trajectory.storage import files
from townlet_trajectory.storage.json import MAX_JSON_BYTES, MAX_JSON_DEPTH, MAX_JSON_VALUES, parse_json
from townlet_trajectory.storage.manifest import read_directory
from townlet_trajectory.storage.npz import decode_npz
from townlet_trajectory.storage.paths import read_named

CANARY = "canary-of-the-malicious-corpus"
"""A folder that every gadget tries to make, in the working directory."""


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One malicious artefact."""

    name: str
    write: Callable[[Path], None]
    """Into an empty folder."""
    read: Callable[[Path], object]
    """The call of this package that reads it."""
    heavy: bool = False
    """Whether it takes long to make; left out of the short tests."""
    may_be_read: bool = False
    """Whether only its memory is the question."""


class Gadget:
    """Makes the canary when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (CANARY,)


def read_npz(folder: Path) -> object:
    """The array `x` of `f.npz`."""
    return decode_npz(read_named(folder / "f.npz", max_bytes=1 << 30), folder / "f.npz", names=frozenset({"x"}))


def npy(header: bytes, content: bytes = b"", *, version: bytes = b"\x01\x00") -> bytes:
    length = struct.pack("<H" if version == b"\x01\x00" else "<I", len(header))
    return b"\x93NUMPY" + version + length + header + content


def header(descr: str = "'<f4'", shape: str = "(2,)", order: str = "False") -> bytes:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()


def zipped(members: dict[str, bytes], *, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def _npz(name: str, make: Callable[[], bytes], *, heavy: bool = False) -> Attack:
    return Attack(name=f"npz: {name}", write=lambda folder: _put(folder / "f.npz", make()), read=read_npz, heavy=heavy)


def _json(name: str, make: Callable[[], bytes], *, may_be_read: bool = False) -> Attack:
    def read(folder: Path) -> object:
        return parse_json(read_named(folder / "f.json", max_bytes=2 * MAX_JSON_BYTES), folder / "f.json")

    return Attack(
        name=f"json: {name}", write=lambda folder: _put(folder / "f.json", make()), read=read, may_be_read=may_be_read
    )


def _put(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _pickled() -> bytes:
    return pickle.dumps(Gadget())


def _object_array() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([Gadget()], object), allow_pickle=True)
    return stream.getvalue()


def _overlapping() -> bytes:
    """Two entries of the directory that show the same member: content for nothing (Fifield 2019)."""
    data = zipped({"x.npy": npy(header(), b"\0" * 8)})
    start = data.index(b"PK\x01\x02")
    entry, end = data[start:-22], data[-22:]
    counted = end[:8] + struct.pack("<HHI", 2, 2, 2 * len(entry)) + end[16:]
    return data[:start] + entry + entry.replace(b"x.npy", b"y.npy") + counted


def _encrypted() -> bytes:
    data = bytearray(zipped({"x.npy": npy(header(), b"\0" * 8)}))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def _many(count: int) -> bytes:
    return zipped({f"{number}.npy": b"" for number in range(count)}, compression=zipfile.ZIP_STORED)


_SHAPES = (
    *("(1000000000,)", "(1000000000000,)", "(999999999999999999,)", "(1000000000, 1000000000)", "(-1,)", "(2.0,)"),
    *(f"({', '.join(['999999999'] * 6)})", f"({', '.join(['1'] * 9)})", "(True,)", "2", "[2]", "(2,", "(0x2,)"),
    *("(99999999999999999999,)", "((2,),)", "('2',)", "None", "(1e3,)", "(2,)*10", "(\n2,)"),
)
_DTYPES = (
    *("'|O'", "'O'", "'<f2'", "'>f4'", "'<c8'", "'<U4'", "'|S4'", "'|V8'", "'<M8[s]'", "'<m8'", "'<i3'", "'<f16'"),
    *("[('a', '<f4')]", "('<f4', (2,))", "'<f4,<f4'", "None", "__import__('os').mkdir('" + CANARY + "')", "'<i1'"),
)


def _npz_attacks() -> Iterator[Attack]:
    yield _npz("a pickle", _pickled)
    yield _npz("a pickle as a member", lambda: zipped({"x.npy": _pickled()}))
    yield _npz("an object array", lambda: zipped({"x.npy": _object_array()}))
    yield _npz("an object array, not in a zip", _object_array)
    yield _npz("a pickle under a header of floats", lambda: zipped({"x.npy": npy(header(), _pickled())}))
    yield _npz("code in a header", lambda: zipped({"x.npy": npy(f"__import__('os').mkdir('{CANARY}')\n".encode())}))
    for shape in _SHAPES:
        yield _npz(f"shape {shape[:40]}", lambda shape=shape: zipped({"x.npy": npy(header(shape=shape), b"\0" * 8)}))
    for dtype in _DTYPES:
        yield _npz(f"dtype {dtype[:40]}", lambda dtype=dtype: zipped({"x.npy": npy(header(dtype), b"\0" * 8)}))
    for name in ("../x.npy", "/x.npy", "x", "X.npy", "x.npy/", "a/x.npy", "x.npy\\", "\u202ex.npy"):
        yield _npz(f"member {name!r}", lambda name=name: zipped({name: npy(header(), b"\0" * 8)}))
    yield _npz("no member", lambda: zipped({}))
    yield _npz("a zip in a zip", lambda: zipped({"x.npy": zipped({"x.npy": npy(header(), b"\0" * 8)})}))
    yield _npz("two names for one member", _overlapping)
    yield _npz("encrypted", _encrypted)
    for compression in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        yield _npz(f"compression {compression}", lambda c=compression: zipped({"x.npy": b"\0" * 99}, compression=c))
    yield _npz("version 2", lambda: zipped({"x.npy": npy(header(), b"\0" * 8, version=b"\x02\x00")}))
    yield _npz("version 3", lambda: zipped({"x.npy": npy(header(), b"\0" * 8, version=b"\x03\x00")}))
    yield _npz("a header of 65,535 bytes", lambda: zipped({"x.npy": npy(header().ljust(65_535))}))
    yield _npz("content behind the zip", lambda: zipped({"x.npy": npy(header(), b"\0" * 8)}) + b"behind")
    yield _npz("a bool of 2", lambda: zipped({"x.npy": npy(header("'|b1'"), b"\1\2")}))
    yield _npz("10,000 members", lambda: _many(10_000))
    yield _npz("100,000 members", lambda: _many(65_000) + _many(35_000), heavy=True)
    yield _npz(
        "a header of 100 MB", lambda: zipped({"x.npy": npy(header().ljust(100 << 20), version=b"\2\0")}), heavy=True
    )
    yield _npz("a bomb of 1 GB", _bomb, heavy=True)
    yield _npz("a bomb that lies about its size", lambda: _lying_bomb(30 << 20))


def _bomb() -> bytes:
    """1,029 bytes for one."""
    return zipped({"x.npy": npy(header(shape="(268435456,)"), bytes(1 << 30))})


def _lying_bomb(num_bytes: int) -> bytes:
    data = bytearray(zipped({"x.npy": npy(header(), bytes(num_bytes))}))
    place = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, place + 24, len(npy(header())) + 8)
    return bytes(data)


def _json_attacks() -> Iterator[Attack]:
    for token in (
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-1e999",
        "9" * 5000,
        "nan",
        "inf",
        "0x10",
        "01",
        "+1",
        "1_0",
    ):
        yield _json(f"number {token[:12]}", lambda token=token: f'{{"a": [0, {token}]}}'.encode())
    for depth in (MAX_JSON_DEPTH + 1, 1_000, 200_000):
        yield _json(f"lists {depth} deep", lambda depth=depth: b"[" * depth + b"]" * depth)
        yield _json(f"objects {depth} deep", lambda depth=depth: b'{"a":' * depth + b"0" + b"}" * depth)
        yield _json(f"lists {depth} deep, not closed", lambda depth=depth: b"[" * depth)
    yield _json("brackets behind an escaped quote", lambda: b'["\\"", ' + b"[" * 100_000 + b'"')
    yield _json("a key twice", lambda: b'{"a": 1, "b": 2, "a": 3}')
    yield _json("a key twice, inside", lambda: b'[{"x": {"a": 1, "a": 1}}]')
    yield _json("a key twice among many", lambda: _keys(50_000) + b',"z":0,"z":1}')
    for name, text in (
        ("utf-16", '{"a": 1}'.encode("utf-16")),
        ("a mark", b'\xef\xbb\xbf{"a": 1}'),
        ("bytes", b'"\xff"'),
    ):
        yield _json(name, lambda text=text: text)
    for text in ("", " ", "{", "nul", "'a'", "{1: 2}", '{"a": 1,}', "[1,]", "[1] [2]", '"a\nb"', "// x\n1", '{"a"}'):
        yield _json(f"text {text!r}", lambda text=text: text.encode())
    yield _json("too long", lambda: b'"' + b"x" * MAX_JSON_BYTES + b'"')
    yield _json("escapes without end", lambda: b'"' + b'\\"' * ((MAX_JSON_BYTES - 1) // 2))
    yield _json("quotes without end", lambda: b'["' + b'",""' * (MAX_JSON_BYTES // 4 - 1))
    for value in (b"[],", b"{},", b'{"a":0},', b'"ab",', b"0,", b"1.5,", b'"\\u00e9",'):
        for count in (MAX_JSON_VALUES // (1 + (value[:1] in b"[{")) - 2, MAX_JSON_BYTES // len(value) - 1):
            yield _json(f"{count} times {value!r}", lambda v=value, n=count: b"[" + v * n + b"0]", may_be_read=True)
    yield _json("a pickle", _pickled)


def _keys(count: int) -> bytes:
    return b"{" + b",".join(b'"%d":0' % number for number in range(count))


def _manifest_attacks() -> Iterator[Attack]:
    """Lists of files that are signed, and still refused."""
    names = ("../secret", "/etc/passwd", "a/../../b", "C:/x", "\\\\h\\s", "a\\b", "./a", "a//b", "", ".", "x" * 300)
    entries: list[tuple[str, object]] = [(f"name {name[:20]!r}", {name: _ENTRY}) for name in names]
    for size in (-1, 10**18, 1 << 63, True, 1.0, "40", None):
        entries.append((f"size {size!r}", {"a.bin": {**_ENTRY, "size": size}}))
    for digest in ("", "0" * 64, "z" * 64, None, 5):
        entries.append((f"digest {digest!r:.10}", {"a.bin": {**_ENTRY, "sha256": digest}}))
    entries.append(("an entry more", {"a.bin": {**_ENTRY, "command": "true"}}))
    entries.append(("5,000 files", {str(number): _ENTRY for number in range(5_000)}))
    entries.append(("itself", {"manifest.json": _ENTRY}))
    entries += [
        ("a list", [_ENTRY]),
        ("no object", {"a.bin": 3}),
        ("a folder", {"d": _ENTRY}),
        ("a pipe", {"p": _ENTRY}),
    ]
    for name, listed in entries:
        yield Attack(
            name=f"manifest: {name}",
            write=lambda folder, listed=listed: _write_manifest(folder, listed),
            read=lambda folder: read_directory(folder / "d"),
        )
    for key, value in (
        ("version", 2),
        ("version", "1"),
        ("format", "other"),
        ("format", None),
        ("import", "os:system"),
    ):
        yield Attack(
            name=f"manifest: {key} {value!r}",
            write=lambda folder, key=key, value=value: _write_manifest(folder, {}, **{key: value}),
            read=lambda folder: read_directory(folder / "d"),
        )


_ENTRY = {"sha256": "3" * 64, "size": 4}


def _write_manifest(folder: Path, listed: object, **others: object) -> None:
    (folder / "d" / "d").mkdir(parents=True)
    os.mkfifo(folder / "d" / "p")
    (folder / "secret").write_bytes(b"secret")
    (folder / "d" / "a.bin").write_bytes(b"good")
    document = {"format": "townlet-manifest", "version": 1, "files": listed, **others}
    text = json.dumps(document).encode()
    (folder / "d" / "manifest.json").write_bytes(sealed_manifest({"d/manifest.json": text})["d/manifest.json"])


def _capture_attacks() -> Iterator[Attack]:
    """Captures that are signed, and contradict themselves or ask for too much."""
    section: tuple[tuple[str, object], ...] = (
        *(("schema_version", version) for version in (0, 2, "1", None, 10**30)),
        *(("world", number) for number in (1 << 63, "0", None, 1.5, True)),
        *(("arrays", names) for names in ([], ["map"], ["x"] * 9, "map", None, [3])),
        *(("vocabulary", keys) for keys in ([], ["a", "a", "b"], [""] * 3, [3], "abc", ["a"] * 3000)),
        *(("terminated", flag) for flag in (1, "no", None)),
        *(("observations", specs) for specs in ({}, [], {"map": {}}, {"os.system": {"dtype": "bool", "shape": []}})),
        *(("decisions", specs) for specs in ({}, {"__class__": {"dtype": "bool", "shape": []}}, None)),
    )
    for key, value in section:
        yield _capture(f"{key} {value!r:.30}", lambda document, k=key, v=value: document["townlet"].update({k: v}))
    for key, value in (("dtype", "object"), ("dtype", "O"), ("dtype", "float16"), ("dtype", "__import__('os')")):
        yield _capture(f"spec {key} {value}", lambda document, v=value: _spec(document).update(dtype=v))
    for shape in ([10**18], [0], [-1], [1 << 70, 1 << 70], [3.0], [True], "3", [[3]], None, [1] * 5000, [9**4000]):
        yield _capture(f"spec shape {shape!r:.30}", lambda document, v=shape: _spec(document).update(shape=v))
    for key, value in (
        *(("action_dim", number) for number in (1 << 21, 1 << 62, -5, "3", None)),
        *(("action_lookup", lookup) for lookup in ({"a": 0, "b": 0}, {"a": -1}, {"a": 1 << 40}, {"a": "0"}, [])),
        *(("feature_names", names) for names in (["a"], [], None, ["rivalry_max"] * 3, [None])),
        *(("timesteps", number) for number in (0, 10**9, "3", None)),
        *(("agent_id", name) for name in (None, 3, ["alice"])),
    ):
        if (key, value) != ("action_dim", -5):  # no attack: the lookup says how many there are
            yield _capture(f"{key} {value!r:.30}", lambda document, k=key, v=value: document.update({k: v}))


def _spec(document: dict) -> dict:
    return document["townlet"]["observations"]["map"]


def _capture(name: str, change: Callable[[dict], None]) -> Attack:
    def write(folder: Path) -> None:
        write_capture(folder, 1)
        for path in folder.glob("*_alice_*.json"):
            document = json.loads(path.read_bytes())
            change(document)
            path.write_text(json.dumps(document))
        for path, data in sealed_capture(files_of(folder)).items():
            (folder / path).write_bytes(data)

    return Attack(name=f"capture: {name}", write=write, read=capture_digest)


def _original_attacks() -> Iterator[Attack]:
    """The seven arrays of a foreign sample, each of another kind."""
    for name in ("map", "features", "actions", "old_log_probs", "value_preds", "rewards", "dones"):
        for what, make in _ARRAYS.items():
            yield Attack(
                name=f"sample: {name} {what}",
                write=lambda folder, name=name, make=make: _write_sample(folder, {name: make()}),
                read=capture_digest,
            )


_ARRAYS: dict[str, Callable[[], np.ndarray]] = {
    "pickled": lambda: np.array([Gadget()], object),
    "without axes": lambda: np.array(0.0),
    "empty": lambda: np.zeros(0),
    "not finite": lambda: np.array([np.nan, np.inf]),
    "of texts": lambda: np.array(["a", "b"]),
    "huge integers": lambda: np.array([1 << 63, 1], np.uint64),
}


def _write_sample(folder: Path, changes: dict[str, np.ndarray]) -> None:
    source = DATA / "observation_hybrid_sample_conflict_low"
    with np.load(source.with_suffix(".npz")) as loaded:
        arrays = {name: loaded[name] for name in loaded.files}
    np.savez(folder / "s.npz", **{**arrays, **changes})  # numpy pickles what is an object
    (folder / "s.json").write_bytes(source.with_suffix(".json").read_bytes())
    (folder / "rollout_sample_manifest.json").write_text('["s.npz"]')


def _list_attacks() -> Iterator[Attack]:
    """Manifests of captures, metrics and logs."""
    names = ("../s.npz", "/etc/passwd", "s.npz/../../x", "\\s.npz", "C:s.npz", "s.npz\0", "", ".", "x" * 5000, "\ud800")
    for name in names:
        yield _list(f"path {name[:20]!r}", [name])
        yield _list(f"description {name[:20]!r}", [{"sample": "s.npz", "meta": name}])
    for document in (
        3,
        None,
        "s.npz",
        {},
        {"samples": 3},
        [3],
        [None],
        [[]],
        [{}],
        [{"sample": 3}],
        [{"sample": None}],
    ):
        yield _list(f"{document!r}", document)
    for entry in ({"accepted": "yes"}, {"accepted": 1}, {"frame_count": 10**30}, {"agent_id": 3}, {"sha256": 3}):
        yield _list(f"{entry}", [{"sample": "s.npz", **entry}])
    for text in ('{"a": {"x": "1"}}', '{"a": {"x": true}}', '{"a": 1}', '{"samples": []}', "[]", '{"a": {"x": NaN}}'):
        yield Attack(
            name=f"metrics: {text}",
            write=lambda folder, text=text: _put(folder / "m.json", text.encode()),
            read=lambda folder: read_metrics(folder / "m.json"),
        )
    for name, data in (
        ("line feeds", b"\n" * (8 << 20)),
        ("a bad line", b"1\nNaN\n"),
        ("a line that is too long", b'"' + b"x" * MAX_JSON_BYTES + b'"\n'),
        ("bytes", b"\xff\n"),
        ("no bytes", b"\0" * 4096 + b"\n"),
    ):
        yield Attack(
            name=f"log: {name}",
            write=lambda folder, data=data: _put(folder / "log.jsonl", data),
            read=lambda folder: files.read_json_lines(folder / "log.jsonl"),
        )


def _list(name: str, document: object) -> Attack:
    def write(folder: Path) -> None:
        _write_sample(folder, {})
        (folder / "rollout_sample_manifest.json").write_text(json.dumps(document))

    return Attack(name=f"list: {name}", write=write, read=capture_digest)


ATTACKS: tuple[Attack, ...] = (
    *_npz_attacks(),
    *_json_attacks(),
    *_manifest_attacks(),
    *_capture_attacks(),
    *_original_attacks(),
    *_list_attacks(),
)
"""What needs numpy alone."""
