"""Carries out `townlet report plot`: loss and KL divergence of a training log against its epochs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from townlet_runtime.cli.console import SUCCESS, CommandError, Console, Json
from townlet_runtime.cli.reports.records import GROUP, LogRecord, RecordError, number_of, present, read_log, shown
from townlet_runtime.cli.reports.watched import DATA_MODE
from townlet_runtime.errors import require_report_extra
from townlet_runtime.report.log_curves import LogCurve
from townlet_runtime.report.writing import LOG_PICTURES, show_log_plot, write_log_plot
from townlet_trajectory.storage.files import make_directory

LOSS, KL = "loss_total", "kl_divergence"


def plot_log(log: Path, output: Path | None, console: Console, *, show: bool) -> int:
    """Print how many rows a log has and the ranges of both numbers, draw them, and return the exit code.

    Args:
        log: a training log.
        output: picture to write; None: none.
        console: prints.
        show: open a window.

    Raises:
        CommandError: if the picture's form is not known, or the log is not what it must be.
        MissingExtraError: if something is to be drawn, and matplotlib is not installed.
        NoWindowError: if there is no window to open.
    """
    if output is not None and output.suffix not in LOG_PICTURES:
        raise CommandError(f"--output {output}: expected a file that ends in {' or '.join(LOG_PICTURES)}")
    if output is not None or show:
        require_report_extra()
    records = read_log(log)
    epochs = [_epoch(record, index, log) for index, record in enumerate(records, start=1)]
    losses, kls = (_column(records, key, log) for key in (LOSS, KL))
    curves = _curves(records, log)
    if output is not None:
        make_directory(output.absolute().parent)
        write_log_plot(curves, output)
    record: dict[str, Json] = {
        "log": str(log),
        "rows": len(records),
        "epochs": {"first": epochs[0], "last": epochs[-1]},
        LOSS: _range(losses),
        KL: _range(kls),
        "output": None if output is None else str(output),
    }
    lines = [
        f"Loaded {len(records)} telemetry rows spanning epochs {epochs[0]} → {epochs[-1]}",
        f"Loss_total range: {_range_text(losses, 4)}",
        f"KL divergence range: {_range_text(kls, 6)}",
        *([] if output is None else [f"Saved plot to {output}"]),
    ]
    console.result(record, lines)
    if show:
        show_log_plot(curves)
    return SUCCESS


def _epoch(record: LogRecord, index: int, log: Path) -> float:
    """The number of an epoch as the log spells it; of a line without one, its place."""
    epoch = number_of(record, "epoch", f"{log}: record {index}", absent=float(index))
    if epoch is None:
        raise RecordError(f"{log}: record {index}: field 'epoch' must be a finite number, got None")
    return epoch


def _column(records: Sequence[LogRecord], key: str, log: Path) -> list[float | None]:
    for index, record in enumerate(records, start=1):
        if key not in record:
            raise RecordError(f"{log}: record {index}: expected `{key}`, which a training log has")
    return [number_of(record, key, f"{log}: record {index}") for index, record in enumerate(records, start=1)]


def _curves(records: list[LogRecord], log: Path) -> list[LogCurve]:
    """One for each agent group and kind of data: their epochs are counted apart."""
    kinds: dict[str, list[LogRecord]] = {}
    for record in records:
        said = (record.get(GROUP), record.get(DATA_MODE))
        kinds.setdefault(", ".join(part for part in said if isinstance(part, str)), []).append(record)
    return [
        LogCurve(
            name=name,
            epochs=[_epoch(record, index, log) for index, record in enumerate(each, start=1)],
            loss=_column(each, LOSS, log),
            kl=_column(each, KL, log),
        )
        for name, each in kinds.items()
    ]


def _range(values: Sequence[float | None]) -> dict[str, Json]:
    there = present(values)
    return {"min": min(there, default=None), "max": max(there, default=None)}


def _range_text(values: Sequence[float | None], digits: int) -> str:
    there = present(values)
    return f"{shown(min(there, default=None), digits)} → {shown(max(there, default=None), digits)}"
