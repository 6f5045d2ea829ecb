"""A directory that other libraries fill (HDF5 writes files itself), which appears whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from townlet_trajectory.errors import ArtifactError
from townlet_trajectory.storage.unfinished import reason_of, remove_tree, temporary_name


@contextmanager
def filled_directory(path: str | Path) -> Iterator[Path]:
    """Give a new directory to fill; when the block ends without an exception it becomes `path`, synced, all at once.

    Args:
        path: must not exist; its parent must.

    Raises:
        ArtifactError: if it exists or cannot be written. Nothing is left of it then, nor after any other exception.
    """
    path = Path(path)
    if os.path.lexists(path):
        raise ArtifactError(path, "write", "exists already")
    temporary = temporary_name(path)
    renamed = False
    try:
        os.mkdir(temporary)
        yield temporary
        for folder, _, names in os.walk(temporary, topdown=False):
            for name in (*names, "."):
                _sync(os.path.join(folder, name))
        os.rename(temporary, path)
        renamed = True
        _sync(path.parent)
    except OSError as error:
        raise ArtifactError(path, "write", reason_of(error)) from error
    finally:
        if not renamed:
            remove_tree(temporary)


def _sync(path: str | Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
