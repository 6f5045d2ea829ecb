"""A training log in few numbers: those that the original's summary printed of the same log."""

from pathlib import Path

import pytest
from training_logs import line, without

from townlet_runtime.cli.reports.records import RecordError
from townlet_runtime.cli.reports.summary import ANNEAL, EXTREMES, LATEST, read_baseline, summarize
from townlet_runtime.cli.reports.summary_views import markdown_lines, text_lines
from townlet_runtime.cli.reports.watched import EVENTS, LATER_EVENTS

LOG = Path("log")
RECORDED = [
    line(
        epoch=1.0,
        loss_total=1.6927781403064728,
        kl_divergence=0.2732928432524204,
        grad_norm=1.5306203191479046,
        queue_conflict_events=0.0,
    ),
    line(
        epoch=2.0,
        loss_total=1.5647407273451488,
        kl_divergence=0.23406354462107024,
        grad_norm=0.2445887147138516,
        batch_entropy_mean=2.188693861166636,
        epoch_duration_sec=2.697135413000069,
        data_mode="replay",
        rollout_ticks=0.0,
        log_stream_offset=2.0,
        queue_conflict_events=0.0,
        queue_conflict_intensity_sum=0.0,
    ),
]
"""The log whose summary by the original is below, as far as it shows it."""


def test_the_text_is_that_of_the_original() -> None:
    assert text_lines(summarize(RECORDED, None, LOG)) == [
        "Epochs analysed: 2 (mode=replay, cycle_id=0.0)",
        "Latest metrics: loss_total=1.564741, kl_divergence=0.234064, grad_norm=0.244589",
        "              entropy_mean=2.188694, reward_adv_corr=0.000000, epoch_duration=2.6971s",
        "Queue conflicts: events=0.0, intensity_sum=0.00",
        "Social interactions: shared_meals=0.0, late_help=0.0, shift_takeovers=0.0, chat_success=0.0, "
        "chat_failure=0.0, chat_quality_mean=0.000",
        "Hygiene & rest: utility_outages=0.0, showers=0.0, sleeps=0.0",
        "Extremes: loss_total[min=1.564741, max=1.692778], kl_divergence[min=0.234064, max=0.273293], "
        "grad_norm[min=0.244589, max=1.530620]",
    ]


def test_the_markdown_is_that_of_the_original() -> None:
    lines = markdown_lines(summarize(RECORDED, None, LOG))
    assert lines[:6] == [
        "### PPO Telemetry Summary",
        "",
        "- Epochs analysed: **2**",
        "- Data mode: **replay** (cycle `0.0`)",
        "- Latest metrics: `loss_total=1.564741`, `kl_divergence=0.234064`, `grad_norm=0.244589`, "
        "`entropy_mean=2.188694`, `reward_adv_corr=0.000000`",
        "- Epoch duration: `2.6971s`, roll-out ticks: `0`",
    ]
    assert lines[8:11] == ["| Metric | Min | Max |", "| --- | --- | --- |", "| loss_total | 1.564741 | 1.692778 |"]
    assert lines[-4:] == [
        "| chat_quality_mean | 0.000 | 0.000 |",
        "| utility_outage_events | 0.0 | 0.0 |",
        "| shower_complete_events | 0.0 | 0.0 |",
        "| sleep_complete_events | 0.0 | 0.0 |",
    ]
    assert len(lines) == 19


def test_the_record_has_the_keys_of_the_original() -> None:
    record = summarize(RECORDED, None, LOG).record()
    assert list(record) == ["epochs", "data_mode", "cycle_id", "log_stream_offset", "latest", "extremes"]
    assert (record["epochs"], record["data_mode"], record["log_stream_offset"]) == (2, "replay", 2.0)
    assert (tuple(record["latest"]), tuple(record["extremes"])) == (LATEST, EXTREMES)
    assert record["extremes"]["grad_norm"] == {"min": 0.2445887147138516, "max": 1.5306203191479046}
    assert record["latest"]["epoch_duration_sec"] == 2.697135413000069


def test_the_last_record_of_an_anneal_is_shown_with_its_flags() -> None:
    anneal = {f"anneal_{key}": None for key in ANNEAL} | {
        "anneal_stage": "ppo",
        "anneal_cycle": 2,
        "anneal_dataset": "idle_v1",
        "anneal_bc_accuracy": 0.95,
        "anneal_queue_flag": True,
    }
    found = summarize([line(**anneal), line(epoch=2)], None, LOG)
    assert found.record()["anneal"] == {key: anneal[f"anneal_{key}"] for key in ANNEAL}
    assert text_lines(found)[-2:] == [
        "Anneal status: stage=ppo cycle=2.0, dataset=idle_v1, bc_accuracy=0.950 (threshold=n/a), passed=None",
        "Anneal drift flags: loss=None, queue=True, intensity=None",
    ]
    assert markdown_lines(found)[8] == "- Anneal drift flags: loss `None`, queue `True`, intensity `None`"


def test_drift_is_of_the_last_record(tmp_path: Path) -> None:
    path = tmp_path / "base.json"
    path.write_text('{"loss_total": 2.0, "grad_norm": 0, "absent": 1.0, "data_mode": "x", "clip_fraction": true}')
    found = summarize([line(loss_total=9.0), line(loss_total=1.5, grad_norm=0.25)], read_baseline(path), LOG)
    assert found.record()["baseline_drift"] == {
        "loss_total": {"delta": -0.5, "percent": -25.0},
        "grad_norm": {"delta": 0.25, "percent": None},
    }
    assert text_lines(found)[-3:] == [
        "Baseline drift:",
        "  loss_total: delta=-0.500000 (-25.00%)",
        "  grad_norm: delta=+0.250000 (n/a)",
    ]
    assert markdown_lines(found)[-7:] == [
        "",
        "#### Baseline Drift",
        "",
        "| Key | Delta | Percent |",
        "| --- | --- | --- |",
        "| loss_total | -0.500000 | -25.00% |",
        "| grad_norm | +0.250000 | n/a |",
    ]


def test_missing_numbers_are_null_and_absent_ones_0() -> None:
    some = without(line(reward_advantage_corr=None, loss_total=None), "shared_meal_events", "rollout_ticks")
    found = summarize([some], None, LOG)
    assert found.latest["reward_advantage_corr"] is None and found.extremes["loss_total"].least is None
    assert found.latest["shared_meal_events"] == found.latest["rollout_ticks"] == 0.0
    assert found.latest["shower_complete_events"] == found.extremes["shower_complete_events"].greatest == 0.0
    lines = text_lines(found)
    assert "loss_total=n/a" in lines[1] and "loss_total[min=n/a, max=n/a]" in lines[-1]


def test_a_world_that_counts_no_events_has_no_zeros_of_them() -> None:
    found = summarize([without(line(), *EVENTS)] * 2, None, LOG)
    assert {key for key, value in found.latest.items() if value is None} == {*EVENTS, *LATER_EVENTS}
    assert found.extremes["shower_complete_events"].least is None
    said = "\n".join([*text_lines(found), *markdown_lines(found)])
    assert "event" not in said and "n/a" not in said and "Queue" not in said and "loss_total" in said


def test_later_events_are_found_among_a_world_s_other_events() -> None:
    found = summarize([line(**{"events/sleep_complete_events": count}) for count in (3.0, 1.0)], None, LOG)
    assert found.latest["sleep_complete_events"] == 1.0
    assert found.extremes["sleep_complete_events"].greatest == 3.0


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(RecordError, match="field 'grad_norm' must be a finite number, got 'x'"):
        summarize([line(grad_norm="x"), line()], None, LOG)
