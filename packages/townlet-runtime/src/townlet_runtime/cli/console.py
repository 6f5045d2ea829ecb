"""Prints results on standard output, and progress, warnings and errors on standard error, all of it printable."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol, TextIO, TypeAlias

from townlet_trajectory.storage.json import printable

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

PLAIN_INTERVAL_S = 5.0
"""Least time between two lines of progress where a line cannot be overwritten."""


class Progress(Protocol):
    """Shows how far something is."""

    def update(self, stage: str, done: int, note: str = "") -> None:
        """Show the progress.

        Args:
            stage: that is going on.
            done: units that are done, those before this process included.
            note: shown beside it.
        """
        ...


class Console:
    """Everything that a command prints goes through here, and no text of others can move the cursor or ring a bell.

    Args:
        json: results are one JSON object.
        verbose: log lines and tracebacks.
        quiet: nothing but errors, and JSON where it was asked for.
    """

    def __init__(self, *, json: bool, verbose: bool, quiet: bool) -> None:
        self.json = json
        self.verbose = verbose
        self.quiet = quiet
        level = logging.INFO if verbose else logging.ERROR if quiet else logging.WARNING
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_PrintableFormatter("%(message)s"))
        logging.basicConfig(level=level, handlers=[handler], force=True)

    def mute_ticks(self) -> None:
        """Leave the log line of every single tick out: a training run has a million of them."""
        logging.getLogger("townlet_runtime.core.telemetry").setLevel(logging.WARNING)

    def error(self, message: str) -> None:
        """Say why the command ends."""
        print_error(message)

    def trace(self, error: BaseException) -> None:
        """Show where `error` comes from, if log lines are shown."""
        if self.verbose:
            _print_lines("".join(traceback.format_exception(error)).splitlines(), sys.stderr)

    def warning(self, message: str) -> None:
        """Say what is odd but no error."""
        if not self.quiet:
            _print_lines([f"townlet: warning: {message}"], sys.stderr)

    def note(self, message: str) -> None:
        """Say something beside the result."""
        if not self.quiet:
            _print_lines([message], sys.stderr)

    def result(self, record: Mapping[str, Json], lines: Sequence[str]) -> None:
        """Show a result: `record` as JSON, or `lines` for people."""
        if self.json:
            print(json.dumps(record, allow_nan=False), flush=True)
        elif not self.quiet:
            _print_lines(lines, sys.stdout)

    @contextmanager
    def progress(self, *, total: int, unit: str, begun_at: int = 0) -> Iterator[Progress]:
        """Show progress while the block runs.

        Args:
            total: units that are to be done.
            unit: their name, in the plural.
            begun_at: units that were done before.
        """
        if self.quiet:
            yield _NoProgress()
        elif sys.stderr.isatty():
            from townlet_runtime.cli.live import live_progress

            with live_progress(total=total, unit=unit, begun_at=begun_at) as progress:
                yield progress
        else:
            yield _PlainProgress(total=total, unit=unit, begun_at=begun_at)


class _PrintableFormatter(logging.Formatter):
    """Each line of a record with everything unprintable in it escaped."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).split("\n")))


class _NoProgress:
    def update(self, stage: str, done: int, note: str = "") -> None:
        """Show nothing."""


class _PlainProgress:
    """Lines: one every few seconds, and one whenever a new stage begins."""

    def __init__(self, *, total: int, unit: str, begun_at: int) -> None:
        self._total = total
        self._unit = unit
        self._begun_at = begun_at
        self._begun = time.monotonic()
        self._shown = 0.0
        self._stage: str | None = None

    def update(self, stage: str, done: int, note: str = "") -> None:
        elapsed = time.monotonic() - self._begun
        begins = self._stage is not None and stage != self._stage
        self._stage = stage
        if not begins and elapsed - self._shown < PLAIN_INTERVAL_S:
            return
        self._shown = elapsed
        parts = [f"{stage}: {done:,} of {self._total:,} {self._unit}"]
        if done > self._begun_at and elapsed > 0.0:
            rate = (done - self._begun_at) / elapsed
            parts += [f"{rate:,.0f}/s", f"{duration(max(0, self._total - done) / rate)} left"]
        _print_lines([", ".join([*parts, note] if note else parts)], sys.stderr)


def print_error(message: str) -> None:
    """Print the line of a command that ends with an error."""
    _print_lines([f"townlet: error: {message}"], sys.stderr)


def _print_lines(lines: Iterable[str], stream: TextIO) -> None:
    print("\n".join(map(printable, lines)), file=stream, flush=True)


def settle_output() -> None:
    """Flush standard output; what cannot be written is dropped."""
    try:
        sys.stdout.flush()
    except OSError:
        drop_output()


def drop_output() -> None:
    """Drop what is still to be written to standard output: the interpreter would try once more at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def duration(seconds: float) -> str:
    """Return `1 h 02 min`, `3 min 04 s` or `5 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table; the first column is aligned left, the others right."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    return ["  ".join(_aligned(row, widths)).rstrip() for row in (header, *rows)]


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *rest = row
    return [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))]
