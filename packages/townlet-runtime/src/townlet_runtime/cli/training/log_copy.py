"""Copies the log of a run, as it grows, to the file that `--ppo-log` names."""

from __future__ import annotations

from pathlib import Path

from townlet_runtime.cli.reports.following import Tail
from townlet_runtime.runs.directory import METRICS
from townlet_runtime.runs.ppo_log import PPOLog
from townlet_trajectory.storage.json import parse_object


class LogCopy:
    """The lines of a run's log since the run was begun, or resumed.

    Args:
        copy: that lines are appended to.
    """

    def __init__(self, copy: PPOLog) -> None:
        self._copy = copy
        self._tail: Tail | None = None

    def begin(self, run_dir: Path) -> None:
        """Begin after the lines that the log of this run has; where no file is named, nothing is read."""
        if not self._copy.is_named:
            return
        self._tail = Tail(run_dir / METRICS, numbered=False)
        for _ in self._tail.look():
            pass

    def update(self) -> None:
        """Copy the lines that are new.

        Raises:
            ArtifactError: if one cannot be read or written.
        """
        for line in () if self._tail is None else self._tail.look():
            self._copy.write(parse_object(line.text, line.path))

    def close(self) -> None:
        """Close the log."""
        if self._tail is not None:
            self._tail.close()
