"""What a page is told of a run that trains: the lines of its log as they grow, its evaluations, and how far it is."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, NamedTuple

from townlet_trajectory.evaluation.gates import GateResult, Verdict
from townlet_trajectory.evaluation.promotion import Decision
from townlet_trajectory.evaluation.results import EvaluationRecord, RunSummary

MAX_ROWS = 2_000
"""That are kept of the log: of a longer one every second, then every fourth, and so on."""
MAX_COLUMNS = 512
ROWS_AT_ONCE = 400
"""Of one message."""
ENDED, FAILED, STOPPED = "ended", "failed", "stopped"
"""Stages of a run that is over."""
_ACROSS = ("env_steps", "epoch")
_LEFT_OUT = frozenset((*_ACROSS, "telemetry_version", "log_stream_offset", "steps", "cycle_id", "anneal_cycle"))
"""Numbers that say nothing as a curve."""
_DIGITS = 7


class Place(NamedTuple):
    """What a client has of a feed."""

    version: int = -1
    layout: int = -1
    rows: int = 0


@dataclass(frozen=True, kw_only=True)
class Told:
    """How far a run is."""

    stage: str | None = None
    ratio: float | None = None
    left_s: float | None = None
    evaluations: tuple[Mapping[str, Any], ...] = ()


class RunFeed:
    """Keeps the curves of a run's log in bounded memory. The run tells, other threads look and ask.

    Args:
        lines: gives the lines of the log that are new, each an object of JSON.
    """

    def __init__(self, lines: Callable[[], Iterable[bytes]]) -> None:
        self._lines, self._lock = lines, Lock()
        self._told, self._shown = Told(), Told()
        self._across = _ACROSS[0]
        self._columns: dict[str, int] = {}
        self._rows: list[list[float | None]] = []
        self._newest: dict[str, float | None] = {}
        self._num_updates, self._stride = 0, 1
        self._version = self._layout = 0

    def tell(self, told: Told) -> None:
        """Say how far the run is; costs its thread nothing more."""
        self._told = told

    def tell_row(self, values: Mapping[str, Any]) -> None:
        """Say how far a run is that tells nothing but the lines of its log."""
        stage, ratio = values.get("stage"), values.get("ratio")
        self._told = Told(
            stage=stage if isinstance(stage, str) else None,
            ratio=float(ratio) if isinstance(ratio, int | float) else None,
        )

    def end(self, summary: RunSummary) -> None:
        """Say how the run ended."""
        found = [*(self._told.evaluations or evaluations_told(summary.history, None))]
        if summary.final is not None and not summary.interrupted:
            at = summary.counters.env_steps
            for name, score in summary.final.summaries.items():
                found.append(
                    {"at": at, "name": f"final score, {name}", "value": score.mean, "passed": None, "note": None}
                )
        if summary.promotion is not None:
            decision = summary.promotion.decision
            passed = None if decision is Decision.HOLD else decision is Decision.PROMOTE
            at, note = summary.counters.env_steps, summary.promotion.reason
            found.append({"at": at, "name": "promotion", "value": None, "passed": passed, "note": note})
        stage = STOPPED if summary.interrupted else ENDED if summary.failure is None else FAILED
        self._told = Told(stage=stage, ratio=self._told.ratio, evaluations=tuple(found))

    def look(self) -> bool:
        """Read what was appended to the log; whether there is anything to tell."""
        with self._lock:
            before = self._version
            for line in self._lines():
                self._take(json.loads(line))
                self._version = before + 1
            if self._told is not self._shown:
                self._shown, self._version = self._told, before + 1
            return self._version != before

    def messages(self, place: Place) -> tuple[list[dict[str, Any]], Place]:
        """Return what a client lacks, in the order in which it is to be sent, and what it has then."""
        with self._lock:
            now = Place(self._version, self._layout, len(self._rows))
            if place.version == now.version:
                return [], place
            # Its newest row may have got more columns since.
            first = max(0, min(place.rows, now.rows) - 1) if place.layout == now.layout else 0
            starts = [*range(first, now.rows, ROWS_AT_ONCE)] or [first]
            return [self._message(start, self._rows[start : start + ROWS_AT_ONCE]) for start in starts], now

    def _message(self, start: int, rows: Sequence[Sequence[float | None]]) -> dict[str, Any]:
        width = len(self._columns) + 1
        told = self._shown
        return {
            "type": "run",
            "from": start,
            "columns": [self._across, *self._columns],
            "rows": [[*row, *[None] * (width - len(row))] for row in rows],
            "updates": self._num_updates,
            "evaluations": [*told.evaluations],
            "stage": told.stage,
            "ratio": told.ratio,
            "left_s": told.left_s,
        }

    def _take(self, line: Mapping[str, Any]) -> None:
        """Put a line into the row of its update: groups of agents have lines of their own."""
        if not self._num_updates and not line.get(_ACROSS[0]):
            self._across = _ACROSS[1]  # of a run on records alone
        if self._newest.get("epoch") != (epoch := _number(line.get("epoch"))):
            self._newest = {"epoch": epoch}
            self._num_updates += 1
        group = line.get("group")
        ending = f" ({group})" if isinstance(group, str) else ""
        for key, value in line.items():
            number = _number(value)
            if key in _LEFT_OUT or number is None:
                continue
            name = key + ending
            if name not in self._columns:
                if len(self._columns) >= MAX_COLUMNS:
                    continue
                self._columns[name] = len(self._columns) + 1
                self._layout += 1
            self._newest[name] = number
        self._keep(_number(line.get(self._across)))

    def _keep(self, across: float | None) -> None:
        """Write the newest row, if it is one of those that are kept."""
        place, rest = divmod(self._num_updates - 1, self._stride)
        if rest:
            return
        row = [across, *(self._newest.get(name) for name in self._columns)]
        if place == len(self._rows):
            self._rows.append(row)
        else:
            self._rows[place] = row
        if len(self._rows) > MAX_ROWS:
            self._rows, self._stride, self._layout = self._rows[::2], 2 * self._stride, self._layout + 1


def evaluations_told(records: Sequence[EvaluationRecord], failure: GateResult | None) -> tuple[dict[str, Any], ...]:
    """Return evaluations and their gates as a page shows them, oldest first.

    Args:
        records: of a run so far.
        failure: the gate that ended it; None: none did.
    """
    found: list[dict[str, Any]] = []
    for record in records:
        low, high = record.return_ci
        note = f"95 % within {low:.4g} to {high:.4g}"
        found.append(
            {"at": record.env_steps, "name": "mean return", "value": record.return_mean, "passed": None, "note": note}
        )
        if record.gate is not None:
            found.append(_gate_told(record.gate, record.env_steps))
    if failure is not None and records and failure is not records[-1].gate:
        found.append(_gate_told(failure, records[-1].env_steps))
    return tuple(found)


def _gate_told(gate: GateResult, at: int) -> dict[str, Any]:
    passed = None if gate.verdict is Verdict.NOT_ENOUGH_EVIDENCE else not gate.failed
    return {"at": at, "name": f"gate {gate.name}", "value": None, "passed": passed, "note": gate.detail}


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(f"{value:.{_DIGITS}g}")
