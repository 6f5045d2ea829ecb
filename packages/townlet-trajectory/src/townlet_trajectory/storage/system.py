"""Calls that POSIX and Windows spell differently: open below a folder, open a log, sync a folder, lock a folder.

The only module that asks for the platform. Windows has no descriptors of folders: links are looked for before a file
is opened, the entries of a folder are not synced, and a lock is one byte of the file `.NAME.lock` beside the folder.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

    BINARY = 0
    """Flag for opening files, so that bytes stay as they are."""
    _FOLDER = os.O_RDONLY | os.O_DIRECTORY

    def open_beneath(root: Path, parts: Sequence[str]) -> int:
        """Open the file `parts` below `root` for reading, whatever kind it is of; never wait for a pipe. Raises
        `OSError` if it cannot be opened, or a component below `root` is a link."""
        *folders, last = parts
        with ExitStack() as stack:
            descriptor = os.open(root, _FOLDER)
            stack.callback(os.close, descriptor)
            for folder in folders:
                descriptor = os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
                stack.callback(os.close, descriptor)
            return os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=descriptor)

    def open_log(path: Path) -> int:
        """Open or create `path`, which must not be a link, for reading and appending."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)

    def sync_folder(folder: Path) -> None:
        """Make the entries of `folder` survive a crash of the machine."""
        descriptor = os.open(folder, _FOLDER)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def open_lock(directory: Path) -> int:
        """Return a descriptor by which `directory` can be locked."""
        return os.open(directory, _FOLDER)

    def lock(descriptor: int) -> None:
        """Take the lock; `BlockingIOError` if another descriptor holds it."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def unlock(descriptor: int) -> None:
        """Give the lock back."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)

    def clean_lock(directory: Path) -> None:
        """Remove what `open_lock` left: nothing. To be called after a lock that was held is closed."""

    def after_fork_in_child(function: Callable[[], None]) -> None:
        """Call `function` in every forked child from now on."""
        os.register_at_fork(after_in_child=function)

else:
    import msvcrt

    BINARY = os.O_BINARY

    def open_beneath(root: Path, parts: Sequence[str]) -> int:
        """As above, but a folder that becomes a link between check and opening is followed."""
        path = os.path.join(os.path.realpath(root, strict=True), *parts)
        # Another real path: a link, a junction, or a second spelling. A colon: a stream of another file.
        if os.path.normcase(os.path.realpath(path)) != os.path.normcase(path) or ":" in "".join(parts):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        return os.open(path, os.O_RDONLY | BINARY)

    def open_log(path: Path) -> int:
        """As above."""
        if os.path.islink(path):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | BINARY, 0o644)

    def sync_folder(folder: Path) -> None:
        """Do nothing: there is no such call."""

    def open_lock(directory: Path) -> int:
        """As above."""
        if not directory.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return os.open(_lock_file(directory), os.O_RDWR | os.O_CREAT | BINARY, 0o644)

    def lock(descriptor: int) -> None:
        """As above."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error

    def unlock(descriptor: int) -> None:
        """As above."""
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

    def clean_lock(directory: Path) -> None:
        """Remove the file, unless somebody has opened it meanwhile: then Windows refuses."""
        with suppress(OSError):
            os.unlink(_lock_file(directory))

    def after_fork_in_child(function: Callable[[], None]) -> None:
        """Do nothing: no process forks."""

    def _lock_file(directory: Path) -> Path:
        real = directory.resolve()
        return real.parent / f".{real.name}.lock"
