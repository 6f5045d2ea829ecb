"""The limits of `townlet watch`: which key each is of, from which side, and to which records it applies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Value = float | str | bool | None
Record = Mapping[str, Value]


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One limit of a number in a record; a number that is missing breaks none."""

    option: str
    """Name of the parameter; `kl_threshold` is the option `--kl-threshold`."""
    key: str
    upper: bool
    """Whether more is too much; else less is too little."""
    digits: int
    """Decimals of the number in a message."""
    help: str
    whole: bool = False
    """Whether the limit is a whole number."""
    rollout: bool = False
    """Whether it applies to records of rollouts alone."""
    anneal: bool = False
    """Whether it applies to records of an anneal alone."""
    default: float | None = None
    baseline: str | None = None
    """Key of the number that an upper limit is a share above of; a lower one without a value follows from it."""

    def breach(self, record: Record, bound: float | None) -> str | None:
        """Return what is wrong with `record`, or None; `bound` is the value of the option."""
        value = _number(record, self.key)
        if value is None or not self._applies(record):
            return None
        baseline = None if self.baseline is None else _number(record, self.baseline)
        said = f"{self.key} {value:.{self.digits}f}"
        if self.upper and self.baseline is not None:
            if bound is None or not baseline or value - baseline <= bound * abs(baseline):
                return None
            return f"{said} drifts beyond +{100.0 * bound:.1f}% of baseline {baseline:.{self.digits}f}"
        if bound is None and baseline:
            from townlet_trajectory.evaluation.anneal_results import FALL_TOLERANCE  # not for `--help`

            bound = (1.0 - FALL_TOLERANCE) * baseline
        if bound is None or not (value > bound if self.upper else value < bound):
            return None
        prefix = "anneal " if self.baseline is not None else ""
        return f"{prefix}{said} {'exceeds' if self.upper else 'below'} threshold {bound}"

    def lacks(self, record: Record, bound: float | None) -> bool:
        """Tell whether the user gave this limit, it applies to `record`, and there is no number to judge."""
        given = bound is not None and bound != self.default
        return given and self._applies(record) and _number(record, self.key) is None

    def _applies(self, record: Record) -> bool:
        if self.rollout and record.get("data_mode") != "rollout":
            return False
        return not self.anneal or bool(record.get("anneal_stage"))


def breach(record: Record, limits: tuple[Limit, ...], bounds: Mapping[str, float | None]) -> str | None:
    """Return the first limit that a record breaks, in words, or None.

    Args:
        record: any.
        limits: in the order in which they are looked at.
        bounds: value of each limit by its option; None: no limit, or the one that follows from a baseline.
    """
    found = (limit.breach(record, bounds.get(limit.option)) for limit in limits)
    return next((problem for problem in found if problem is not None), None)


def unjudged(record: Record, limits: tuple[Limit, ...], bounds: Mapping[str, float | None]) -> Iterator[Limit]:
    """Yield the limits that were given but cannot judge a record; arguments as those of `breach`, see `breach`."""
    return (limit for limit in limits if limit.lacks(record, bounds.get(limit.option)))


def _number(record: Record, key: str) -> float | None:
    value = record.get(key)
    return None if value is None or isinstance(value, bool | str) else float(value)


def _above(option: str, key: str, digits: int) -> Limit:
    return Limit(option=option, key=key, upper=True, digits=digits, help=f"Most of {key}.")


def _below(option: str, key: str, digits: int) -> Limit:
    return Limit(option=option, key=key, upper=False, digits=digits, help=f"Least {key}.")


def _event(option: str, key: str, digits: int = 1, *, upper: bool = False) -> Limit:
    words = f"{'Most' if upper else 'Fewest'} {key} of a rollout."
    return Limit(option=option, key=key, upper=upper, digits=digits, rollout=True, help=words)


def _fall(option: str, key: str, digits: int, baseline: str) -> Limit:
    return Limit(
        option=option,
        key=key,
        upper=False,
        digits=digits,
        rollout=True,
        anneal=True,
        baseline=baseline,
        help=f"Fewest {key} of a rollout in an anneal.  [default: 85 % of the baseline]",
    )


def _health(option: str, key: str, digits: int = 0, *, whole: bool = True) -> Limit:
    return Limit(option=option, key=key, upper=True, digits=digits, whole=whole, help=f"Mode health: most {key}.")


def _telemetry(option: str, key: str, digits: int = 0, *, whole: bool = True) -> Limit:
    words = f"Mode telemetry: most {key}."
    return Limit(option=option, key=key, upper=True, digits=digits, whole=whole, help=words)


PPO_LIMITS = (
    _above("kl_threshold", "kl_divergence", 6),
    _above("loss_threshold", "loss_total", 6),
    _above("grad_threshold", "grad_norm", 6),
    _below("entropy_threshold", "batch_entropy_mean", 6),
    _below("reward_corr_threshold", "reward_advantage_corr", 6),
    _event("queue_events_min", "queue_conflict_events"),
    _event("queue_intensity_min", "queue_conflict_intensity_sum", 2),
    _event("shared_meal_min", "shared_meal_events"),
    _event("late_help_min", "late_help_events"),
    _event("shift_takeover_max", "shift_takeover_events", upper=True),
    _event("chat_quality_min", "chat_quality_mean", 3),
    _event("utility_outage_max", "utility_outage_events", upper=True),
    _event("shower_complete_min", "shower_complete_events"),
    _event("sleep_complete_min", "sleep_complete_events"),
    Limit(
        option="anneal_bc_min",
        key="anneal_bc_accuracy",
        upper=False,
        digits=3,
        anneal=True,
        default=0.9,
        help="Least accuracy of the clone in an anneal.  [default: 0.9]",
    ),
    Limit(
        option="anneal_loss_max",
        key="loss_total",
        upper=True,
        digits=6,
        anneal=True,
        baseline="anneal_loss_baseline",
        default=0.1,
        help="Most that loss_total may rise in an anneal, as a share of its baseline.  [default: 0.1]",
    ),
    _fall("anneal_queue_min", "queue_conflict_events", 1, "anneal_queue_baseline"),
    _fall("anneal_intensity_min", "queue_conflict_intensity_sum", 2, "anneal_intensity_baseline"),
)
"""Of training logs."""

HEALTH_LIMITS = (
    _health("tick_duration_max", "duration_ms", 2, whole=False),
    _health("telemetry_queue_max", "queue"),
    _health("telemetry_dropped_max", "dropped"),
    _health("perturbations_pending_max", "perturbations_pending"),
    _health("perturbations_active_max", "perturbations_active"),
    _health("exit_queue_max", "exit_queue"),
)
"""Of the health lines of ticks."""

TELEMETRY_LIMITS = (
    _telemetry("tick_p99_max", "tick_ms_p99", 2, whole=False),
    _telemetry("veto_share_max", "veto_share", 4, whole=False),
    _telemetry("policy_errors_max", "policy_errors"),
    _telemetry("dropped_rows_max", "dropped_rows"),
    _telemetry("sink_errors_max", "sink_errors"),
)
"""Of the records of stretches of ticks."""
