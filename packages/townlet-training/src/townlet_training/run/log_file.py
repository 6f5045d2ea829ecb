"""The log of a run as a file that can be cut back to where a checkpoint was taken."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from townlet_training.errors import ResumeError
from townlet_trajectory.storage.files import MAX_LOG_BYTES, write_bytes_atomic
from townlet_trajectory.storage.paths import read_named


@dataclass(frozen=True, kw_only=True)
class LogMark:
    """A length of the log."""

    size: int
    """Bytes."""
    sha256: str
    """Of these first bytes, hex."""


def mark_log(path: Path) -> LogMark:
    """The present end of the log at `path`.

    Raises:
        ArtifactError: if it cannot be read.
    """
    return _mark(read_named(path, max_bytes=MAX_LOG_BYTES))


def cut_log(path: Path, mark: LogMark) -> None:
    """Take away what was appended to the log at `path` since `mark`.

    Raises:
        ResumeError: if it is shorter, or was changed.
        ArtifactError: if it cannot be read or written.
    """
    data = read_named(path, max_bytes=MAX_LOG_BYTES)
    if len(data) < mark.size:
        raise ResumeError(f"{path} has {len(data)} bytes, but the newest checkpoint was taken after {mark.size}")
    kept = data[: mark.size]
    if _mark(kept) != mark:
        raise ResumeError(
            f"{path}: its first {mark.size} bytes are not those that the newest checkpoint was taken after"
        )
    if len(kept) < len(data):
        write_bytes_atomic(path, kept)


def _mark(data: bytes) -> LogMark:
    return LogMark(size=len(data), sha256=hashlib.sha256(data).hexdigest())
