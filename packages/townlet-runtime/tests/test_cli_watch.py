"""`townlet watch` as it is called: the lines and the exit codes of the original's calls, and logs that grow."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from training_logs import HEALTH, NEW, OLD, STRETCH, line, without, write_log

from townlet_runtime.cli import main
from townlet_runtime.cli.reports.limits import HEALTH_LIMITS, PPO_LIMITS, TELEMETRY_LIMITS
from townlet_runtime.cli.reports.watched import EVENTS

TICK = (
    "tick_health tick={} duration_ms=1.25 queue=0 dropped=0 perturbations_pending=0 perturbations_active=0 exit_queue=0"
)


def test_a_training_log_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", str(NEW)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Epoch 1 (rollout): loss_total=0.530433, ") and out.endswith("sleep_complete=0.0, offset=1\n")
    assert err == ""


def test_json_is_a_line_for_each_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", str(write_log(tmp_path / "log", line(epoch=1), line(epoch=2))), "--json"]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["epoch"], second["epoch"]) == (1.0, 2.0)
    assert first.keys() == set(
        "shift_takeover_events late_help_events chat_quality_mean chat_success_events reward_advantage_corr "
        "chat_failure_events queue_conflict_intensity_sum queue_conflict_events log_stream_offset loss_total "
        "batch_entropy_mean epoch grad_norm kl_divergence shared_meal_events data_mode utility_outage_events "
        "sleep_complete_events shower_complete_events".split()
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([str(NEW), "--grad-threshold", "0.0001"], "Epoch 1: grad_norm 0.894249 exceeds threshold 0.0001\n"),
        (
            ["--mode", "health", str(HEALTH), "--tick-duration-max", "1"],
            "Tick 1: duration_ms 1.25 exceeds threshold 1.0\n",
        ),
    ],
)
@pytest.mark.parametrize("more", [[], ["-q"], ["--json"]])
def test_a_broken_limit_is_one_bare_line_and_code_1(
    arguments: list[str], told: str, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["watch", *arguments, *more]) == 1
    assert capsys.readouterr() == ("", told)


def test_records_before_the_first_broken_limit_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = write_log(tmp_path / "log", line(epoch=1), line(epoch=2, grad_norm=9.0), line(epoch=3))
    assert main(["watch", str(log), "--grad-threshold", "5"]) == 1
    out, err = capsys.readouterr()
    assert [each.split()[1] for each in out.splitlines()] == ["1"]
    assert err == "Epoch 2: grad_norm 9.000000 exceeds threshold 5.0\n"


@pytest.mark.parametrize("limit", [*PPO_LIMITS, *HEALTH_LIMITS, *TELEMETRY_LIMITS], ids=lambda limit: limit.option)
def test_every_limit_is_an_option(limit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if limit in HEALTH_LIMITS:
        (tmp_path / "log").write_text(TICK.replace("=0", "=7").replace("1.25", "7").format(3) + "\n")
        arguments, value = ["--mode", "health"], "6"
    elif limit in TELEMETRY_LIMITS:
        # 7 vetoes for each agent-tick are more than there can be, and a share all the same.
        changed = {"vetoes_by_reason": {"a": 3, "b": 4}} if limit.key == "veto_share" else {limit.key: 7}
        write_log(tmp_path / "log", {**STRETCH, "ticks_by_source": {"learned": 1}, **changed})
        arguments, value = ["--mode", "telemetry"], "6"
    else:
        anneal = {"anneal_stage": "ppo", "anneal_loss_baseline": 1.0}
        write_log(tmp_path / "log", line(**anneal, **{limit.key: 0.5 if limit.key.endswith("accuracy") else 7.0}))
        arguments, value = ["--anneal-loss-max", "99", "--anneal-bc-min", "0"], "6" if limit.upper else "8"
    option = f"--{limit.option.replace('_', '-')}"
    assert main(["watch", *arguments, str(tmp_path / "log"), option, value, "-q"]) == (
        0 if limit.option == "anneal_loss_max" else 1
    )
    capsys.readouterr()
    if limit.option == "anneal_loss_max":
        assert main(["watch", *arguments, str(tmp_path / "log"), option, "5", "-q"]) == 1
        assert "drifts beyond +500.0% of baseline 1.000000" in capsys.readouterr().err


def test_a_health_log_is_read_among_other_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log"
    log.write_text(f"noise\n{TICK.format(1)}\n\x1b[31mred\n{TICK.format(2)}")
    assert main(["watch", "--mode", "health", str(log)]) == 0
    shown = "duration=1.25 ms, queue=0, dropped=0, perturbations pending=0, active=0, exit_queue=0"
    assert capsys.readouterr().out.splitlines() == [f"Tick 1: {shown}", f"Tick 2: {shown}"]
    assert main(["watch", "--mode", "health", str(log), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[1])["tick"] == 2


def test_telemetry_of_a_run_is_read_line_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "records.jsonl"
    assert main(["run", "--ticks", "20", "-q", "--telemetry", str(path), "--telemetry-every", "10"]) == 0
    assert main(["watch", "--mode", "telemetry", str(path), "--policy-errors-max", "0", "--dropped-rows-max", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [each.split(":")[0] for each in lines] == ["Tick 10", "Tick 20"]
    assert main(["watch", "--mode", "telemetry", str(path), "--json"]) == 0
    shown = [json.loads(each) for each in capsys.readouterr().out.splitlines()]
    written = [json.loads(each) for each in path.read_text().splitlines()]
    assert [each["tick_ms_p99"] for each in shown] == [each["tick_ms_p99"] for each in written]
    assert main(["watch", "--mode", "telemetry", str(path), "--tick-p99-max", "0", "-q"]) == 1
    assert capsys.readouterr().err.startswith("Tick 10: tick_ms_p99 ")


def test_health_lines_of_a_run_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--ticks", "3", "-v", "-q"]) == 0
    log = tmp_path / "ticks.log"
    log.write_text(capsys.readouterr().err)
    assert main(["watch", "--mode", "health", str(log)]) == 0
    assert [each.split(":")[0] for each in capsys.readouterr().out.splitlines()] == ["Tick 1", "Tick 2", "Tick 3"]


def test_a_half_written_last_line_is_left_out_and_a_whole_one_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = write_log(tmp_path / "log", line(epoch=1), line(epoch=2))
    text = log.read_text()
    log.write_text(text[:-1])
    assert main(["watch", str(log)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    log.write_text(text[:-40])
    assert main(["watch", str(log)]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1 and err == f"{log}:2: half written, left out\n"


def test_a_limit_that_cannot_judge_is_a_warning_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [without(line(epoch=epoch), *EVENTS) for epoch in (1, 2)]
    log = write_log(tmp_path / "log", *lines)
    assert main(["watch", str(log), "--chat-quality-min", "0.5", "--exit-queue-max", "3"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "townlet: warning: --exit-queue-max: of no effect in mode ppo",
        "townlet: warning: Epoch 1: no chat_quality_mean, so --chat-quality-min cannot judge it",
    ]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["watch"], "LOG"),
        (["watch", "nowhere"], "nowhere: no such file (--follow waits for it)"),
        (["watch", str(HEALTH)], "tick_health.log:1: not JSON"),
        (["watch", str(NEW), "--kl-threshold", "nan"], "expected a finite number, got nan"),
        (["watch", str(NEW), "--exit-queue-max", "1.5"], "expected a whole number"),
        (["watch", str(NEW), "--interval", "0"], "expected seconds above 0"),
        (["watch", str(NEW), "--mode", "both"], "'both' is not one of"),
        (["watch", "."], "not a regular file"),
    ],
)
def test_errors_are_one_line_and_code_2(arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and problem in err


def test_a_1_1_log_is_watched(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", str(OLD)]) == 0
    assert capsys.readouterr().out.startswith("Epoch 1 (rollout): loss_total=0.628049")


class Follower:
    """A `townlet watch --follow` that runs beside the test."""

    def __init__(self, log: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "townlet_runtime", "watch", str(log), "--follow", "--interval", "0.05"]
        self._shown = log.with_name("shown")
        with self._shown.open("wb") as stream:
            self.process = subprocess.Popen([*command, *arguments], stdout=stream, stderr=subprocess.PIPE, text=True)

    def shown(self) -> list[str]:
        return self._shown.read_text().splitlines()

    def wait_for(self, done: Callable[[], bool]) -> None:
        until = time.monotonic() + 60.0
        while not done():
            assert self.process.poll() is None and time.monotonic() < until
            time.sleep(0.02)


def test_a_log_that_grows_is_followed_to_the_first_broken_limit(tmp_path: Path) -> None:
    log = tmp_path / "log"
    follower = Follower(log, "--grad-threshold", "5")
    write_log(log, line(epoch=1))
    follower.wait_for(lambda: len(follower.shown()) == 1)
    text = json.dumps(line(epoch=2)) + "\n"
    with log.open("a") as stream:
        stream.write(text[:100])
        stream.flush()
        time.sleep(0.3)
        stream.write(text[100:])
    follower.wait_for(lambda: len(follower.shown()) == 2)
    with log.open("a") as stream:
        stream.write(json.dumps(line(epoch=3, grad_norm=9.0)) + "\n")
    _, err = follower.process.communicate(timeout=60)
    assert (follower.process.returncode, err) == (1, "Epoch 3: grad_norm 9.000000 exceeds threshold 5.0\n")
    assert len(follower.shown()) == 2


@pytest.mark.skipif(os.name == "nt", reason="no such signals")
def test_following_ends_with_a_signal(tmp_path: Path) -> None:
    follower = Follower(write_log(tmp_path / "log", line()))
    follower.wait_for(lambda: len(follower.shown()) == 1)
    follower.process.send_signal(signal.SIGINT)
    _, err = follower.process.communicate(timeout=60)
    assert (follower.process.returncode, err) == (130, "")
