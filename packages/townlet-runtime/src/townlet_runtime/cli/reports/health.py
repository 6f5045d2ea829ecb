"""The health line of a tick, `tick_health tick=1 duration_ms=1.25 queue=0 dropped=0 ...`, read from among others."""

from __future__ import annotations

import re

from townlet_runtime.cli.reports.limits import Record
from townlet_runtime.cli.reports.records import RecordError

REQUIRED = ("tick", "duration_ms", "queue", "dropped")
OPTIONAL = ("perturbations_pending", "perturbations_active", "exit_queue")
"""0 where a line does not say them."""

_LINE = re.compile(r"(?:^|\s)tick_health\s(.*)", re.DOTALL)
_PAIR = re.compile(r"(\w+)=(\S+)")
_WHOLE = re.compile(r"[0-9]{1,18}")
_NUMBER = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})?")


def parse_health(text: bytes, where: str) -> Record | None:
    """Return the numbers of a health line, or None for any other line.

    Args:
        text: a line.
        where: names the line in the error.

    Raises:
        RecordError: if a health line lacks a number, or has something else in its place.
    """
    found = _LINE.search(text.decode(errors="backslashreplace"))
    if found is None:
        return None
    said = dict(_PAIR.findall(found[1]))
    missing = sorted(set(REQUIRED) - said.keys())
    if missing:
        raise RecordError(f"{where}: health line missing keys: {missing}")
    record: dict[str, float] = {}
    for key in (*REQUIRED, *OPTIONAL):
        value, form = said.get(key, "0"), _NUMBER if key == "duration_ms" else _WHOLE
        if form.fullmatch(value) is None:
            raise RecordError(f"{where}: field '{key}' must be a number from 0, got {value!r:.80}")
        record[key] = float(value) if key == "duration_ms" else int(value)
    return record


def health_line(record: Record) -> str:
    """Return a health record for people."""
    return (
        f"Tick {record['tick']}: duration={record['duration_ms']:.2f} ms, queue={record['queue']}, "
        f"dropped={record['dropped']}, perturbations pending={record['perturbations_pending']}, "
        f"active={record['perturbations_active']}, exit_queue={record['exit_queue']}"
    )
