"""At most one writer for a directory, who also removes the temporary files that a killed one left."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
import weakref
from contextlib import ExitStack, suppress
from pathlib import Path

from townlet_trajectory.errors import ArtifactError, reason_of, system_errors
from townlet_trajectory.storage import system

__all__ = ["DirectoryLock", "is_locked"]

_RETRY_S = 0.005
_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{16}\.tmp", re.DOTALL)


class DirectoryLock:
    """At most one process (and one lock in it) writes to a directory, by `system.lock`.

    The lock ends with the `with` block or the process, whatever ends it. Network file systems may not honour it.
    """

    def __init__(self, directory: str | Path, *, wait_s: float = 0.0) -> None:
        self._directory = Path(directory)
        self._wait_s = wait_s
        self._descriptor: int | None = None

    def __enter__(self) -> DirectoryLock:
        """Take the lock, and remove what a killed writer left unfinished below the directory. Raises `ArtifactError` if
        another still holds it after `wait_s` seconds, or the directory cannot be opened."""
        try:
            self._descriptor = system.open_lock(self._directory)
            _held_locks.add(self)
            self._take(self._descriptor)
        except OSError as error:
            self.forget()
            held = isinstance(error, BlockingIOError)
            reason = "another writer holds this directory" if held else reason_of(error)
            raise ArtifactError(self._directory, "lock", reason) from error
        with ExitStack() as stack:
            stack.callback(self.release)
            remove_unfinished(self._directory)
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _take(self, descriptor: int) -> None:
        deadline = time.monotonic() + self._wait_s
        while True:
            try:
                return system.lock(descriptor)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_RETRY_S)

    def release(self) -> None:
        """Let another take the directory; nothing happens where the lock is not held. Raises `ArtifactError` if the
        directory cannot be closed (it is not held then either)."""
        with system_errors(self._directory, "lock"):
            if self._descriptor is not None:
                system.unlock(self._descriptor)  # for all who share it, before they can close it
                self.forget()
                system.clean_lock(self._directory)

    def forget(self) -> None:
        """Close the directory without unlocking it for others who share it, as a forked child does."""
        _held_locks.discard(self)
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


_held_locks: weakref.WeakSet[DirectoryLock] = weakref.WeakSet()


def _forget_inherited() -> None:
    # A forked child shares the lock: without this it would go on holding it after its parent's death.
    for lock in list(_held_locks):
        lock.forget()


system.after_fork_in_child(_forget_inherited)


def is_locked(directory: str | Path) -> bool:
    """Return whether a `DirectoryLock` of `directory` is held, touching nothing in it.

    Raises `ArtifactError` if the directory cannot be opened.
    """
    directory = Path(directory)
    with system_errors(directory, "lock"):
        try:
            descriptor = system.open_lock(directory)
            try:
                system.lock(descriptor)
                system.unlock(descriptor)
            finally:
                os.close(descriptor)
            system.clean_lock(directory)
        except BlockingIOError:
            return True
    return False


def temporary_name(path: Path) -> Path:
    """Return a new name in the same folder."""
    # A file name has at most 255 bytes, four for a character, so only the beginning of a long one is repeated.
    return path.with_name(f".{path.name[:48]}.{secrets.token_hex(8)}.tmp")


def remove_tree(path: Path) -> None:
    """Delete a directory, best effort: errors are suppressed, so that the exception that led here propagates."""
    with suppress(OSError):  # rmtree ignores all but those of closing a directory
        shutil.rmtree(path, ignore_errors=True)


def remove_unfinished(directory: Path) -> None:
    """Remove all temporary files and directories at and below `directory`; its lock must be held. Raises
    `ArtifactError` if a file cannot be removed."""
    for folder, folders, names in os.walk(directory):
        for name in filter(_TEMPORARY.fullmatch, folders):
            remove_tree(Path(folder, name))
        for name in filter(_TEMPORARY.fullmatch, names):
            remove_if_there(Path(folder, name))


def remove_if_there(path: Path) -> None:
    """Remove a file, if it exists; `ArtifactError` if it cannot be removed."""
    with system_errors(path, "clean"), suppress(FileNotFoundError):
        os.unlink(path)


def is_unfinished(name: str) -> bool:
    """Return whether a file or folder of that name is a temporary one."""
    return _TEMPORARY.fullmatch(name) is not None
