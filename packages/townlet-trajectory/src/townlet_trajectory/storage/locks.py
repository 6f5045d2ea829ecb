"""At most one writer for a directory, who also removes what a killed one left."""

from __future__ import annotations

import fcntl
import os
import weakref
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from townlet_trajectory.errors import ArtifactError
from townlet_trajectory.storage.unfinished import reason_of, remove_unfinished


class DirectoryLock:
    """At most one process (and one lock in it) holds a directory: `flock` on the directory itself, so no file is left.

    The lock ends with the `with` block or the process, whatever ends it. Network file systems may not honour it.
    """

    def __init__(self, directory: str | Path) -> None:
        self._directory = Path(directory)
        self._descriptor: int | None = None

    def __enter__(self) -> DirectoryLock:
        """Take the lock, and remove what a killed writer left unfinished below the directory.

        Raises:
            ArtifactError: if another holds it, or the directory cannot be opened.
        """
        try:
            descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ArtifactError(self._directory, "lock", reason_of(error)) from error
        self._descriptor = descriptor
        _held_locks.add(self)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Let another take the directory; nothing happens where the lock is not held.

        Raises:
            ArtifactError: if the directory cannot be closed (it is not held then either).
        """
        try:
            if self._descriptor is not None:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)  # for all who share it, before they can close it
            self.forget()
        except OSError as error:
            raise ArtifactError(self._directory, "lock", reason_of(error)) from error

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


os.register_at_fork(after_in_child=_forget_inherited)
