"""The lines of a log that is still written: what was appended since the last look, across rotations of the file."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from townlet_runtime.cli.reports.records import RecordError
from townlet_trajectory.errors import system_errors
from townlet_trajectory.storage.json import MAX_JSON_BYTES
from townlet_trajectory.storage.paths import open_below

_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a log."""

    path: Path
    number: int
    """In its file, from 1."""
    text: bytes
    """Without its end."""
    ended: bool = True
    """Whether it has an end; a last line without one may be half written."""


class Tail:
    """A log from its beginning on, and what is appended to it later.

    Three things may happen to the file. It is cut short: reading begins again at its beginning. Another file takes its
    place, as log rotation does it: the old one is read to its end, then the new one. The next lines go to `NAME.1`,
    then `NAME.2`, as `--ppo-log-max-entries` does it: each is read to its end, then the next one.
    """

    def __init__(self, path: Path, *, numbered: bool = True) -> None:
        """Begin with a file.

        Args:
            path: of the file, which need not be there yet.
            numbered: whether to go on with `NAME.1`.
        """
        self._first = path
        self._numbered = numbered
        self._number = 0
        self._stream: BufferedReader | None = None
        self._rest = b""
        self._line = 0

    def look(self) -> Iterator[Line]:
        """Yield the lines that were ended since the last look; half a line waits for its other half.

        Raises:
            ArtifactError: if a file cannot be read.
            RecordError: if a line is too long.
        """
        if self._stream is None and not self._open(0):
            return
        while True:
            yield from self._appended()
            successor = self._successor()
            if successor is None:
                return
            # Written between the reading and the rotation.
            yield from self._appended()
            self._open(successor)

    def unended(self) -> Line | None:
        """Return what stands after the last end of a line; None: nothing does."""
        if not self._rest.strip():
            return None
        return Line(path=self._path(self._number), number=self._line + 1, text=self._rest, ended=False)

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()

    def _path(self, number: int) -> Path:
        return self._first if number == 0 else self._first.with_name(f"{self._first.name}.{number}")

    def _open(self, number: int) -> bool:
        path = self._path(number)
        if not os.path.lexists(path):
            return False
        with system_errors(path, "open"):
            real = path.resolve(strict=True)
        stream = open_below(real.parent, real.name, max_bytes=sys.maxsize, origin=path)
        self.close()
        self._number, self._stream, self._rest, self._line = number, stream, b"", 0
        return True

    def _appended(self) -> Iterator[Line]:
        stream = self._stream
        assert stream is not None
        path = self._path(self._number)
        with system_errors(path, "read"):
            if os.fstat(stream.fileno()).st_size < stream.tell():
                stream.seek(0)
                self._rest, self._line = b"", 0
        while True:
            with system_errors(path, "read"):
                chunk = stream.read(_CHUNK)
            if not chunk:
                return
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            if len(self._rest) > MAX_JSON_BYTES:
                raise RecordError(f"{path}:{self._line + len(lines) + 1}: longer than {MAX_JSON_BYTES} bytes")
            for text in lines:
                self._line += 1
                yield Line(path=path, number=self._line, text=text)

    def _successor(self) -> int | None:
        """The number of the file to go on with; None: this one."""
        assert self._stream is not None
        held = os.fstat(self._stream.fileno())
        now = _status(self._path(self._number))
        if now is not None and not os.path.samestat(now, held):
            return self._number
        following = _status(self._path(self._number + 1)) if self._numbered else None
        # A numbered file that is older is one that log rotation has put aside.
        if following is None or os.path.samestat(following, held) or following.st_mtime_ns <= held.st_mtime_ns:
            return None
        return self._number + 1


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None
