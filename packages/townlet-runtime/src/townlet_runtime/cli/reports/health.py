"""The health of a running loop: `tick_health` lines, found among others, and records of `townlet run --telemetry`."""

from __future__ import annotations

import re

from townlet_runtime.cli.reports.limits import Record, Value
from townlet_runtime.cli.reports.records import LogRecord, RecordError, is_number, number_of, shown
from townlet_runtime.core.stretches import FORMAT_VERSION

REQUIRED = ("tick", "duration_ms", "queue", "dropped")
OPTIONAL = ("perturbations_pending", "perturbations_active", "exit_queue")
"""0 where a line does not say them."""

_COUNTS = ("tick", "ticks", "agents", "agent_ticks", "policy_errors", "queue_rows", "dropped_rows", "sink_errors")
_REALS = ("tick_ms_p50", "tick_ms_p99", "mean_reward")
"""Of a record of telemetry."""

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


def stretch_of(record: LogRecord, where: str) -> Record:
    """Return the numbers of a record of telemetry, and shares of its agent-ticks; null where there were none.

    Args:
        record: a line.
        where: names the line in the error.

    Raises:
        RecordError: if it is of another format version, a key is missing, or a value is not what it must be.
    """
    version = record.get("format_version")
    if version != FORMAT_VERSION:
        raise RecordError(
            f"{where}: expected a telemetry record of format version {FORMAT_VERSION}, got {version!r:.80}"
        )
    missing = sorted({*_COUNTS, *_REALS, "ticks_by_source", "vetoes_by_reason"} - record.keys())
    if missing:
        raise RecordError(f"{where}: telemetry record missing keys: {missing}")
    found: dict[str, Value] = {key: number_of(record, key, where) for key in (*_COUNTS, *_REALS)}
    sources, vetoes = (_counts(record, key, where) for key in ("ticks_by_source", "vetoes_by_reason"))
    agent_ticks = sum(sources.values())
    for share, count in (
        ("learned_share", sources.get("learned", 0.0)),
        ("external_share", sources.get("external", 0.0)),
        ("veto_share", sum(vetoes.values())),
    ):
        found[share] = count / agent_ticks if agent_ticks else None
    return found


def stretch_line(record: Record) -> str:
    """Return a record of `stretch_of` for people."""

    def of(key: str, digits: int = 0, scale: float = 1.0) -> str:
        value = record[key]
        return shown(scale * value if isinstance(value, float) else None, digits)

    return (
        f"Tick {of('tick')}: p50={of('tick_ms_p50', 2)} ms, p99={of('tick_ms_p99', 2)} ms, agents={of('agents')}, "
        f"learned={of('learned_share', 1, 100.0)} %, external={of('external_share', 1, 100.0)} %, "
        f"vetoed={of('veto_share', 1, 100.0)} %, policy_errors={of('policy_errors')}, queue={of('queue_rows')}, "
        f"dropped={of('dropped_rows')}, mean_reward={of('mean_reward', 5)}"
    )


def _counts(record: LogRecord, key: str, where: str) -> dict[str, float]:
    counts = record[key]
    if not isinstance(counts, dict):
        raise RecordError(f"{where}: field '{key}' must be an object of counts, got {counts!r:.80}")
    found = {name: float(count) for name, count in counts.items() if is_number(count)}
    if len(found) < len(counts):
        raise RecordError(f"{where}: field '{key}' must be an object of counts, got {counts!r:.80}")
    return found
