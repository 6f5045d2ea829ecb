"""Training logs of version 1.2 pass, older and damaged ones are refused by their keys, and drift is counted."""

import json
from pathlib import Path

import pytest
from training_logs import NEW, OLD, line, without, write_log

from townlet_runtime.cli.console import CommandError
from townlet_runtime.cli.reports.records import RecordError, read_log
from townlet_runtime.cli.reports.validation import (
    BASELINE,
    CONFLICT,
    QUEUE,
    REQUIRED,
    SINCE_1_1,
    drift_lines,
    drift_of,
    drift_record,
    read_baseline,
    validate_record,
)
from townlet_runtime.cli.reports.watched import EVENTS

LOG = Path("log")


def problem(record: dict) -> str:
    with pytest.raises(RecordError) as caught:
        validate_record(record, LOG)
    return str(caught.value)


def test_the_original_s_log_of_version_1_2_passes() -> None:
    (record,) = read_log(NEW)
    validate_record(record, NEW)


def test_the_original_s_log_of_version_1_1_is_refused_with_the_keys_that_it_lacks() -> None:
    (record,) = read_log(OLD)
    with pytest.raises(RecordError) as caught:
        validate_record(record, OLD)
    assert str(caught.value) == (
        f"{OLD}: missing required telemetry keys: "
        "['adv_min_std', 'adv_zero_std_batches', 'clip_fraction_max', 'clip_triggered_minibatches']"
    )


@pytest.mark.parametrize("version", [1.1, 1.2])
def test_a_log_without_conflict_features_is_refused(version: float) -> None:
    record = without(line(telemetry_version=version), *CONFLICT)
    assert problem(record) == f"log: missing conflict telemetry keys: {sorted(CONFLICT)}"


def test_a_1_1_log_that_has_every_key_passes() -> None:
    validate_record(line(telemetry_version=1.1), LOG)


@pytest.mark.parametrize("key", sorted(REQUIRED | CONFLICT | SINCE_1_1 | QUEUE | {"data_mode"}))
def test_no_key_may_be_missing(key: str) -> None:
    assert key in problem(without(line(), key))


@pytest.mark.parametrize("value", [None, "0.1", True, [1.0]])
@pytest.mark.parametrize("key", ["loss_total", "telemetry_version", "steps"])
def test_what_every_line_has_must_be_a_number(key: str, value: object) -> None:
    assert f"field '{key}' must be a finite number" in problem(line(**{key: value}))


@pytest.mark.parametrize("key", ["reward_advantage_corr", "baseline_reward_mean", *sorted(CONFLICT)])
def test_a_number_that_a_run_does_not_have_is_null_since_1_2(key: str) -> None:
    validate_record(line(**{key: None}), LOG)
    assert key in problem(line(telemetry_version=1.1, **{key: None}))
    assert key in problem(line(**{key: "much"}))


def test_a_world_that_counts_no_events_has_none_of_their_keys_since_1_2() -> None:
    none = without(line(), *CONFLICT, *EVENTS)
    validate_record(none, LOG)
    assert "conflict" in problem({**none, "telemetry_version": 1.1})
    # Some of them are there, so the others are missing.
    assert "conflict" in problem({**none, "shared_meal_events": 1.0})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}\nnot json\n", r":2: not JSON"),
        ('{"a": NaN}\n', "NaN is not a number"),
        ('{"a": 1e999}\n', "beyond double precision"),
        ('{"a": 1, "a": 2}\n', "repeated keys"),
        ("[1]\n", "expected a JSON object, got list"),
        ("\n\n", "no telemetry records found"),
        ("", "no telemetry records found"),
    ],
)
def test_what_is_no_log_is_refused_by_its_line(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(text)
    with pytest.raises(RecordError, match=expected):
        read_log(tmp_path / "log")


def test_drift_is_counted_for_each_record_and_the_worst_is_told() -> None:
    records = [line(epoch=1, baseline_reward_mean=0.5), line(epoch=2, baseline_reward_mean=-0.25)]
    records.append(line(epoch=3, baseline_reward_mean=None))
    drift = drift_of(records, {"baseline_reward_mean": 0.25, "baseline_reward_sum": -8.0}, LOG)
    assert [row["baseline_reward_mean"] for row in drift.rows] == [0.25, -0.5, None]
    assert drift.worst == {"baseline_reward_mean": -0.5, "baseline_reward_sum": 0.0}
    assert drift.percent("baseline_reward_mean", -0.5) == -200.0
    assert drift.beyond(0.4) == {"baseline_reward_mean": -0.5} and drift.beyond(0.5) == {}
    assert drift_record(drift)["baseline_reward_mean"] == {
        "baseline": 0.25,
        "deltas": [0.25, -0.5, None],
        "worst": -0.5,
        "worst_percent": -200.0,
    }


def test_the_table_of_drift_is_that_of_the_original() -> None:
    baseline = {"baseline_reward_mean": 0.0, "baseline_reward_sum": 1.0}
    records = [line(epoch=float(n), baseline_reward_mean=-0.2, baseline_reward_sum=-48.000006) for n in (1, 2)]
    values = "            -0.200000 |           -49.000006 |              n/a     |            -4900.00%"
    head = "                 epoch | baseline_reward_mean |  baseline_reward_sum"
    assert drift_lines(drift_of(records, baseline, LOG), relative=True) == [
        "",
        "Baseline drift summary (log - baseline):",
        f"{head} | baseline_reward_mean% | baseline_reward_sum%",
        f"                     1 |{values}",
        f"                     2 |{values}",
        "",
        "  Worst absolute drift by key:",
        "    baseline_reward_mean: -0.200000",
        "    baseline_reward_sum: -49.000006",
    ]
    assert drift_lines(drift_of(records, baseline, LOG), relative=False)[2] == head
    lacking = [without(record, *BASELINE) for record in records]
    assert drift_lines(drift_of(lacking, baseline, LOG), relative=True) == [
        "No overlapping baseline keys found; skipping drift report."
    ]


def test_a_baseline_is_the_baseline_numbers_of_an_object(tmp_path: Path) -> None:
    path = tmp_path / "base.json"
    path.write_text(json.dumps({"baseline_reward_sum": 2, "reward": 1.0, "baseline_reward_mean": None}))
    assert read_baseline(path) == {"baseline_reward_sum": 2.0}
    path.write_text('{"reward_sum": 1.0}')
    with pytest.raises(CommandError, match="expected at least one of baseline_sample_count, .*, got none"):
        read_baseline(path)
    path.write_text('{"baseline_reward_sum": "x"}')
    with pytest.raises(RecordError, match="'baseline_reward_sum' must be a finite number"):
        read_baseline(path)


def test_lines_are_counted_from_1_and_empty_ones_left_out(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log", line(epoch=1.0), line(epoch=2.0))
    path.write_text("\n" + path.read_text().rstrip("\n"))
    assert [record["epoch"] for record in read_log(path)] == [1.0, 2.0]
