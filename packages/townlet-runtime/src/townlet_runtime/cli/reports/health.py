"""The health of a running loop: `tick_health` lines, found among others, and records of `townlet run --telemetry`."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from townlet_runtime.cli.console import Json, table
from townlet_runtime.cli.reports.limits import Record, Value
from townlet_runtime.cli.reports.records import LogRecord, RecordError, is_number, number_of, shown
from townlet_runtime.core.stretches import FORMAT_VERSION

REQUIRED = ("tick", "duration_ms", "queue", "dropped")
OPTIONAL = ("perturbations_pending", "perturbations_active", "exit_queue")
"""0 where a line does not say them."""

_COUNTS = ("tick", "ticks", "agents", "agent_ticks", "policy_errors", "queue_rows", "dropped_rows", "sink_errors")
_REALS = ("tick_ms_p50", "tick_ms_p99", "mean_reward")
"""Of a record of telemetry."""

_BY_NAME = {
    "ticks_by_source": "carried out by",
    "proposals_by_proposer": "proposed by",
    "vetoes_by_reason": "vetoed by",
}
_ADDED = ("ticks", "agent_ticks", "forced", "foreign", "policy_errors", "dropped_rows", "sink_errors")
"""Of which a summary has the sums; the ones above by name, with the heading of their table."""

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
    missing = sorted({*_COUNTS, *_REALS, *_BY_NAME} - record.keys())
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


def telemetry_summary(records: Sequence[LogRecord], path: Path) -> dict[str, Json]:
    """Add up records of telemetry: the counts of all their ticks, their mean reward, and the slowest record.

    Args:
        records: of one log, at least one.
        path: of the log, for errors.

    Raises:
        RecordError: if a record is not what it must be.
    """
    sums, by_name = Counter(dict.fromkeys(_ADDED, 0.0)), {key: Counter[str]() for key in _BY_NAME}
    read, rewards = [], []
    for number, record in enumerate(records, start=1):
        where = f"{path}: record {number}"
        read.append(stretch_of(record, where))
        sums.update({key: number_of(record, key, where, absent=0.0) or 0.0 for key in _ADDED})
        for key, counts in by_name.items():
            counts.update(_counts(record, key, where))
        reward = number_of(record, "mean_reward", where)
        rewards.append((reward or 0.0) * (number_of(record, "agent_ticks", where) or 0.0))
    slowest = max(read, key=lambda each: float(each["tick_ms_p99"] or 0.0))
    return {
        "records": len(read),
        "last_tick": _whole(read[-1]["tick"]),
        **{key: int(total) for key, total in sums.items()},
        **{key: {name: int(count) for name, count in counts.items()} for key, counts in by_name.items()},
        "mean_reward": math.fsum(rewards) / sums["agent_ticks"] if sums["agent_ticks"] else None,
        "tick_ms_p99_max": _number(slowest["tick_ms_p99"]),
        "slowest_tick": _whole(slowest["tick"]),
    }


def telemetry_lines(summary: Mapping[str, Any]) -> list[str]:
    """Return the record of `telemetry_summary` for people."""
    agent_ticks = summary["agent_ticks"]
    tables = [
        line
        for key, heading in _BY_NAME.items()
        for line in table(
            (heading, "agent-ticks", "share"),
            [(name, f"{n:,}", f"{100.0 * n / max(agent_ticks, 1):.1f} %") for name, n in summary[key].items()],
        )
    ]
    return [
        f"{summary['ticks']:,} ticks, the last of them {summary['last_tick']:,}; {agent_ticks:,} agent-ticks, "
        f"mean reward {shown(summary['mean_reward'], 5)}",
        f"slowest record: that to tick {summary['slowest_tick']:,}, p99 {shown(summary['tick_ms_p99_max'], 2)} ms",
        *tables,
        f"{summary['policy_errors']:,} policy errors, {summary['dropped_rows']:,} steps dropped, "
        f"{summary['sink_errors']:,} sink errors",
    ]


def _number(value: Value) -> float | None:
    return value if isinstance(value, float) else None


def _whole(value: Value) -> int:
    return int(value) if isinstance(value, float) else 0
