"""Reads frozen records from the JSON files of a run and writes them: exact keys, finite numbers, one typed error."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from townlet_runtime.errors import TownletError
from townlet_trajectory.errors import ArtifactError
from townlet_trajectory.storage.files import write_bytes_atomic
from townlet_trajectory.storage.json import parse_json
from townlet_trajectory.storage.paths import read_named

RecordT = TypeVar("RecordT")
Interval = tuple[float, float]
"""(lower, upper) end of a 95 % interval."""

EXACT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
"""For `__pydantic_config__` of a record whose file has exactly its keys."""
OPEN = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)
"""For a record whose file may have more keys."""

MAX_BYTES = 64 * 2**20
"""A file of a run directory that is larger is refused unread."""
_SHOWN = 80
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ReportError(TownletError):
    """Something in a file of a run directory, or in a record made for one, is not what it must be."""

    def __init__(self, file: Path | str, *, key: str, expected: str, came: str) -> None:
        self.file = file
        self.key = key
        self.expected = expected
        self.came = came
        super().__init__(f"{file}: `{key}`: expected {expected}, got {came}")


def read_bytes(path: Path) -> bytes:
    """Read the regular file `path` of a run directory.

    Raises:
        ReportError: if it is missing, no regular file, unreadable or larger than `MAX_BYTES`.
    """
    try:
        return read_named(path, max_bytes=MAX_BYTES)
    except ArtifactError as error:
        raise ReportError(path, key="(file)", expected="a readable file", came=error.reason) from error


def read_record(adapter: TypeAdapter[RecordT], path: Path) -> RecordT:
    """Read the record that the JSON file `path` holds; errors as `read_bytes` and `parse_record`."""
    return parse_record(adapter, read_bytes(path), file=path)


def parse_record(adapter: TypeAdapter[RecordT], text: bytes, *, file: Path | str, where: str = "") -> RecordT:
    """Parse a record from one JSON document.

    Args:
        adapter: of the type of the record.
        text: the document, UTF-8.
        file: named in errors.
        where: put before the key in errors, such as `line 3: `.

    Returns:
        The record.

    Raises:
        ReportError: for text that is no JSON, nested too deep or too large, for repeated keys, non-finite numbers,
            missing, unknown or mistyped keys, and for values that the record itself refuses.
    """
    try:
        record = adapter.validate_json(text)
        # After the record, whose errors name the key: repeated keys, and numbers that the record does not hold.
        parse_json(text, file)
        return record
    except ValidationError as error:
        raise _from_validation(error, file=file, where=where) from error
    except ReportError as error:
        raise ReportError(file, key=f"{where}{error.key}", expected=error.expected, came=error.came) from error
    except ArtifactError as error:
        raise ReportError(file, key=f"{where}(text)", expected="strict JSON", came=_short(error.reason)) from error


def write_record(adapter: TypeAdapter[RecordT], record: RecordT, path: Path) -> None:
    """Replace `path` by the JSON of `record`, keys in the order of its fields, atomically.

    Args:
        adapter: of the type of the record.
        record: to be written.
        path: of the file.

    Raises:
        ValueError: if a number in it is not finite.
        ArtifactError: if the file cannot be written.
    """
    text = json.dumps(adapter.dump_python(record, mode="json"), indent=2, allow_nan=False)
    write_bytes_atomic(path, text.encode() + b"\n")


def require_finite(record: str, **values: object) -> None:
    """Raise `ReportError` unless every float in `values`, also in tuples and mappings, is finite."""
    for key, value in _floats(values):
        if not math.isfinite(value):
            raise ReportError(record, key=key, expected="a finite number", came=repr(value))


def require_interval(record: str, key: str, interval: tuple[float, float] | None) -> None:
    """Refuse an interval that is upside down.

    Args:
        record: named in the error.
        key: named in the error.
        interval: (lower, upper), or None.

    Raises:
        ReportError: if the upper end is below the lower one.
    """
    if interval is not None and interval[0] > interval[1]:
        raise ReportError(record, key=key, expected="(lower, upper)", came=repr(interval))


def require_digest(record: str, key: str, digest: str | None) -> None:
    """Refuse text that is no SHA-256.

    Args:
        record: named in the error.
        key: named in the error.
        digest: 64 lower-case hexadecimal digits, or None.

    Raises:
        ReportError: if it has another form.
    """
    if digest is not None and _SHA256.fullmatch(digest) is None:
        raise ReportError(record, key=key, expected="64 lower-case hexadecimal digits", came=_short(repr(digest)))


def _from_validation(error: ValidationError, *, file: Path | str, where: str) -> ReportError:
    first = error.errors(include_url=False)[0]
    key = where + ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return ReportError(file, key=key, expected="a value", came="nothing")
    if first["type"] == "json_invalid":
        return ReportError(file, key=f"{where}(text)", expected="strict JSON", came=first["msg"])
    if first["type"] == "unexpected_keyword_argument":
        return ReportError(file, key=key, expected="no such key", came=_short(repr(first["input"])))
    expected = first["msg"].removeprefix("Input should be ")
    if first["type"] == "value_error":
        # Refused by a record of townlet_trajectory, whose message says what came.
        return ReportError(file, key=key or "(document)", expected="a consistent record", came=_short(first["msg"]))
    return ReportError(file, key=key or "(document)", expected=expected, came=_short(repr(first["input"])))


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _floats(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in values.items():
        if isinstance(value, float):
            yield prefix + key, value
        elif isinstance(value, Mapping):
            yield from _floats(value, f"{prefix}{key}.")
        elif isinstance(value, tuple):
            yield from _floats({str(index): inner for index, inner in enumerate(value)}, f"{prefix}{key}.")
