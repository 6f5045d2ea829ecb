"""Checks training logs, and compares their baselines with those of a file: `townlet report validate`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from townlet_runtime.cli.console import GATE_FAILED, SUCCESS, CommandError, Console, Json
from townlet_runtime.cli.reports.records import LogRecord, RecordError, number_of, read_log
from townlet_runtime.cli.reports.watched import DATA_MODE, lacking_events
from townlet_trajectory.storage.json import MAX_JSON_BYTES, parse_object
from townlet_trajectory.storage.paths import read_named

VERSION = "telemetry_version"
REQUIRED = frozenset(
    "epoch updates transitions loss_policy loss_value loss_entropy loss_total clip_fraction clip_fraction_max "
    "clip_triggered_minibatches adv_mean adv_std adv_zero_std_batches adv_min_std grad_norm kl_divergence "
    "telemetry_version lr steps".split()
)
"""Numbers of every line; none may be null."""
CONFLICT = frozenset(
    "conflict.rivalry_max_mean_avg conflict.rivalry_max_max_avg conflict.rivalry_avoid_count_mean_avg "
    "conflict.rivalry_avoid_count_max_avg".split()
)
SINCE_1_1 = frozenset(
    "epoch_duration_sec cycle_id batch_entropy_mean batch_entropy_std grad_norm_max kl_divergence_max "
    "reward_advantage_corr rollout_ticks log_stream_offset".split()
)
QUEUE = frozenset({"queue_conflict_events", "queue_conflict_intensity_sum"})
"""Of version 1.1 too, but not in the lines of a world that counts no such events."""
BASELINE = (
    "baseline_sample_count",
    "baseline_reward_mean",
    "baseline_reward_sum",
    "baseline_reward_sum_mean",
    "baseline_log_prob_mean",
)
_NULLS_SINCE = 1.2
"""From this version on a missing number is null, and a world that counts no events has none of their keys."""


def validate_record(record: LogRecord, path: Path) -> None:
    """Refuse a record of a training log that lacks a key of its version, or has no number in its place.

    Raises:
        RecordError: names the keys.
    """
    version = _present(record, VERSION, path) if VERSION in record else None
    numbers, required = _nullable(record, version)
    if missing := REQUIRED - record.keys():
        raise RecordError(f"{path}: missing required telemetry keys: {sorted(missing)}")
    for key in REQUIRED:
        _present(record, key, path)
    if missing := required & CONFLICT - record.keys():
        raise RecordError(f"{path}: missing conflict telemetry keys: {sorted(missing)}")
    if missing := required - record.keys():
        raise RecordError(f"{path}: telemetry_version 1.1 requires numeric keys: {sorted(missing)}")
    for key in numbers:
        if version is not None and version >= _NULLS_SINCE:
            number_of(record, key, str(path))
        else:
            _present(record, key, path)
    if version is not None and version >= 1.1 and not isinstance(record.get(DATA_MODE), str):
        raise RecordError(f"{path}: field '{DATA_MODE}' must be a string, got {record.get(DATA_MODE)!r:.80}")


def _nullable(record: LogRecord, version: float | None) -> tuple[frozenset[str], frozenset[str]]:
    """The numbers that may be null from version 1.2 on, and those of them that must be there."""
    since = SINCE_1_1 if version is not None and version >= 1.1 else frozenset[str]()
    queue = QUEUE if since else frozenset[str]()
    required = since | queue | CONFLICT
    counts_none = not (record.keys() & (CONFLICT | QUEUE)) and not lacking_events(record)
    if version is not None and version >= _NULLS_SINCE and counts_none:
        required = since
    return (required | frozenset(BASELINE)) & record.keys(), required


def _present(record: LogRecord, key: str, path: Path) -> float:
    value = number_of(record, key, str(path))
    if value is None:
        raise RecordError(f"{path}: field '{key}' must be a finite number, got None")
    return value


@dataclass(frozen=True, kw_only=True)
class Drift:
    """The baselines of a log minus those of a file."""

    baseline: Mapping[str, float]
    """Of the file, of the keys that the log has too."""
    epochs: tuple[float, ...]
    rows: tuple[Mapping[str, float | None], ...]
    """By key, one for each record; None where the record has no number."""

    @property
    def worst(self) -> dict[str, float]:
        """The difference that is furthest from 0, by key; 0 where there is none."""
        found = {key: [row[key] for row in self.rows] for key in self.baseline}
        return {
            key: max((each for each in values if each is not None), key=abs, default=0.0)
            for key, values in found.items()
        }

    def percent(self, key: str, delta: float | None) -> float | None:
        """Return a difference in per cent of the baseline; None where that is 0."""
        base = self.baseline[key]
        return None if delta is None or base == 0.0 else 100.0 * delta / base

    def beyond(self, threshold: float) -> dict[str, float]:
        """Return the worst differences that are further from 0 than `threshold`."""
        return {key: delta for key, delta in self.worst.items() if abs(delta) > threshold}


def drift_of(records: Sequence[LogRecord], baseline: Mapping[str, float], path: Path) -> Drift:
    """Compare the records of a log with a baseline.

    Args:
        records: that were validated.
        baseline: of `read_baseline`.
        path: of the log, for the error.
    """
    common = {key: base for key, base in baseline.items() if any(key in record for record in records)}

    def delta(record: LogRecord, key: str) -> float | None:
        value = number_of(record, key, str(path))
        return None if value is None else value - common[key]

    return Drift(
        baseline=common,
        epochs=tuple(_present(record, "epoch", path) for record in records),
        rows=tuple({key: delta(record, key) for key in common} for record in records),
    )


def read_baseline(path: Path) -> dict[str, float]:
    """Read the numbers called `baseline_...` of a JSON object.

    Raises:
        ArtifactError: if the file cannot be read, or is no JSON object.
        CommandError: if there is none of them, or one is no number.
    """
    document = parse_object(read_named(path, max_bytes=MAX_JSON_BYTES), path)
    numbers = {key: number_of(document, key, str(path)) for key in BASELINE}
    found = {key: value for key, value in numbers.items() if value is not None}
    if not found:
        raise CommandError(f"{path}: expected at least one of {', '.join(BASELINE)}, got none")
    return found


def drift_lines(drift: Drift, *, relative: bool) -> list[str]:
    """Return the differences as a table, and the worst of each key; `relative`: in per cent of the baseline too."""
    if not drift.baseline:
        return ["No overlapping baseline keys found; skipping drift report."]
    keys = list(drift.baseline)
    head = ["epoch", *keys, *([f"{key}%" for key in keys] if relative else [])]
    rows = [head, *(_row(drift, index, relative=relative) for index in range(len(drift.rows)))]
    return [
        "",
        "Baseline drift summary (log - baseline):",
        *("  " + " | ".join(f"{cell:>20}" for cell in row) for row in rows),
        "",
        "  Worst absolute drift by key:",
        *(f"    {key}: {delta:+.6f}" for key, delta in drift.worst.items()),
    ]


def _row(drift: Drift, index: int, *, relative: bool) -> Iterator[str]:
    yield f"{drift.epochs[index]:.0f}"
    row = drift.rows[index]
    for delta in row.values():
        yield "    n/a    " if delta is None else f"{delta:+.6f}"
    for key, delta in row.items() if relative else ():
        percent = drift.percent(key, delta)
        yield "    n/a    " if percent is None else f"{percent:+.2f}%"


def drift_record(drift: Drift) -> dict[str, Json]:
    """Return the differences for programs."""
    return {
        key: {
            "baseline": base,
            "deltas": [row[key] for row in drift.rows],
            "worst": drift.worst[key],
            "worst_percent": drift.percent(key, drift.worst[key]),
        }
        for key, base in drift.baseline.items()
    }


def validate_logs(
    logs: Sequence[Path], baseline: Path | None, threshold: float | None, console: Console, *, relative: bool
) -> int:
    """Check logs one by one up to the first that is refused, and return the exit code: 1 for that one.

    Args:
        logs: paths.
        baseline: file to compare with; None: none.
        threshold: most that a baseline may differ; None: any.
        console: prints.
        relative: show differences in per cent too.

    Raises:
        ArtifactError: if a file cannot be read.
        CommandError: if the baseline has no number to compare with.
    """
    if baseline is None and (threshold is not None or relative):
        console.warning("--drift-threshold and --relative are of no effect without --baseline")
    numbers = None if baseline is None else read_baseline(baseline)
    checked: list[Json] = []
    problem = None
    for path in logs:
        try:
            records = read_log(path)
            for record in records:
                validate_record(record, path)
            drift = None if numbers is None else drift_of(records, numbers, path)
        except RecordError as error:
            problem = str(error)
            break
        for line in (
            f"{path}: {len(records)} record(s) validated.",
            *([] if drift is None else drift_lines(drift, relative=relative)),
        ):
            console.line(line)
        shown: dict[str, Json] = {"log": str(path), "records": len(records)}
        checked.append(shown if drift is None else {**shown, "drift": drift_record(drift)})
        beyond = {} if drift is None or threshold is None else drift.beyond(threshold)
        if beyond:
            pairs = ", ".join(f"{key}={delta:+.6f}" for key, delta in beyond.items())
            problem = f"Baseline drift exceeds threshold {threshold}: {pairs}"
            break
    if console.json:
        console.result({"valid": problem is None, "logs": checked, "problem": problem}, [])
    if problem is None:
        return SUCCESS
    console.error(problem)
    return GATE_FAILED
