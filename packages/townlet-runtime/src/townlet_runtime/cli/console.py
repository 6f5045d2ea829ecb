"""What a command shows: results on standard output, progress, warnings and errors on standard error."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeAlias

from townlet_runtime.core import telemetry

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

PLAIN_INTERVAL_S = 5.0
"""Least time between two lines of progress where nobody can overwrite a line."""


class Progress(Protocol):
    """Shows how far something is."""

    def update(self, stage: str, done: int, note: str = "") -> None:
        """Say that `done` units are done, in which stage."""
        ...


class Console:
    """Everything that a command prints goes through here.

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
        logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr, force=True)

    def mute_ticks(self) -> None:
        """Leave the log line of every single tick out: a training run has a million of them."""
        logging.getLogger(telemetry.__name__).setLevel(logging.WARNING)

    def error(self, message: str) -> None:
        """Say why the command ends."""
        print(f"townlet: error: {message}", file=sys.stderr)

    def warning(self, message: str) -> None:
        """Say what is odd but no error."""
        if not self.quiet:
            print(f"townlet: warning: {message}", file=sys.stderr)

    def note(self, message: str) -> None:
        """Say something beside the result."""
        if not self.quiet:
            print(message, file=sys.stderr)

    def result(self, record: Mapping[str, Json], lines: Sequence[str]) -> None:
        """Show a result: `record` as JSON, or `lines` for people."""
        if self.json:
            print(json.dumps(record, allow_nan=False), flush=True)
        elif not self.quiet:
            print("\n".join(lines), flush=True)

    @contextmanager
    def progress(self, *, total: int, unit: str, begun_at: int = 0) -> Iterator[Progress]:
        """Show progress towards `total` units while the block runs; `begun_at` of them were done before."""
        if self.quiet:
            yield _NoProgress()
        elif sys.stderr.isatty():
            from townlet_runtime.cli.live import live_progress

            with live_progress(total=total, unit=unit, begun_at=begun_at) as progress:
                yield progress
        else:
            yield _PlainProgress(total=total, unit=unit, begun_at=begun_at)


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
        print(", ".join([*parts, note] if note else parts), file=sys.stderr, flush=True)


def settle_output() -> None:
    """Write out what waits to be written to standard output; what cannot be written goes nowhere."""
    try:
        sys.stdout.flush()
    except OSError:
        drop_output()


def drop_output() -> None:
    """Let what is still to be written to standard output go nowhere: the interpreter would try once more at its end."""
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
