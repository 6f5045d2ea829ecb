"""Reads training logs and other lines of JSON: one object a line, numbers finite, and an error that names the line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import TypeAlias, TypeGuard

from townlet_runtime.cli.console import CommandError
from townlet_trajectory.errors import ArtifactError
from townlet_trajectory.storage.files import MAX_LOG_BYTES
from townlet_trajectory.storage.json import JsonValue, parse_object
from townlet_trajectory.storage.paths import read_named

LogRecord: TypeAlias = Mapping[str, JsonValue]

GROUP = "group"
"""Key of the agent group that a line is of; lines of a run with one group have none."""


class RecordError(CommandError):
    """A line of a log, or a value in it, is not what it must be."""


def read_log(path: Path) -> list[LogRecord]:
    """Read all records of a log; empty lines are left out.

    Raises:
        ArtifactError: if the file cannot be read.
        RecordError: if a line is no JSON object, or there is none.
    """
    lines = BytesIO(read_named(path, max_bytes=MAX_LOG_BYTES))
    records = [parse_line(line, path, number) for number, line in enumerate(lines, start=1) if line.strip()]
    if not records:
        raise RecordError(f"{path}: no telemetry records found")
    return records


def parse_line(line: bytes, path: Path, number: int) -> LogRecord:
    """Parse a line of a log.

    Args:
        line: the text, with or without its end.
        path: of the log, for the error.
        number: of the line, for the error.

    Raises:
        RecordError: if it is no JSON object with finite numbers.
    """
    try:
        return parse_object(line, f"{path}:{number}")
    except ArtifactError as error:
        raise RecordError(f"{path}:{number}: {error.reason}") from error


def number_of(record: LogRecord, key: str, where: str, *, absent: float | None = None) -> float | None:
    """Return a number of a record; None where it is null.

    Args:
        record: of a log.
        key: of the number.
        where: names the record in the error.
        absent: what a record without the key has.

    Raises:
        RecordError: if it is something else.
    """
    if key not in record:
        return absent
    value = record[key]
    if value is None:
        return None
    if not is_number(value):
        raise RecordError(f"{where}: field '{key}' must be a finite number, got {value!r:.80}")
    return float(value)


def is_number(value: object) -> TypeGuard[int | float]:
    """Tell whether a value of JSON is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def groups_of(records: list[LogRecord]) -> dict[str | None, list[LogRecord]]:
    """Return the records of each agent group, in the order of the log; None: of lines that name no group."""
    found: dict[str | None, list[LogRecord]] = {}
    for record in records:
        group = record.get(GROUP)
        found.setdefault(group if isinstance(group, str) else None, []).append(record)
    return found


def shown(value: float | None, digits: int) -> str:
    """Return a number with so many decimals, or `n/a`."""
    return "n/a" if value is None else f"{value:.{digits}f}"


def present(values: Iterable[float | None]) -> list[float]:
    """Return the numbers that there are."""
    return [value for value in values if value is not None]
