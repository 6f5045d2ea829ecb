"""Health lines of ticks are found among others, records of telemetry are read, and damaged ones are refused."""

import json
import logging
from pathlib import Path

import pytest
from training_logs import HEALTH, NEW, STRETCH, without

from townlet_runtime.cli import main
from townlet_runtime.cli.reports.health import (
    health_line,
    parse_health,
    stretch_line,
    stretch_of,
    telemetry_lines,
    telemetry_summary,
)
from townlet_runtime.cli.reports.records import RecordError
from townlet_runtime.core.telemetry import log_tick_health

SAID = {
    "tick": 1,
    "duration_ms": 1.25,
    "queue": 0,
    "dropped": 0,
    "perturbations_pending": 0,
    "perturbations_active": 0,
    "exit_queue": 0,
}
SHOWN = "Tick 1: duration=1.25 ms, queue=0, dropped=0, perturbations pending=0, active=0, exit_queue=0"


def test_the_line_of_the_original_is_read_and_shown() -> None:
    first, second = HEALTH.read_bytes().splitlines()
    found = parse_health(first, "log:1")
    assert found == SAID and health_line(found) == SHOWN
    assert parse_health(second, "log:2") is None


@pytest.mark.parametrize(
    "text", ["", "noise", "tick_healthy tick=1", "no_tick_health tick=1", "tick=1 duration_ms=1.25 queue=0 dropped=0"]
)
def test_other_lines_are_ignored(text: str) -> None:
    assert parse_health(text.encode(), "log:1") is None


def test_what_stands_before_and_after_does_not_matter() -> None:
    text = b"2025-01-01 INFO tick_health dropped=2 queue=1 tick=7 duration_ms=3 more=x\r"
    assert parse_health(text, "log:1") == {**SAID, "tick": 7, "duration_ms": 3.0, "queue": 1, "dropped": 2}


def test_the_line_that_our_runtime_logs_is_read(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="townlet_runtime.core.telemetry"):
        log_tick_health(tick=12, duration_ms=0.51234, queue=3, dropped=4)
    found = parse_health(caplog.messages[0].encode(), "log:1")
    assert found == {**SAID, "tick": 12, "duration_ms": 0.512, "queue": 3, "dropped": 4}


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("tick=1 queue=0", r"log:3: health line missing keys: \['dropped', 'duration_ms'\]"),
        ("tick=1 duration_ms=nan queue=0 dropped=0", "field 'duration_ms' must be a number from 0, got 'nan'"),
        ("tick=1 duration_ms=-1 queue=0 dropped=0", "field 'duration_ms'"),
        ("tick=1.5 duration_ms=1 queue=0 dropped=0", "field 'tick'"),
        ("tick=1 duration_ms=1 queue=0 dropped=0 exit_queue=many", "field 'exit_queue'"),
    ],
)
def test_a_damaged_health_line_is_refused(said: str, problem: str) -> None:
    with pytest.raises(RecordError, match=problem):
        parse_health(f"tick_health {said}".encode(), "log:3")


def test_a_record_of_telemetry_is_read_and_shown() -> None:
    found = stretch_of(STRETCH, "log:1")
    # 100, 10 and 2 + 4 of 400 agent-ticks.
    assert (found["learned_share"], found["external_share"], found["veto_share"]) == (0.25, 0.025, 0.015)
    assert {key: found[key] for key in ("tick", "agents", "tick_ms_p99", "queue_rows", "mean_reward")} == {
        "tick": 200,
        "agents": 4,
        "tick_ms_p99": 2.5,
        "queue_rows": 400,
        "mean_reward": -0.0125,
    }
    assert stretch_line(found) == (
        "Tick 200: p50=0.25 ms, p99=2.50 ms, agents=4, learned=25.0 %, external=2.5 %, vetoed=1.5 %, policy_errors=0, "
        "queue=400, dropped=0, mean_reward=-0.01250"
    )


def test_an_empty_world_has_no_shares() -> None:
    empty = {"ticks_by_source": {"scripted": 0, "learned": 0, "external": 0}, "agent_ticks": 0, "mean_reward": None}
    found = stretch_of({**STRETCH, **empty, "vetoes_by_reason": {}}, "log:1")
    assert (found["learned_share"], found["veto_share"], found["mean_reward"]) == (None, None, None)
    assert "learned=n/a %" in stretch_line(found) and stretch_line(found).endswith("mean_reward=n/a")


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({**STRETCH, "format_version": 2}, "log:3: expected a telemetry record of format version 1, got 2"),
        ({"epoch": 1}, "log:3: expected a telemetry record of format version 1, got None"),
        (without(STRETCH, "ticks", "tick_ms_p99"), r"log:3: telemetry record missing keys: \['tick_ms_p99', 'ticks'\]"),
        ({**STRETCH, "agents": "4"}, "log:3: field 'agents' must be a finite number, got '4'"),
        ({**STRETCH, "vetoes_by_reason": 3}, "log:3: field 'vetoes_by_reason' must be an object of counts, got 3"),
        ({**STRETCH, "ticks_by_source": {"learned": None}}, "field 'ticks_by_source' must be an object of counts"),
    ],
)
def test_a_damaged_record_of_telemetry_is_refused(record: dict[str, object], problem: str) -> None:
    with pytest.raises(RecordError, match=problem):
        stretch_of(record, "log:3")


def test_a_summary_by_hand() -> None:
    empty = {"scripted": 0, "learned": 0, "external": 0}
    records = [
        STRETCH,
        {
            **STRETCH,
            "tick": 300,
            "agent_ticks": 100,
            "ticks_by_source": {"scripted": 60, "learned": 40, "external": 0},
            "proposals_by_proposer": {"script": 70, "mind": 30},
            "policy_errors": 5,
            "tick_ms_p99": 7.25,
            "mean_reward": 0.1,
            "dropped_rows": 3,
        },
        {**STRETCH, "tick": 301, "ticks": 1, "agent_ticks": 0, "ticks_by_source": empty, "mean_reward": None},
    ]
    summary = telemetry_summary(records, Path("log"))
    assert summary == {
        "records": 3,
        "last_tick": 301,
        "ticks": 201,
        "agent_ticks": 500,
        "forced": 870,
        "foreign": 30,
        "policy_errors": 5,
        "dropped_rows": 3,
        "sink_errors": 0,
        "ticks_by_source": {"scripted": 350, "learned": 140, "external": 10},
        "proposals_by_proposer": {"script": 870, "mind": 30},
        "vetoes_by_reason": {"action_mask": 6, "chat_rival": 12},
        # (400 · -0.0125 + 100 · 0.1) / 500
        "mean_reward": pytest.approx(0.01),
        "tick_ms_p99_max": 7.25,
        "slowest_tick": 300,
    }
    lines = telemetry_lines(summary)
    assert lines[0] == "201 ticks, the last of them 301; 500 agent-ticks, mean reward 0.01000"
    assert lines[1] == "slowest record: that to tick 300, p99 7.25 ms"
    assert lines[-1] == "5 policy errors, 3 steps dropped, 0 sink errors"
    cells = [line.split() for line in lines]
    assert ["learned", "140", "28.0", "%"] in cells and ["mind", "30", "6.0", "%"] in cells


def test_the_command_reads_what_a_run_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "records.jsonl"
    assert main(["run", "--ticks", "25", "--json", "--telemetry", str(path), "--telemetry-every", "10"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert main(["report", "telemetry", str(path), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["records"], summary["ticks"], summary["agent_ticks"]) == (3, 25, 250)
    assert summary["ticks_by_source"] == result["sources"]
    assert summary["mean_reward"] == pytest.approx(result["mean_reward"])
    assert main(["report", "telemetry", str(path)]) == 0
    assert capsys.readouterr().out.startswith("25 ticks, the last of them 25; 250 agent-ticks, mean reward 0.")
    assert main(["report", "telemetry", str(NEW)]) == 2
    assert "record 1: expected a telemetry record of format version 1, got None" in capsys.readouterr().err
