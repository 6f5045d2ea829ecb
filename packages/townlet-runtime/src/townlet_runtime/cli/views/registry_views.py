"""A promotion registry as tables for people and as records for `--json`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from townlet_runtime.cli.console import CommandError, Json, table
from townlet_runtime.cli.promotion import CandidateResult
from townlet_trajectory.evaluation.promotion import PromotionPass
from townlet_trajectory.evaluation.registry import PromotionRegistry
from townlet_trajectory.evaluation.registry_records import LivePeriod
from townlet_trajectory.evaluation.registry_state import RegistryState

_SHORT = 12
"""Characters of a digest in a table."""


def candidate_record(registry: PromotionRegistry, found: CandidateResult) -> dict[str, Json]:
    """Return the result of `promote candidate`: the decision first, then the state of the registry."""
    decision = found.decision
    return {
        "registry": str(registry.path),
        "status": {"PROMOTE": "pass", "HOLD": "hold", "FAIL": "fail"}[decision],
        "decision": str(decision),
        "candidate_ready": decision == "PROMOTE",
        "reasons": [] if decision == "PROMOTE" else [found.reason],
        "candidate": found.candidate,
        "incumbent": found.incumbent,
        "promoted": found.is_promoted,
        "passes": [_pass_record(each.latest) for each in found.decisions],
        "promotion": registry.snapshot(),
    }


def candidate_lines(registry: PromotionRegistry, found: CandidateResult) -> list[str]:
    """Return the lines for people; see `candidate_record`."""
    incumbent = _short(found.incumbent)
    rows = [
        (f"pass {number}", *_pass_cells(each.latest), each.latest.outcome)
        for number, each in enumerate(found.decisions, start=1)
    ]
    header = (f"{_short(found.candidate)} - {incumbent}", "mean", "95 % interval", "worst tenth", "")
    lines = [*table(header, rows), ""] if rows else []
    reason = found.reason.replace(found.incumbent, incumbent)
    lines.append(f"{found.decision}: {reason}")
    live = registry.state().live
    return [*lines, f"live: {_short(live)}{' (the candidate)' if live == found.candidate else ''}"]


def status_record(registry: PromotionRegistry) -> dict[str, Json]:
    """Return the state of a registry: the snapshot of its promotions, aliases and releases."""
    state = registry.state()
    return {
        "registry": str(registry.path),
        "promotion": state.snapshot(),
        "aliases": {**state.aliases, **_own_aliases(state)},
        "releases": {digest: dict(said) for digest, said in state.releases.items()},
        "num_passes": len(state.passes),
        "records": state.sequence,
    }


def status_lines(registry: PromotionRegistry) -> list[str]:
    """Return the lines for people; see `status_record`."""
    state = registry.state()
    snapshot, config = state.snapshot(), state.settings.config
    names = {**state.aliases, **_own_aliases(state)}
    rows = [
        (_short(digest), ", ".join(sorted(name for name, target in names.items() if target == digest)), said)
        for digest, said in ((state.settings.behavior, "the first behavior"), *_runs(state))
    ]
    streak = f"{len(state.counted_passes)} of {config.required_passes} passes in a row"
    return [
        f"{snapshot['state']}: {_short(state.live)} is live since {_when(state.periods[-1].time)}",
        f"candidate: {'none' if state.candidate is None else f'{_short(state.candidate)}, {streak}'}",
        f"{len(state.passes)} passes of {config.num_episodes} episodes so far, {state.sequence} records",
        "",
        *table(("release", "names", "from"), rows),
    ]


def history_lines(state: RegistryState) -> list[str]:
    """Return a table of every change of what is live."""
    rows = [
        (
            f"{each.sequence}",
            _when(each.time),
            each.event.replace("_", " "),
            _short(each.release),
            "; ".join(str(each.metadata[name]) for name in ("by", "reason") if name in each.metadata),
        )
        for each in state.periods
    ]
    return table(("record", "time", "event", "live", "why"), rows)


def live_record(periods: Sequence[LivePeriod]) -> list[Json]:
    """Return some periods as JSON."""
    return [
        {
            "release": each.release,
            "event": each.event,
            "from": {"sequence": each.sequence, "time": each.time},
            "to": None if each.end_time is None else {"sequence": each.end_sequence, "time": each.end_time},
        }
        for each in periods
    ]


def live_lines(periods: Sequence[LivePeriod]) -> list[str]:
    """Return the lines for people; see `live_record`."""
    if not periods:
        return ["nothing: the registry was not there yet"]
    rows = [
        (
            _short(each.release),
            _when(each.time),
            "now" if each.end_time is None else _when(each.end_time),
            f"{each.sequence}",
            "" if each.end_sequence is None else f"{each.end_sequence}",
        )
        for each in periods
    ]
    note = ["the clock was set back, and showed that time more than once"] if len(periods) > 1 else []
    return [*table(("live", "from", "to", "from record", "to record"), rows), *note]


def seconds_of(text: str) -> float:
    """Return the time that `text` says, in seconds since 1970.

    Raises:
        CommandError: if it is neither ISO 8601 nor a finite number.
    """
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError, OSError):
            seconds = math.nan
    if not math.isfinite(seconds):
        raise CommandError(f"--at {text}: expected a time as 2026-01-31T12:00, or seconds since 1970")
    return seconds


def _pass_record(one: PromotionPass) -> dict[str, Json]:
    found = one.comparison
    return {
        "outcome": one.outcome,
        "mean_difference": None if found is None else found.mean,
        "ci": None if found is None else list(found.ci),
        "tail_difference": None if found is None else found.tail_difference,
    }


def _pass_cells(one: PromotionPass) -> tuple[str, str, str]:
    found = one.comparison
    if found is None:
        return "-", "-", "-"
    low, high = found.ci
    return f"{found.mean:+.3f}", f"{low:+.3f} to {high:+.3f}", f"{found.tail_difference:+.3f}"


def _own_aliases(state: RegistryState) -> dict[str, str]:
    challenger = {} if state.candidate in (None, state.live) else {"challenger": str(state.candidate)}
    return {"champion": state.live, **challenger}


def _runs(state: RegistryState) -> list[tuple[str, str]]:
    return [(digest, str(said.get("run", ""))) for digest, said in state.releases.items()]


def _short(release: str) -> str:
    return release[:_SHORT] if len(release) == 64 else release


def _when(seconds: float) -> str:
    """The time in UTC; a clock that was far off is shown in seconds."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}Z"
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g} s"
