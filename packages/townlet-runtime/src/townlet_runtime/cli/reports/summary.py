"""Sums up a training log: its last record, the extremes of all, and the drift from a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from townlet_runtime.cli.console import Json
from townlet_runtime.cli.reports.records import LogRecord, RecordError, is_number, number_of, present
from townlet_runtime.cli.reports.watched import EVENTS, LATER_EVENTS, later_event
from townlet_trajectory.storage.json import MAX_JSON_BYTES, JsonValue, parse_object
from townlet_trajectory.storage.paths import read_named

LATEST = (
    "loss_total",
    "kl_divergence",
    "grad_norm",
    "batch_entropy_mean",
    "reward_advantage_corr",
    "epoch_duration_sec",
    "rollout_ticks",
    *EVENTS,
    *LATER_EVENTS,
)
"""Keys whose last number is shown; 0 where a log does not have them, null for events of a world that counts none."""
EXTREMES = (
    "loss_total",
    "kl_divergence",
    "grad_norm",
    "queue_conflict_events",
    "shared_meal_events",
    "chat_quality_mean",
    *LATER_EVENTS,
)
ANNEAL = (
    "stage",
    "cycle",
    "dataset",
    "bc_accuracy",
    "bc_threshold",
    "bc_passed",
    "loss_baseline",
    "queue_baseline",
    "intensity_baseline",
    "loss_flag",
    "queue_flag",
    "intensity_flag",
)
"""Keys of the last record of an anneal, there with the beginning `anneal_`."""


@dataclass(frozen=True, kw_only=True)
class Extremes:
    """The least and the greatest of a number; None where no record has it."""

    least: float | None
    greatest: float | None


@dataclass(frozen=True, kw_only=True)
class Delta:
    """The last number of a log minus that of a baseline."""

    delta: float
    percent: float | None
    """Of the baseline; None where that is 0."""


@dataclass(frozen=True, kw_only=True)
class LogSummary:
    """A training log in few numbers."""

    epochs: int
    """Number of the last epoch."""
    data_mode: str
    cycle_id: float | None
    log_stream_offset: float | None
    latest: Mapping[str, float | None]
    """By `LATEST`."""
    extremes: Mapping[str, Extremes]
    """By `EXTREMES`."""
    anneal: Mapping[str, JsonValue] | None
    """By `ANNEAL`; None: no record is of an anneal."""
    drift: Mapping[str, Delta] | None
    """By key of the baseline; None: there is no baseline."""

    def record(self) -> dict[str, Json]:
        """Return the summary with the keys of `--json`."""
        found: dict[str, Json] = {
            "epochs": self.epochs,
            "data_mode": self.data_mode,
            "cycle_id": self.cycle_id,
            "log_stream_offset": self.log_stream_offset,
            "latest": self.latest,
            "extremes": {key: {"min": each.least, "max": each.greatest} for key, each in self.extremes.items()},
        }
        if self.anneal is not None:
            found["anneal"] = self.anneal
        if self.drift is not None:
            found["baseline_drift"] = {
                key: {"delta": each.delta, "percent": each.percent} for key, each in self.drift.items()
            }
        return found


def summarize(records: Sequence[LogRecord], baseline: Mapping[str, float] | None, path: Path) -> LogSummary:
    """Sum up a log.

    Args:
        records: at least one.
        baseline: of `read_baseline`; None: none.
        path: of the log, for the error.

    Raises:
        RecordError: if there is something else in the place of a number.
    """
    last, where = records[-1], str(path)
    # A world that counts none of these events has no zeros of them.
    counts = any(key in record for record in records for key in EVENTS)

    def number(record: LogRecord, key: str) -> float | None:
        if key in (*EVENTS, *LATER_EVENTS) and not counts:
            return None
        return later_event(record, key, where) if key in LATER_EVENTS else number_of(record, key, where, absent=0.0)

    def extremes(key: str) -> Extremes:
        values = present(number(record, key) for record in records)
        return Extremes(least=min(values, default=None), greatest=max(values, default=None))

    epoch = number_of(last, "epoch", where, absent=float(len(records)))
    if epoch is None:
        raise RecordError(f"{path}: field 'epoch' must be a finite number, got None")
    mode = last.get("data_mode")
    anneal = next((record for record in reversed(records) if record.get("anneal_stage")), None)
    return LogSummary(
        epochs=int(epoch),
        data_mode=mode if isinstance(mode, str) else "unknown",
        cycle_id=number_of(last, "cycle_id", where),
        log_stream_offset=number_of(last, "log_stream_offset", where),
        latest={key: number(last, key) for key in LATEST},
        extremes={key: extremes(key) for key in EXTREMES},
        anneal=None if anneal is None else {key: anneal.get(f"anneal_{key}") for key in ANNEAL},
        drift=None if baseline is None else _drift(last, baseline),
    )


def read_baseline(path: Path) -> dict[str, float]:
    """Read every number of a JSON object, by its key. Raises `ArtifactError` if it is none."""
    document = parse_object(read_named(path, max_bytes=MAX_JSON_BYTES), path)
    return {key: float(value) for key, value in document.items() if is_number(value)}


def _drift(last: LogRecord, baseline: Mapping[str, float]) -> dict[str, Delta]:
    found: dict[str, Delta] = {}
    for key, base in baseline.items():
        value = last.get(key)
        if is_number(value):
            delta = float(value) - base
            found[key] = Delta(delta=delta, percent=100.0 * delta / base if base else None)
    return found
