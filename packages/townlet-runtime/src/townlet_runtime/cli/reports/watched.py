"""What `townlet watch` shows and judges of a line of a training log."""

from __future__ import annotations

from townlet_runtime.cli.reports.limits import Record, Value
from townlet_runtime.cli.reports.records import LogRecord, RecordError, number_of, shown

NUMBERS = (
    "epoch",
    "loss_total",
    "kl_divergence",
    "grad_norm",
    "batch_entropy_mean",
    "reward_advantage_corr",
    "log_stream_offset",
)
EVENTS = (
    "queue_conflict_events",
    "queue_conflict_intensity_sum",
    "shared_meal_events",
    "late_help_events",
    "shift_takeover_events",
    "chat_success_events",
    "chat_failure_events",
    "chat_quality_mean",
)
"""Either all of them are in a line, or none: then the world is one that counts no such events."""
LATER_EVENTS = ("utility_outage_events", "shower_complete_events", "sleep_complete_events")
"""0 where a line does not have them; our own lines have them among a world's other events, `events/NAME`."""
_OTHER_EVENTS = "events/"
DATA_MODE = "data_mode"
REQUIRED = frozenset((*NUMBERS, DATA_MODE))

_ANNEAL_NUMBERS = (
    "anneal_cycle",
    "anneal_bc_accuracy",
    "anneal_bc_threshold",
    "anneal_loss_baseline",
    "anneal_queue_baseline",
    "anneal_intensity_baseline",
)
_ANNEAL_FLAGS = ("anneal_bc_passed", "anneal_loss_flag", "anneal_queue_flag", "anneal_intensity_flag")
_ANNEAL_TEXTS = ("anneal_stage", "anneal_dataset")


def watched(record: LogRecord, where: str) -> Record:
    """Return the values of a line by their keys; null where a number is missing.

    Args:
        record: the line.
        where: names the line in the error.

    Raises:
        RecordError: if a key is missing, or a value is no number.
    """
    missing = (REQUIRED - record.keys()) | lacking_events(record)
    if missing:
        raise RecordError(f"{where}: telemetry record missing keys: {sorted(missing)}")
    found: dict[str, Value] = {key: number_of(record, key, where) for key in (*NUMBERS, *EVENTS)}
    if found["epoch"] is None:
        raise RecordError(f"{where}: field 'epoch' must be a finite number, got None")
    found[DATA_MODE] = str(record[DATA_MODE])
    found |= {key: later_event(record, key, where) for key in LATER_EVENTS}
    found |= {key: number_of(record, key, where) for key in _ANNEAL_NUMBERS if key in record}
    for key in _ANNEAL_FLAGS:
        if key in record:
            found[key] = None if record[key] is None else bool(record[key])
    for key in _ANNEAL_TEXTS:
        if key in record:
            found[key] = None if record[key] is None else str(record[key])
    return found


def later_event(record: LogRecord, key: str, where: str) -> float | None:
    """Return a count of `LATER_EVENTS`.

    Args:
        record: the line.
        key: of the event.
        where: names the line in the error.

    Raises:
        RecordError: if it is no number.
    """
    return number_of(record, key if key in record else _OTHER_EVENTS + key, where, absent=0.0)


def lacking_events(record: LogRecord) -> frozenset[str]:
    """Return the events that a line lacks, where it has others."""
    missing = frozenset(EVENTS) - record.keys()
    return frozenset() if len(missing) == len(EVENTS) else missing


def watched_line(record: Record) -> str:
    """Return a record of `watched` for people."""
    said = ", ".join(f"{name}={shown(_of(record, key), digits)}" for name, key, digits in _SHOWN)
    return f"Epoch {_of(record, 'epoch'):.0f} ({record[DATA_MODE]}): {said}"


def _of(record: Record, key: str) -> float | None:
    value = record[key]
    return value if isinstance(value, float) else None


_SHOWN = (
    ("loss_total", "loss_total", 6),
    ("kl_divergence", "kl_divergence", 6),
    ("grad_norm", "grad_norm", 6),
    ("entropy_mean", "batch_entropy_mean", 6),
    ("reward_adv_corr", "reward_advantage_corr", 6),
    ("queue_events", "queue_conflict_events", 1),
    ("queue_intensity_sum", "queue_conflict_intensity_sum", 2),
    ("shared_meals", "shared_meal_events", 1),
    ("late_help", "late_help_events", 1),
    ("shift_takeovers", "shift_takeover_events", 1),
    ("chat_success", "chat_success_events", 1),
    ("chat_failure", "chat_failure_events", 1),
    ("chat_quality_mean", "chat_quality_mean", 3),
    ("utility_outages", "utility_outage_events", 1),
    ("shower_complete", "shower_complete_events", 1),
    ("sleep_complete", "sleep_complete_events", 1),
    ("offset", "log_stream_offset", 0),
)
"""Name, key and decimals, in the order of the line."""
