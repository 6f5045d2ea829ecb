"""Writes files and directories: a reader sees the old content or the new one, and what was saved stays saved.

The only module that does, but for HDF5, which fills a `filled_directory` by itself. A file is written under a temporary
name in the same folder and synced, renamed, and the folder synced (Pillai et al. 2014). Every failure is an
`ArtifactError`; the temporary file is removed on failure, and by the next `DirectoryLock` after a crash.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from townlet_trajectory.errors import ArtifactError, system_errors
from townlet_trajectory.storage import system
from townlet_trajectory.storage.json import JsonValue, canonical_json, parse_json, readable_json
from townlet_trajectory.storage.locks import DirectoryLock as DirectoryLock
from townlet_trajectory.storage.locks import remove_if_there, remove_tree, temporary_name
from townlet_trajectory.storage.paths import read_named, relative_parts

MAX_LOG_BYTES = 1 << 30

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | system.BINARY
_TAIL_BYTES = 1 << 16


def write_bytes_atomic(path: str | Path, data: bytes) -> None:
    """Replace or create `path`; after the call it survives a crash of the process and of the machine. Raises
    `ArtifactError` if it cannot be written; an old file is then unchanged (or, only when syncing the folder failed,
    already replaced as a whole)."""
    path = Path(path)
    temporary = temporary_name(path)
    with system_errors(path, "write"), ExitStack() as unless_renamed:
        unless_renamed.callback(remove_if_there, temporary)
        _write_new(temporary, data)
        os.replace(temporary, path)
        unless_renamed.pop_all()
        system.sync_folder(path.parent)


def write_bytes_new(path: str | Path, data: bytes) -> bool:
    """Create `path`, which then survives a crash; False, and nothing is changed, if it exists. Of several callers one
    gets True. Raises `ArtifactError` if it cannot be written; nothing is left of it then."""
    path = Path(path)
    with system_errors(path, "write"):
        try:
            _write_new(path, data)
        except FileExistsError:
            return False
        except OSError:
            remove_if_there(path)
            raise
        system.sync_folder(path.parent)
    return True


def write_json_atomic(path: str | Path, value: JsonValue) -> None:
    """Write indented JSON as `write_bytes_atomic` does. Raises `ArtifactError` if it cannot be written, or a number is
    NaN or infinite."""
    write_bytes_atomic(path, _encoded(path, readable_json, value))


def write_directory_atomic(path: str | Path, files: Mapping[str, bytes]) -> None:
    """Create the directory `path` with `files` in it, content by file name (no folders), all at once.

    Raises `ArtifactError` if it exists or cannot be written; nothing is left of it then.
    """
    path = Path(path)
    for name in files:
        if len(relative_parts(name, path)) != 1:
            raise ArtifactError(path, "path", f"expected a file name, got {name!r}")
    with _new_directory(path) as folder:
        for name, data in files.items():
            _write_new(folder / name, data)
        system.sync_folder(folder)


@contextmanager
def filled_directory(path: str | Path) -> Iterator[Path]:
    """Give a new directory to fill; when the block ends without an exception it becomes `path`, synced, all at once.

    Raises `ArtifactError` if `path` exists, its parent does not, or it cannot be written. Nothing is left of it then,
    nor after any other exception.
    """
    with _new_directory(Path(path)) as temporary:
        yield temporary
        for folder, _, names in os.walk(temporary, topdown=False):
            for name in names:
                _sync_file(os.path.join(folder, name))
            system.sync_folder(Path(folder))


def make_directory(path: str | Path) -> None:
    """Create a directory and its parents where they are missing; after the call they survive a crash of the machine.
    Raises `ArtifactError` if that fails."""
    path = Path(path)
    with system_errors(path, "write"):
        missing = [folder for folder in (path, *path.parents) if not os.path.lexists(folder)]
        os.makedirs(path, exist_ok=True)
        for folder in missing:
            system.sync_folder(folder.parent)


def remove_directory(path: str | Path) -> None:
    """Remove a directory and what is in it, so that a reader sees all of it or nothing. Raises `ArtifactError` if it
    cannot be removed."""
    path = Path(path)
    temporary = temporary_name(path)
    with system_errors(path, "remove"):
        os.rename(path, temporary)
        try:
            system.sync_folder(path.parent)
        finally:
            shutil.rmtree(temporary)


def remove_file(path: str | Path) -> None:
    """Remove a file, if it is there; after the call that survives a crash of the machine. Raises `ArtifactError` if it
    cannot be removed."""
    path = Path(path)
    with system_errors(path, "remove"):
        path.unlink(missing_ok=True)
        system.sync_folder(path.parent)


def append_json_line(path: str | Path, value: JsonValue) -> None:
    """Append one line of JSON as `append_line` does. Raises `ArtifactError` if it cannot be written, or a number is NaN
    or infinite."""
    append_line(path, _encoded(path, canonical_json, value).decode())


def append_line(path: str | Path, line: str) -> None:
    """Append `line` and a line feed, and sync the file.

    An unterminated last line, left by a crash, is first cut off and appended to `NAME.partial`. Raises `ArtifactError`
    if it cannot be written (the file is then as before, or, only when syncing the folder of a new file failed, holds
    the line), or `line` holds a line feed.
    """
    path = Path(path)
    if "\n" in line:
        raise ArtifactError(path, "encode", "a line must not hold a line feed")
    with system_errors(path, "append"):
        descriptor = system.open_log(path)
        try:
            size = _cut_partial(path, descriptor)
            try:
                _write_all(descriptor, line.encode() + b"\n")
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
        if size == 0:
            system.sync_folder(path.parent)


def read_json_lines(path: str | Path) -> list[JsonValue]:
    """The values of a log; an unterminated last line is left out. Raises `ArtifactError` if the file cannot be read, or
    a terminated line is not JSON."""
    # One line at a time: a list of a gigabyte of empty lines would take eight.
    lines = io.BytesIO(read_named(path, max_bytes=MAX_LOG_BYTES))
    return [
        parse_json(line.removesuffix(b"\n"), f"{path}:{number}")
        for number, line in enumerate(lines, start=1)
        if line.endswith(b"\n")
    ]


@contextmanager
def _new_directory(path: Path) -> Iterator[Path]:
    """Give a temporary directory; when the block ends without an exception it becomes `path`, else it is removed."""
    temporary = temporary_name(path)
    with system_errors(path, "write"), ExitStack() as unless_renamed:
        unless_renamed.callback(remove_tree, temporary)
        if os.path.lexists(path):
            raise ArtifactError(path, "write", "exists already")
        os.mkdir(temporary)
        yield temporary
        os.rename(temporary, path)
        unless_renamed.pop_all()
        system.sync_folder(path.parent)


def _encoded(path: str | Path, encode: Callable[[JsonValue], bytes], value: JsonValue) -> bytes:
    try:
        return encode(value)
    except ValueError as error:
        raise ArtifactError(path, "encode", str(error)) from error


def _write_new(path: Path, data: bytes) -> None:
    descriptor = os.open(path, _NEW_FILE, 0o644)
    try:
        _write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync_file(path: str | Path) -> None:
    descriptor = os.open(path, os.O_RDWR | system.BINARY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_at(descriptor: int, start: int, num_bytes: int) -> bytes:
    os.lseek(descriptor, start, os.SEEK_SET)
    return os.read(descriptor, num_bytes)


def _cut_partial(path: Path, descriptor: int) -> int:
    """Cut an unterminated last line off, keep it aside, and return the size of the file."""
    size = os.lseek(descriptor, 0, os.SEEK_END)
    start, tail = size, b""
    while start > 0 and b"\n" not in tail:
        end, start = start, max(0, start - _TAIL_BYTES)
        tail = _read_at(descriptor, start, end - start)
    keep = start + tail.rfind(b"\n") + 1
    if keep == size:
        return size
    aside = system.open_log(path.with_name(path.name + ".partial"))
    try:
        for start in range(keep, size, _TAIL_BYTES):
            _write_all(aside, _read_at(descriptor, start, min(_TAIL_BYTES, size - start)))
        _write_all(aside, b"\n")
        os.fsync(aside)
    finally:
        os.close(aside)
    os.ftruncate(descriptor, keep)
    return keep
