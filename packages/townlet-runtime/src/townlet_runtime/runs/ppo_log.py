"""The log that `--ppo-log` names: a copy of a run's log, thinned out, in files of so many lines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from townlet_trajectory.storage.files import append_line
from townlet_trajectory.storage.json import JsonValue


class PPOLog:
    """Appends lines: the first `max_lines` stay in the file, the next ones go to FILE.1, then FILE.2, and so on."""

    def __init__(self, path: Path | None, *, every: int, max_lines: int | None) -> None:
        """Look for the newest file.

        Args:
            path: of the first file; None: no line is written.
            every: only each so-many-th line is written.
            max_lines: of one file; None: there is one file.
        """
        self._first = path
        self._every = every
        self._max_lines = max_lines
        self._number = 0
        if path is not None and max_lines is not None:
            while self._path(self._number + 1).exists():
                self._number += 1
        self._num_lines = 0 if path is None else _count_lines(self._path(self._number))

    @property
    def is_named(self) -> bool:
        """Whether there is a file to write to."""
        return self._first is not None

    def write(self, values: Mapping[str, JsonValue]) -> None:
        """Append a line of the run's log, if it is one of those to be written.

        Raises:
            ArtifactError: if it cannot be written.
        """
        offset = values.get("log_stream_offset")
        if self._first is None or not isinstance(offset, int) or offset % self._every:
            return
        if self._max_lines is not None and self._num_lines >= self._max_lines:
            self._number, self._num_lines = self._number + 1, 0
        append_line(self._path(self._number), json.dumps(dict(values), allow_nan=False))
        self._num_lines += 1

    def _path(self, number: int) -> Path:
        first = self._first or Path()
        return first if number == 0 else first.with_name(f"{first.name}.{number}")


def _count_lines(path: Path) -> int:
    if not path.exists():
        return 0
    with path.open("rb") as stream:
        return sum(1 for _ in stream)
