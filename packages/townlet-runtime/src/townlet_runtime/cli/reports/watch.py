"""`townlet watch`: its options, those of the limits from their table."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from townlet_runtime.cli.options import MAX_COUNT, Quiet, Verbose, finite_number, whole_number
from townlet_runtime.cli.reports.limits import HEALTH_LIMITS, PPO_LIMITS, TELEMETRY_LIMITS, Limit
from townlet_runtime.cli.signatures import option, with_options
from townlet_runtime.cli.start import start

if TYPE_CHECKING:
    from townlet_runtime.cli.console import Console

PANEL = "Limits"
"""Heading of the limits in `--help`."""

_MAX_INTERVAL = 86_400.0


class WatchMode(StrEnum):
    """What the lines of a watched log are."""

    health = "health"
    ppo = "ppo"
    telemetry = "telemetry"


def _interval(text: str) -> float:
    value = finite_number(text)
    if not 0.0 < value <= _MAX_INTERVAL:
        raise typer.BadParameter(f"expected seconds above 0, at most {_MAX_INTERVAL:,.0f}, got {text}")
    return value


def _parameter(limit: Limit) -> inspect.Parameter:
    declared = typer.Option(
        help=limit.help,
        parser=whole_number(0, MAX_COUNT) if limit.whole else finite_number,
        metavar="N" if limit.whole else "X",
        show_default=False,
        rich_help_panel=PANEL,
    )
    annotation: Any = Annotated[int | None, declared] if limit.whole else Annotated[float | None, declared]
    return option(limit.option, annotation, limit.default)


_Log = Annotated[Path, typer.Argument(metavar="LOG", help="Training log, telemetry, or a log with health lines.")]
_Mode = Annotated[
    WatchMode,
    typer.Option(
        help="ppo: lines of a training log. health: tick_health lines, all others are ignored. telemetry: records of"
        " townlet run --telemetry."
    ),
]
_Follow = Annotated[bool, typer.Option("--follow", help="Go on with what is appended, until interrupted.")]
_Interval = Annotated[
    float, typer.Option(parser=_interval, metavar="S", help="Seconds between two looks with --follow.")
]
_JsonLines = Annotated[bool, typer.Option("--json", help="Print each record as a line of JSON, nothing else.")]


@with_options("bounds", [_parameter(limit) for limit in (*PPO_LIMITS, *HEALTH_LIMITS, *TELEMETRY_LIMITS)], dict)
def watch(
    log: _Log,
    bounds: Mapping[str, float | None],
    mode: _Mode = WatchMode.ppo,
    follow: _Follow = False,
    interval: _Interval = 2.0,
    json: _JsonLines = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> int:
    """Carry out `townlet watch`.

    Args:
        log: that is watched.
        bounds: value of each limit by its option.
        mode: what its lines are.
        follow: go on with what is appended.
        interval: seconds between two looks.
        json: each record as a line of JSON.
        verbose: log lines and tracebacks.
        quiet: nothing but broken limits and errors.
    """

    def command(console: Console) -> int:
        from townlet_runtime.cli.reports.watching import WatchOptions, watch_log

        options = WatchOptions(log=log, mode=mode.value, follow=follow, interval=interval, bounds=bounds)
        return watch_log(options, console)

    return start(command, json=json, verbose=verbose, quiet=quiet)
