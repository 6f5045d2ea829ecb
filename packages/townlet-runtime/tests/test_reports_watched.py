"""What is shown of a line of a training log, and which lines are refused."""

import json

import pytest
from training_logs import NEW, line, without

from townlet_runtime.cli.reports.records import RecordError
from townlet_runtime.cli.reports.watched import EVENTS, watched, watched_line

SHOWN = (
    "Epoch 1 (rollout): loss_total=0.530433, kl_divergence=-0.014131, grad_norm=0.894249, entropy_mean=0.692399, "
    "reward_adv_corr=0.000000, queue_events=19.0, queue_intensity_sum=28.50, shared_meals=0.0, late_help=0.0, "
    "shift_takeovers=0.0, chat_success=0.0, chat_failure=0.0, chat_quality_mean=0.000, utility_outages=0.0, "
    "shower_complete=0.0, sleep_complete=0.0, offset=1"
)


def test_the_line_of_the_original_is_shown_as_it_showed_it() -> None:
    found = watched(json.loads(NEW.read_text()), "log:1")
    assert watched_line(found) == SHOWN
    assert (found["queue_conflict_events"], found["utility_outage_events"], found["data_mode"]) == (
        19.0,
        0.0,
        "rollout",
    )
    assert not [key for key in found if key.startswith("anneal_")]


def test_anneals_and_later_events_are_kept() -> None:
    found = watched(
        line(shower_complete_events=3, anneal_stage="ppo", anneal_loss_baseline=None, anneal_bc_passed=True), "log:1"
    )
    assert found["shower_complete_events"] == 3.0 and "shower_complete=3.0" in watched_line(found)
    assert (found["anneal_stage"], found["anneal_loss_baseline"], found["anneal_bc_passed"]) == ("ppo", None, True)


def test_later_events_are_found_among_a_world_s_other_events() -> None:
    found = watched(line(**{"events/shower_complete_events": 4.0, "events/sleep_complete_events": None}), "log:1")
    assert (found["shower_complete_events"], found["sleep_complete_events"]) == (4.0, None)
    both = watched(line(**{"shower_complete_events": 1.0, "events/shower_complete_events": 4.0}), "log:1")
    assert both["shower_complete_events"] == 1.0


def test_a_number_that_is_null_is_shown_as_missing() -> None:
    found = watched(line(reward_advantage_corr=None), "log:1")
    assert found["reward_advantage_corr"] is None and "reward_adv_corr=n/a" in watched_line(found)


def test_a_world_that_counts_no_events_has_none_of_their_keys() -> None:
    found = watched(without(line(), *EVENTS), "log:1")
    assert found["queue_conflict_events"] is None and "queue_events=n/a" in watched_line(found)


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (without(line(), "grad_norm", "data_mode"), r"log:4: .* missing keys: \['data_mode', 'grad_norm'\]"),
        (without(line(), "late_help_events"), r"missing keys: \['late_help_events'\]"),
        (line(loss_total="low"), "field 'loss_total' must be a finite number, got 'low'"),
        (line(loss_total=True), "field 'loss_total'"),
        (line(epoch=None), "field 'epoch'"),
    ],
)
def test_a_line_that_lacks_something_is_refused(record: dict, problem: str) -> None:
    with pytest.raises(RecordError, match=problem):
        watched(record, "log:4")
