"""The process of a command: what it prints where, how it ends, and signals that set a flag or end a block."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Protocol, TextIO, TypeAlias

from townlet_behavior.errors import BehaviorError
from townlet_runtime.cli.views.tables import aligned, terminal_width
from townlet_runtime.errors import EnvironmentFaultError, TownletError
from townlet_trajectory.errors import TrajectoryError
from townlet_trajectory.storage.json import printable

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

PLAIN_INTERVAL_S = 5.0
"""Least time between two lines of progress where a line cannot be overwritten."""
PLAIN_LINES_INTERVAL_S = 30.0
"""Likewise, between two groups of lines."""


class Progress(Protocol):
    """Shows how far something is."""

    def update(self, stage: str, done: int, note: str = "", *, left: float | None = None) -> None:
        """Show the progress.

        Args:
            stage: that is going on.
            done: units that are done, those before this process included.
            note: shown beside it.
            left: seconds that are left, where they are told with every update; None: nobody knows.
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

    def line(self, text: str) -> None:
        """Show a line of the result for people, before the end of the command."""
        if not self.json and not self.quiet:
            _print_lines([text], sys.stdout)

    def result(self, record: Mapping[str, Json], lines: Sequence[str]) -> None:
        """Show a result: `record` as JSON, or `lines` for people."""
        if self.json:
            print(json.dumps(record, allow_nan=False), flush=True)
        elif not self.quiet:
            _print_lines(lines, sys.stdout)

    @contextmanager
    def lines(self) -> Iterator[Callable[[Sequence[str]], None]]:
        """Give a function that shows lines beside the result, in the same place while the block runs.

        Where lines cannot be overwritten they are shown every `PLAIN_LINES_INTERVAL_S` seconds, and only if changed.
        """
        if self.quiet:
            yield lambda lines: None
        elif sys.stderr.isatty():
            from townlet_runtime.cli.views.live import live_frames

            with live_frames(stderr=True) as show:
                yield show
        else:
            yield _PlainLines()

    @contextmanager
    def progress(self, *, total: int, unit: str, begun_at: int = 0, told: bool = False) -> Iterator[Progress]:
        """Show progress while the block runs.

        Args:
            total: units that are to be done.
            unit: their name, in the plural.
            begun_at: units that were done before.
            told: whether the time that is left is told with every update; else it follows from the rate of the units.
        """
        if self.quiet:
            yield _NoProgress()
        elif sys.stderr.isatty():
            from townlet_runtime.cli.views.live import live_progress

            with live_progress(total=total, unit=unit, begun_at=begun_at, told=told) as progress:
                yield progress
        else:
            yield _PlainProgress(total=total, unit=unit, begun_at=begun_at, told=told)


class ResultKeeper(Console):
    """A console that keeps the result of a command, which is a part of another, and prints everything else."""

    kept: Mapping[str, Json] | None = None
    """None: the command has shown none."""

    def result(self, record: Mapping[str, Json], lines: Sequence[str]) -> None:
        """Keep the result."""
        self.kept = record


class _PrintableFormatter(logging.Formatter):
    """Each line of a record with everything unprintable in it escaped."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).split("\n")))


class _NoProgress:
    def update(self, stage: str, done: int, note: str = "", *, left: float | None = None) -> None:
        """Show nothing."""


class _PlainProgress:
    """Lines: one every few seconds, and one whenever a new stage begins."""

    def __init__(self, *, total: int, unit: str, begun_at: int, told: bool) -> None:
        self._told = told
        self._total = total
        self._unit = unit
        self._begun_at = begun_at
        self._begun = time.monotonic()
        self._shown = 0.0
        self._stage: str | None = None

    def update(self, stage: str, done: int, note: str = "", *, left: float | None = None) -> None:
        elapsed = time.monotonic() - self._begun
        begins = self._stage is not None and stage != self._stage
        self._stage = stage
        if not begins and elapsed - self._shown < PLAIN_INTERVAL_S:
            return
        self._shown = elapsed
        parts = [f"{stage}: {done:,} of {self._total:,} {self._unit}"]
        if done > self._begun_at and elapsed > 0.0:
            rate = (done - self._begun_at) / elapsed
            parts.append(f"{rate:,.0f}/s")
            left = left if self._told else max(0, self._total - done) / rate
        if left is not None:
            parts.append(f"{duration(left)} left")
        _print_lines([", ".join([*parts, note] if note else parts)], sys.stderr)


class _PlainLines:
    """Groups of lines, one after the other."""

    def __init__(self) -> None:
        self._shown: Sequence[str] = ()
        self._next = 0.0

    def __call__(self, lines: Sequence[str]) -> None:
        now = time.monotonic()
        if now >= self._next and lines != self._shown:
            self._shown, self._next = lines, now + PLAIN_LINES_INTERVAL_S
            _print_lines(lines, sys.stderr)


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


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: bool = False) -> list[str]:
    """Return the lines of a table, none of which is wider than the terminal; the first column is aligned left.

    Args:
        header: names of the columns.
        rows: as many cells each.
        left: align the other columns left too, not right.
    """
    # What cannot be printed is escaped before it is measured.
    cells = [[printable(cell) for cell in row] for row in rows]
    return aligned(header, cells, left=left, width=terminal_width())


SUCCESS = 0
GATE_FAILED = 1
ENVIRONMENT_FAILED = 1
ERROR = 2
_SIGNALLED = 128
"""Plus the number of the signal, as shells do it."""
BROKEN_PIPE = _SIGNALLED + 13
"""13 is SIGPIPE, which Windows does not name."""
ENDING = tuple(signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in signal.Signals.__members__)
"""Signals that ask a process to end; Windows has no SIGHUP."""
_IGNORABLE = "SIGHUP"
"""`nohup` starts a process in which this signal is ignored, and so it stays."""

Handler = Callable[[int, FrameType | None], object]


class CommandError(TownletError):
    """Why a command cannot do what it was asked to."""


_EXPECTED = (TownletError, BehaviorError, TrajectoryError, OSError, MemoryError)


class StopFlag:
    """Whether a signal has asked for an end, and which one."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self) -> bool:
        return self.signal is not None

    @property
    def code(self) -> int:
        """The exit code that says so; 0 where no signal has come."""
        return SUCCESS if self.signal is None else signalled(self.signal)


def signalled(number: int) -> int:
    """Return the exit code of a process that signal `number` ended, as shells do."""
    return _SIGNALLED + number


@contextmanager
def stop_on_signals() -> Iterator[StopFlag]:
    """Let the first of `ENDING` set a flag, and a second one end the process at once."""
    flag = StopFlag()

    def handle(number: int, _frame: FrameType | None) -> None:
        flag.signal = number
        restore()

    restore = _handle_with(handle)
    try:
        yield flag
    finally:
        restore()


class Signalled(KeyboardInterrupt):
    """One of `ENDING` has come, and there is nothing to save."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


@contextmanager
def end_on_signals() -> Iterator[None]:
    """Let each of `ENDING` end the block at once, as an exception, so that a terminal is put right again."""

    def handle(number: int, _frame: FrameType | None) -> None:
        raise Signalled(number)

    restore = _handle_with(handle)
    try:
        yield
    finally:
        restore()


def _handle_with(handler: Handler) -> Callable[[], None]:
    """Install `handler` for `ENDING`; return the function that puts back the handlers that were there."""
    before = {
        number: signal.getsignal(number)
        for number in ENDING
        if number.name != _IGNORABLE or signal.getsignal(number) is not signal.SIG_IGN
    }

    def restore() -> None:
        for number, earlier in before.items():
            signal.signal(number, earlier)

    for number in before:
        signal.signal(number, handler)
    return restore


def guarded(command: Callable[[], int], console: Console) -> int:
    """Run `command` and return its exit code; an error that is expected becomes one line and its code.

    The code is `ENVIRONMENT_FAILED` where a foreign environment broke its interface while it ran, else `ERROR`.
    """
    try:
        return command()
    except BrokenPipeError:
        # The reader of our output has read enough (`| head`), which is no error.
        drop_output()
        return BROKEN_PIPE
    except _EXPECTED as error:
        console.trace(error)
        console.error(one_line(error))
        settle_output()
        return ENVIRONMENT_FAILED if isinstance(error, EnvironmentFaultError) else ERROR
    except Signalled as error:
        return signalled(error.number)
    except KeyboardInterrupt:
        return signalled(signal.SIGINT)
    except Exception as error:
        # A defect of ours must not end with the code that says "a gate failed", which is Python's own choice.
        console.trace(error)
        console.error(f"internal error, please report it: {type(error).__name__}: {one_line(error)} (-v shows where)")
        return ERROR


def one_line(error: BaseException) -> str:
    """Return the message of `error` on one line; its type where it has no message."""
    if isinstance(error, OSError) and error.strerror is not None:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    text = " ".join(str(error).split())
    return text or type(error).__name__
