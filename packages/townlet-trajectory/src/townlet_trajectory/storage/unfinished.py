"""Temporary files and directories: how they are named while written, and how what a killed writer left is removed."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from townlet_trajectory.errors import ArtifactError

_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{16}\.tmp", re.DOTALL)


def temporary_name(path: Path) -> Path:
    """A new name in the same folder."""
    # A file name has at most 255 bytes, four for a character, so only the beginning of a long one is repeated.
    return path.with_name(f".{path.name[:48]}.{secrets.token_hex(8)}.tmp")


def is_unfinished(name: str) -> bool:
    """Whether a file or folder of that name is a temporary one."""
    return _TEMPORARY.fullmatch(name) is not None


def remove_if_there(path: Path) -> None:
    """Remove a file, if it exists.

    Raises:
        ArtifactError: if it cannot be removed.
    """
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ArtifactError(path, "clean", reason_of(error)) from error


def remove_tree(path: Path) -> None:
    """Remove a directory as far as that goes. Never an error: the one that led here is to be told, not another."""
    with suppress(OSError):  # rmtree ignores all but those of closing a directory
        shutil.rmtree(path, ignore_errors=True)


def remove_unfinished(directory: Path) -> None:
    """Remove all temporary files and directories at and below `directory`; only who holds its lock may.

    Raises:
        ArtifactError: if a file cannot be removed.
    """
    for folder, folders, names in os.walk(directory):
        for name in filter(_TEMPORARY.fullmatch, folders):
            remove_tree(Path(folder, name))
        for name in filter(_TEMPORARY.fullmatch, names):
            remove_if_there(Path(folder, name))


def reason_of(error: OSError) -> str:
    """What the system says, without the path, which an `ArtifactError` names itself."""
    return error.strerror or str(error)
