"""Paths that a command refuses at once, before anything is imported that takes long to import."""

from __future__ import annotations

from pathlib import Path

from townlet_runtime.errors import RunDirectoryError
from townlet_runtime.policy.file import read_policy_bytes, verified_digest
from townlet_runtime.runs.directory import require_finished, require_writable


def require_policy(path: Path) -> None:
    """Refuse a path that is neither an intact policy file nor the directory of a finished run.

    Raises:
        PolicyFileError: if the file is missing, damaged or foreign.
        RunDirectoryError: if it is a directory, but not one of a finished run.
    """
    if path.is_dir():
        require_finished(path)
    else:
        verified_digest(read_policy_bytes(path), path)


def require_empty(path: Path) -> None:
    """Refuse a folder that holds something (samples of two recordings must not mix), or that cannot be written to.

    Raises:
        RunDirectoryError: names it.
    """
    try:
        used = path.exists() and any(path.iterdir())
    except OSError as error:
        raise RunDirectoryError(path, f"cannot be read: {error.strerror}") from error
    if used:
        raise RunDirectoryError(path, "exists and is not empty; name another one with --record")
    require_writable(path)
