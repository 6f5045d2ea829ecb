"""Carries out `townlet watch`: reads a log to its end or for ever, shows its records, and stops at a broken limit."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from townlet_runtime.cli.console import GATE_FAILED, SUCCESS, CommandError, Console, end_on_signals
from townlet_runtime.cli.reports.following import Line, Tail
from townlet_runtime.cli.reports.health import health_line, parse_health, stretch_line, stretch_of
from townlet_runtime.cli.reports.limits import (
    HEALTH_LIMITS,
    PPO_LIMITS,
    TELEMETRY_LIMITS,
    Limit,
    Record,
    breach,
    unjudged,
)
from townlet_runtime.cli.reports.records import RecordError, parse_line
from townlet_runtime.cli.reports.watched import watched, watched_line
from townlet_trajectory.storage.json import printable


@dataclass(frozen=True, kw_only=True)
class WatchOptions:
    """The options of `townlet watch`."""

    log: Path
    mode: str
    """What its lines are: one of `MODES`."""
    follow: bool
    interval: float
    """Seconds between two looks."""
    bounds: Mapping[str, float | None]
    """Value of each limit by its option."""


@dataclass(frozen=True, kw_only=True)
class _Mode:
    """How the lines of a kind of log are read, judged and shown."""

    parse: Callable[[Line], Record | None]
    """None: a line that is none of them."""
    limits: tuple[Limit, ...]
    show: Callable[[Record], str]
    place: Callable[[Record], str]
    """Of a record, at the beginning of what is said of it."""


def _training(line: Line) -> Record | None:
    if not line.text.strip():
        return None
    return watched(parse_line(line.text, line.path, line.number), f"{line.path}:{line.number}")


def _ticks(line: Line) -> Record | None:
    return parse_health(line.text, f"{line.path}:{line.number}")


def _stretches(line: Line) -> Record | None:
    if not line.text.strip():
        return None
    return stretch_of(parse_line(line.text, line.path, line.number), f"{line.path}:{line.number}")


MODES = {
    "ppo": _Mode(
        parse=_training, limits=PPO_LIMITS, show=watched_line, place=lambda record: f"Epoch {record['epoch']:.0f}"
    ),
    "health": _Mode(
        parse=_ticks, limits=HEALTH_LIMITS, show=health_line, place=lambda record: f"Tick {record['tick']}"
    ),
    "telemetry": _Mode(
        parse=_stretches, limits=TELEMETRY_LIMITS, show=stretch_line, place=lambda record: f"Tick {record['tick']:.0f}"
    ),
}
"""By the value of `--mode`."""


def watch_log(options: WatchOptions, console: Console) -> int:
    """Show the records of a log, and return the exit code: 1 at the first broken limit.

    Raises:
        ArtifactError: if the log cannot be read.
        RecordError: names a line that is not what it must be.
        CommandError: if a limit was given that judges no record of this mode.
    """
    mode = MODES[options.mode]
    _require_used(options, mode, console)
    warned: set[str] = set()
    with closing(Tail(options.log, numbered=options.follow)) as tail, end_on_signals():
        for record in _records(tail, options, mode, console):
            for limit in unjudged(record, mode.limits, options.bounds):
                if limit.option not in warned:
                    warned.add(limit.option)
                    console.warning(f"{mode.place(record)}: no {limit.key}, so {_flag(limit)} cannot judge it")
            problem = breach(record, mode.limits, options.bounds)
            if problem is not None:
                # Bare, as programs that read it expect it, and also where nothing else is shown.
                print(printable(f"{mode.place(record)}: {problem}"), file=sys.stderr, flush=True)
                return GATE_FAILED
            console.result(record, [mode.show(record)])
    return SUCCESS


def _records(tail: Tail, options: WatchOptions, mode: _Mode, console: Console) -> Iterator[Record]:
    for line in _lines(tail, options):
        try:
            record = mode.parse(line)
        except RecordError:
            if line.ended:
                raise
            console.note(f"{line.path}:{line.number}: half written, left out")
            continue
        if record is not None:
            yield record


def _lines(tail: Tail, options: WatchOptions) -> Iterator[Line]:
    if not options.follow and not options.log.exists():
        raise CommandError(f"{options.log}: no such file (--follow waits for it)")
    yield from tail.look()
    while options.follow:
        time.sleep(options.interval)
        yield from tail.look()
    last = tail.unended()
    if last is not None:
        yield last


def _require_used(options: WatchOptions, mode: _Mode, console: Console) -> None:
    """Warn of limits that are given, but are of another mode."""
    for limit in (*PPO_LIMITS, *HEALTH_LIMITS, *TELEMETRY_LIMITS):
        bound = options.bounds.get(limit.option)
        if limit not in mode.limits and bound is not None and bound != limit.default:
            console.warning(f"{_flag(limit)}: of no effect in mode {options.mode}")


def _flag(limit: Limit) -> str:
    return f"--{limit.option.replace('_', '-')}"
