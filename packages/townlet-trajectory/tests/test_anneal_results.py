"""Flags, reasons and status of schedules, by hand and by law."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_trajectory.evaluation.anneal_results import StageBaseline, Status, flags_of, reasons_of, status_of
from townlet_trajectory.storage.json import JsonValue

FINITE = st.floats(-1e6, 1e6)


def measured(loss: float, queue: float | None = None, intensity: float | None = None) -> StageBaseline:
    return StageBaseline(loss=loss, queue_conflict_events=queue, queue_conflict_intensity_sum=intensity)


@pytest.mark.parametrize(
    ("loss", "baseline", "drifted"),
    [
        (1.099, 1.0, False),
        (1.11, 1.0, True),
        (0.5, 1.0, False),  # a loss that halved is no drift, as it was in the original
        (-0.5, -0.5, False),
        (-0.44, -0.5, True),  # 12 % up
        (-0.46, -0.5, False),
        (1e-8, 0.0, False),
        (1e-3, 0.0, True),
        (math.nan, 1.0, True),
        (math.inf, 1.0, True),
        (-math.inf, 1.0, True),
    ],
)
def test_a_loss_that_rose_by_more_than_a_tenth_raises_its_flag(loss: float, baseline: float, drifted: bool) -> None:
    assert flags_of(measured(loss), measured(baseline)) == {"loss": drifted, "queue": False, "intensity": False}


def test_the_first_stage_has_nothing_to_drift_from_but_must_be_finite() -> None:
    assert not any(flags_of(measured(5.0, 3.0, 3.0), None).values())
    assert flags_of(measured(math.nan), None)["loss"] is True


@pytest.mark.parametrize(
    ("count", "before", "fell"), [(17.0, 20.0, False), (16.9, 20.0, True), (40.0, 20.0, False), (0.0, 0.0, False)]
)
def test_conflicts_that_fell_by_more_than_15_percent_raise_theirs(count: float, before: float, fell: bool) -> None:
    flags = flags_of(measured(1.0, count, 1.0), measured(1.0, before, 1.0))
    assert (flags["queue"], flags["intensity"]) == (fell, False)
    flags = flags_of(measured(1.0, 1.0, count), measured(1.0, 1.0, before))
    assert (flags["queue"], flags["intensity"]) == (False, fell)


def test_a_count_that_is_not_known_raises_none() -> None:
    assert not any(flags_of(measured(1.0, None, 0.0), measured(1.0, 9.0, None)).values())


@given(FINITE, FINITE, st.floats(0, 1e6))
def test_a_higher_loss_never_lowers_the_flag(loss: float, baseline: float, more: float) -> None:
    lower, higher = (flags_of(measured(each), measured(baseline))["loss"] for each in (loss, loss + more))
    assert higher or not lower


def reasons(*results: dict[str, JsonValue]) -> tuple[str, ...]:
    return reasons_of(results, "anneal_results.json")


def test_status_and_reasons_by_hand() -> None:
    passed = {"cycle": 0.0, "mode": "bc", "accuracy": 0.9, "threshold": 0.9, "passed": True}
    failed = {"cycle": 2, "mode": "bc", "accuracy": 0.8, "threshold": 0.9, "passed": False, "rolled_back": True}
    quiet = {"cycle": 1, "mode": "ppo", "anneal_loss_flag": False, "anneal_queue_flag": None}
    flagged = {"cycle": 3, "mode": "ppo", "anneal_loss_flag": True, "anneal_intensity_flag": True}
    assert reasons() == reasons(passed, quiet) == ()
    assert reasons(passed, flagged) == ("loss_flag_cycle_3", "intensity_flag_cycle_3")
    assert reasons(flagged, failed) == ("bc_stage_failed_cycle_2", "loss_flag_cycle_3", "intensity_flag_cycle_3")
    assert status_of(()) is Status.PASS
    assert status_of(reasons(flagged)) is Status.HOLD
    assert status_of(reasons(flagged, failed)) is Status.FAIL


def test_the_original_s_list_of_results_is_held_back() -> None:
    # Its second stage of PPO had a loss that rose from 0.18 to 0.23.
    results: list[dict[str, JsonValue]] = [
        {"cycle": 0.0, "mode": "bc", "accuracy": 1.0, "loss": 0.0, "threshold": 0.9, "passed": True, "bc_weight": 1.0},
        {"cycle": 1.0, "mode": "ppo", "loss_total": 0.1817, "anneal_loss_baseline": None, "anneal_loss_flag": False},
        {"cycle": 2.0, "mode": "ppo", "loss_total": 0.2263, "anneal_loss_baseline": 0.1817, "anneal_loss_flag": True},
    ]
    assert reasons(*results) == ("loss_flag_cycle_2.0",)
    assert status_of(reasons(*results)) is Status.HOLD
    assert flags_of(measured(0.2263), measured(0.1817))["loss"] is True
