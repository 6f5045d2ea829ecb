"""What belongs to a directory, by SHA-256: a file that is missing, damaged or exchanged is never loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from townlet_trajectory.errors import ManifestError
from townlet_trajectory.storage.files import write_directory_atomic
from townlet_trajectory.storage.json import (
    MAX_JSON_BYTES,
    SCHEMA_VERSION,
    JsonValue,
    canonical_json,
    parse_object,
    readable_json,
)
from townlet_trajectory.storage.paths import read_below, relative_parts

MANIFEST_NAME = "manifest.json"
MAX_FILES = 4096
MAX_FILE_BYTES = 2 << 30

_FORMAT = "townlet-manifest"


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """One file: how long it is and what its digest is."""

    sha256: str
    """64 hex digits, lower case."""
    size: int
    """Bytes."""

    @classmethod
    def of(cls, data: bytes) -> FileEntry:
        """The entry of a file that holds `data`."""
        return cls(sha256=hashlib.sha256(data).hexdigest(), size=len(data))


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The files of a directory by their relative POSIX path. Its own digest is part of what is written."""

    files: Mapping[str, FileEntry]

    @property
    def sha256(self) -> str:
        """Digest of the list itself, hex."""
        return hashlib.sha256(canonical_json(self._body())).hexdigest()

    def encode(self) -> bytes:
        """The file that holds this manifest."""
        return readable_json({**self._body(), "sha256": self.sha256})

    def _body(self) -> dict[str, JsonValue]:
        files: dict[str, JsonValue] = {name: dict(vars(entry)) for name, entry in sorted(self.files.items())}
        return {"format": _FORMAT, "version": SCHEMA_VERSION, "files": files}


def manifest_of(files: Mapping[str, bytes]) -> Manifest:
    """The manifest of some contents by relative path."""
    return Manifest(files={name: FileEntry.of(data) for name, data in files.items()})


def parse_manifest(data: bytes, path: str | Path) -> Manifest:
    """Read a manifest that came from `path`. Raises `ArtifactError` if it is not strict JSON; `ManifestError` if its
    digest, version, or an entry is wrong."""
    document = parse_object(data, path)
    if document.keys() != {"format", "version", "files", "sha256"} or document["format"] != _FORMAT:
        raise ManifestError(path, "parse", f"not a {_FORMAT}")
    if document["version"] != SCHEMA_VERSION:
        raise ManifestError(path, "parse", f"version must be {SCHEMA_VERSION}, got {document['version']!r}")
    entries = document["files"]
    if not isinstance(entries, dict) or len(entries) > MAX_FILES:
        raise ManifestError(path, "parse", f"`files` must be an object of at most {MAX_FILES} files")
    files = {}
    for name, entry in entries.items():
        relative_parts(name, path)
        files[name] = _parse_entry(name, entry, path)
    manifest = Manifest(files=files)
    if document["sha256"] != manifest.sha256:
        raise ManifestError(path, "verify", f"`sha256` must be {manifest.sha256}, got {document['sha256']!r}")
    return manifest


def write_directory(path: str | Path, files: Mapping[str, bytes]) -> Manifest:
    """Create the directory `path` with `files` and their manifest in it, all at once. Raises `ArtifactError` as
    `files.write_directory_atomic`."""
    if MANIFEST_NAME in files:
        raise ManifestError(path, "write", f"`{MANIFEST_NAME}` is written by the manifest itself")
    manifest = manifest_of(files)
    write_directory_atomic(path, {**files, MANIFEST_NAME: manifest.encode()})
    return manifest


def read_directory(path: str | Path, *, max_bytes: int = MAX_FILE_BYTES) -> dict[str, bytes]:
    """Read every file of the manifest of the directory `path`, whole and verified; other files are not looked at.

    What is returned is what was verified: nothing is opened a second time. Raises `ArtifactError` if a file is missing,
    not regular or not below `path`; `ManifestError` if a size or digest differs.
    """
    root = Path(path)
    manifest = parse_manifest(
        read_below(root, MANIFEST_NAME, max_bytes=MAX_JSON_BYTES, origin=root), root / MANIFEST_NAME
    )
    if (total := sum(entry.size for entry in manifest.files.values())) > max_bytes:
        raise ManifestError(root, "read", f"at most {max_bytes} bytes are read, the manifest lists {total}")
    return {name: read_entry(root, name, entry, origin=root / MANIFEST_NAME) for name, entry in manifest.files.items()}


def read_entry(root: Path, name: str, entry: FileEntry, *, origin: Path) -> bytes:
    """Read the file `name` below `root`, whole and verified.

    Args:
        root: the directory.
        name: relative POSIX path.
        entry: what the file `origin` says of it.
        origin: for the error.

    Raises:
        ArtifactError: if it is missing, not regular, longer than it should be or not below `root`.
        ManifestError: if its size or digest differs.
    """
    return verified(read_below(root, name, max_bytes=entry.size, origin=origin), entry, root / name)


def verified(data: bytes, entry: FileEntry, path: str | Path) -> bytes:
    """Return data that is what was listed.

    Args:
        data: of a file.
        entry: what a manifest says of it.
        path: where it came from, for the error.

    Raises:
        ManifestError: if its size or digest differs.
    """
    if len(data) != entry.size:
        raise ManifestError(path, "verify", f"expected {entry.size} bytes, got {len(data)}")
    if (digest := hashlib.sha256(data).hexdigest()) != entry.sha256:
        raise ManifestError(path, "verify", f"expected SHA-256 {entry.sha256}, got {digest}")
    return data


def _parse_entry(name: str, entry: JsonValue, path: str | Path) -> FileEntry:
    if not isinstance(entry, dict) or entry.keys() != {"sha256", "size"}:
        raise ManifestError(path, "parse", f"{name!r}: expected `sha256` and `size`, got {entry!r}")
    digest, size = entry["sha256"], entry["size"]
    if not isinstance(digest, str) or type(size) is not int or size < 0:
        raise ManifestError(path, "parse", f"{name!r}: expected a digest and a size, got {entry!r}")
    return FileEntry(sha256=digest, size=size)
