"""Where reading ends: what is at each limit is read, and what is one beyond it is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fault_corpus import header, npy, zipped
from fault_formats import sealed_manifest, write_capture

from townlet_trajectory.formats.captures.directory import read_captures
from townlet_trajectory.storage import files
from townlet_trajectory.storage.json import MAX_JSON_BYTES, MAX_JSON_DEPTH, MAX_JSON_VALUES, parse_json
from townlet_trajectory.storage.manifest import MAX_FILES, parse_manifest, read_directory, write_directory
from townlet_trajectory.storage.npz import FREE_BYTES, MAX_DIMENSIONS, MAX_MEMBERS, MAX_RATIO, decode_npz
from townlet_trajectory.storage.paths import read_below, read_named, relative_parts


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One bound of reading."""

    name: str
    at: int
    read: Callable[[Path, int], object]
    """Make something of this measure in an empty folder and read it."""
    heavy: bool = False
    """Whether it takes seconds; left out of the short tests."""


def _json(make: Callable[[int], bytes]) -> Callable[[Path, int], object]:
    return lambda _, measure: parse_json(make(measure), "f.json")


def _npz(make: Callable[[int], bytes]) -> Callable[[Path, int], object]:
    return lambda _, measure: decode_npz(make(measure), "f.npz", names=frozenset({"x"}))


def _members(_: Path, count: int) -> object:
    content = npy(header("'|u1'", "(0,)"))
    names = [f"a{number}" for number in range(count)]
    return decode_npz(zipped({f"{name}.npy": content for name in names}), "f.npz", names=frozenset(names))


def _expanded(_: Path, num_bytes: int) -> object:
    """A file whose members declare `num_bytes` more than what `MAX_RATIO` times its size and `FREE_BYTES` allow."""
    size = FREE_BYTES
    for _attempt in range(50):  # the size of the file depends a little on what is in it
        data = _zeros(size)
        allowed = MAX_RATIO * len(data) + FREE_BYTES - len(npy(_zeros_header(size)))
        if size == allowed + num_bytes:
            return decode_npz(data, "f.npz", names=frozenset({"x"}))
        size = allowed + num_bytes
    raise AssertionError("no file of this size")


def _zeros_header(size: int) -> bytes:
    return header("'|u1'", f"({size},)")


def _zeros(size: int) -> bytes:
    return zipped({"x.npy": npy(_zeros_header(size), bytes(size))})


def _list_of_files(_: Path, count: int) -> object:
    listed = {f"{number}": {"sha256": "0" * 64, "size": 0} for number in range(count)}
    document = json.dumps({"format": "townlet-manifest", "version": 1, "files": listed}).encode()
    return parse_manifest(sealed_manifest({"d/manifest.json": document})["d/manifest.json"], "manifest.json")


def _directory(folder: Path, num_bytes: int) -> object:
    write_directory(folder / "d", {"a": bytes(num_bytes - 10), "b": bytes(10)})
    return read_directory(folder / "d", max_bytes=1000)


def _file_below(folder: Path, num_bytes: int) -> object:
    (folder / "f").write_bytes(bytes(num_bytes))
    return read_below(folder, "f", max_bytes=1000, origin="m")


def _file_named(folder: Path, num_bytes: int) -> object:
    (folder / "f").write_bytes(bytes(num_bytes))
    return read_named(folder / "f", max_bytes=1000)


def _actions(folder: Path, count: int) -> object:
    write_capture(folder, 1)
    (path,) = folder.glob("*_alice_002.json")
    document = json.loads(path.read_bytes())
    del document["townlet"]
    arrays = np.load(path.with_suffix(".npz"))
    classic = ("map", "features", "actions", "old_log_probs", "rewards", "dones", "value_preds")
    np.savez(folder / "s.npz", **{name: arrays[name] for name in classic})
    (folder / "s.json").write_text(json.dumps({**document, "action_dim": count}))
    (folder / "m.json").write_text('["s.npz"]')
    return read_captures(folder / "m.json")


def _log(folder: Path, length: int) -> object:
    (folder / "log").write_bytes(b'"' + b"x" * (length - 2) + b'"\n')
    return files.read_json_lines(folder / "log")


LIMITS: tuple[Limit, ...] = (
    Limit(name="bytes of JSON", at=MAX_JSON_BYTES, read=_json(lambda n: b'"' + b"x" * (n - 2) + b'"')),
    Limit(name="depth of JSON, lists", at=MAX_JSON_DEPTH, read=_json(lambda n: b"[" * n + b"]" * n)),
    Limit(name="depth of JSON, objects", at=MAX_JSON_DEPTH, read=_json(lambda n: b'{"[":' * n + b'"]"' + b"}" * n)),
    Limit(name="values of JSON", at=MAX_JSON_VALUES, read=_json(lambda n: b"[" + b"0," * (n - 1) + b"0]")),
    Limit(name="bytes of a line", at=MAX_JSON_BYTES, read=_log),
    Limit(name="members of an npz", at=MAX_MEMBERS, read=_members),
    Limit(
        name="dimensions of an array",
        at=MAX_DIMENSIONS,
        read=_npz(lambda n: zipped({"x.npy": npy(header("'|u1'", f"({', '.join(['1'] * n)})"), b"\0")})),
    ),
    Limit(
        name="bytes of an array's header",
        at=4096,
        read=_npz(lambda n: zipped({"x.npy": npy(header("'|u1'", "(1,)")[:-1].ljust(n - 1) + b"\n", b"\0")})),
    ),
    Limit(name="bytes that an npz may expand to", at=0, read=_expanded, heavy=True),
    Limit(name="files of a manifest", at=MAX_FILES, read=_list_of_files),
    Limit(name="bytes of a directory", at=1000, read=_directory),
    Limit(name="bytes of a file below a root", at=1000, read=_file_below),
    Limit(name="bytes of a file that is named", at=1000, read=_file_named),
    Limit(name="bytes of a component of a path", at=255, read=lambda _, n: relative_parts("a/" + "x" * n, "m")),
    Limit(name="bytes of a component, not ASCII", at=127, read=lambda _, n: relative_parts("é" * n + "x", "m")),
    Limit(name="actions of a capture", at=1 << 20, read=_actions),
)
"""What needs numpy alone."""
