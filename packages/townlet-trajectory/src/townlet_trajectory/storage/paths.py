"""The one safe reader of files, and paths that come from a file: relative, below a root, never through a link."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path

from townlet_trajectory.errors import ArtifactError, system_errors
from townlet_trajectory.storage.system import open_beneath

_SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_MAX_PART = 255
_MAX_ESCAPED = 120
_DRIVE = re.compile(r"[A-Za-z]:")


def relative_parts(name: str, origin: str | Path) -> tuple[str, ...]:
    """The components of a relative POSIX path that stays below its root, as the file `origin` spells it.

    Raises `ArtifactError` if it is empty, absolute, holds `..`, `.`, an empty component, a backslash, a drive or a NUL.
    """
    parts = name.split("/")
    if "\0" in name or "\\" in name or _DRIVE.match(name):
        raise ArtifactError(origin, "path", f"a path must be relative POSIX, got {name!r}")
    if any(part in ("", ".", "..") for part in parts):
        raise ArtifactError(origin, "path", f"a path must stay below its root, without `..`, `.` or `//`, got {name!r}")
    try:
        too_long = any(len(part.encode()) > _MAX_PART for part in parts)
    except UnicodeEncodeError as error:
        raise ArtifactError(origin, "path", f"a path must be Unicode text, got {name!r}") from error
    if too_long:
        raise ArtifactError(origin, "path", f"a component has at most {_MAX_PART} bytes, got {name!r}")
    return tuple(parts)


def escaped(agent_id: str) -> str:
    """`agent_id` as part of a file name: ASCII letters, digits, `_` and `-` stay, other bytes become `%XX`.

    Long ids are cut and end with their hash.
    """
    text = "".join(
        character
        if character in _SAFE
        else "".join(f"%{byte:02X}" for byte in character.encode(errors="surrogatepass"))
        for character in agent_id
    )
    if len(text) <= _MAX_ESCAPED:
        return text
    digest = hashlib.sha256(agent_id.encode(errors="surrogatepass")).hexdigest()
    return f"{text[:_MAX_ESCAPED]}-{digest[:16]}"


def read_named(path: str | Path, *, max_bytes: int) -> bytes:
    """Read a regular file that the user named (so a symbolic link is followed), whole.

    A pipe, a device or a directory is refused at once, a file longer than `max_bytes` unread: `ArtifactError`, as
    `read_below`.
    """
    try:
        with system_errors(path, "open"):
            real = Path(path).resolve(strict=True)
    except (RuntimeError, ValueError) as error:  # a circle of links, or a NUL in the path
        raise ArtifactError(path, "open", str(error)) from error
    return read_below(real.parent, real.name, max_bytes=max_bytes, origin=path)


def read_below(root: Path, name: str, *, max_bytes: int, origin: str | Path) -> bytes:
    """Read the regular file `name` below `root`; no component below `root` may be a symbolic link.

    Args:
        root: the folder, which may be a link itself.
        name: relative POSIX path.
        max_bytes: a longer file is refused unread.
        origin: the file that holds `name`, for the error.

    Returns:
        All of its bytes.

    Raises:
        ArtifactError: if the path is not allowed, the file is missing, not regular or longer than `max_bytes`.
    """
    stream = open_below(root, name, max_bytes=max_bytes, origin=origin)
    with system_errors(root / name, "read"), stream:
        # Not `max_bytes`: a buffer of that size would be allocated, whatever the file holds.
        return stream.read(min(os.fstat(stream.fileno()).st_size, max_bytes))


def open_below(root: Path, name: str, *, max_bytes: int, origin: str | Path) -> BufferedReader:
    """Open the regular file `name` below `root` for reading; see `read_below` for arguments and errors."""
    parts = relative_parts(name, origin)
    path = root / name
    with system_errors(path, "open"), ExitStack() as unless_returned:
        descriptor = open_beneath(root, parts)
        unless_returned.callback(os.close, descriptor)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ArtifactError(path, "open", "not a regular file")
        if status.st_size > max_bytes:
            raise ArtifactError(path, "read", f"at most {max_bytes} bytes are read, got {status.st_size}")
        stream = open(descriptor, "rb")
        unless_returned.pop_all()
        return stream
