"""`townlet train --live`: the same run as without, with or without somebody who watches it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from test_cli_adapt import TINY
from test_live_serve import Page
from test_live_stage import stage_of, town
from websockets.exceptions import ConnectionClosed

from townlet_runtime.cli import main
from townlet_runtime.cli.console import Console
from townlet_runtime.cli.training import seen as seen_module
from townlet_runtime.cli.training.seen import SeenRun
from townlet_training.run.metrics import WALL_TIME_KEYS

STEPS = 2 * 12 * 12


def typed(run_dir: Path, *more: str) -> list[str]:
    settings = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]
    options = ["--mode", "ppo", "--num-envs", "2", "--threads", "1", "--eval-every", "2", "--env", "lanes:Lanes"]
    return ["train", "--run-dir", str(run_dir), *options, *settings, *more]


@contextmanager
def training(run_dir: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A run in a process of its own, and the address of its page."""
    arguments = typed(run_dir, "--live", "--live-port", "0", *more)
    command = [sys.executable, "-m", "townlet_runtime", *arguments]
    process = subprocess.Popen(
        command, cwd=Path(__file__).parent, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        yield process, next(found.group(0) for line in process.stderr if (found := re.search(r"http://\S+", line)))
    finally:
        process.kill()
        process.wait()


def log_of(run_dir: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in WALL_TIME_KEYS} for line in lines]


def test_a_run_that_is_watched_is_the_run_that_is_not(tmp_path: Path) -> None:
    alone, seen = tmp_path / "alone", tmp_path / "seen"
    assert main([*typed(alone, "--total-steps", str(STEPS)), "-q"]) in (0, 1)
    told: list[dict[str, Any]] = []
    frames = 0
    with training(seen, "--total-steps", str(STEPS)) as (process, address):
        page = Page(address)
        assert page.last["hello"]["mode"] == "training"
        try:
            while True:
                page.last.clear()
                page.read()
                frames += "TLF1" in page.last
                if "run" in page.last:
                    told.append(page.last["run"])
        except (ConnectionClosed, TimeoutError):
            pass
        assert process.stderr is not None
        said = process.stderr.read()
        # without a terminal the page ends with the run, also where it is open
        assert process.wait(30.0) in (0, 1), said
    assert log_of(seen) == log_of(alone)
    weights = [json.loads((path / "summary.json").read_text())["weights_sha256"] for path in (seen, alone)]
    assert weights[0] == weights[1]
    assert (seen / "policy.onnx").read_bytes() == (alone / "policy.onnx").read_bytes()
    assert frames > 0
    rows: list[list[float]] = []
    for message in told:
        rows[message["from"] :] = message["rows"]
    steps = [line["env_steps"] for line in log_of(seen)]
    assert [row[0] for row in rows] == steps[: len(rows)] and rows


@pytest.mark.thorough
def test_a_signal_ends_a_watched_run_as_any_other(tmp_path: Path) -> None:
    with training(tmp_path / "run", "--total-steps", "1000000") as (process, address):
        page = Page(address)
        page.until(lambda: page.last.get("run", {}).get("updates", 0) >= 2)
        assert page.last["run"]["stage"] == "ppo" and page.last["run"]["left_s"] > 0.0
        assert {one["name"] for one in page.last["run"]["evaluations"]} >= {"mean return"}
        refused = page.ask("speed", ticks_per_s=None)
        assert not refused["ok"] and "at most 60 ticks a second" in refused["error"]
        assert page.ask("speed", ticks_per_s=60.0)["ok"]
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait(30.0) == 128 + signal.SIGINT, said
        assert "go on with: townlet train --resume" in said


def test_a_port_that_is_taken_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(typed(tmp_path / "run", "--total-steps", str(STEPS), "--live", "--live-port", port)) == 2
    assert f"got 127.0.0.1 port {port}" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--live-port", "0"], "--live-port: has no effect without --live"),
        (["--live", "--seeds", "2"], "--live: shows one run"),
    ],
)
def test_what_cannot_be_seen_is_refused(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(typed(tmp_path / "run", "--total-steps", str(STEPS), *options)) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.fixture
def over(monkeypatch: pytest.MonkeyPatch) -> SeenRun:
    """A run that has ended while somebody watched it, at a terminal."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(seen_module, "_GRACE_S", 0.2)
    monkeypatch.setattr(seen_module, "_NAP_S", 0.02)
    stage = stage_of(town())
    stage.watched_by(1)
    seen = SeenRun(stage, Console(json=False, verbose=False, quiet=True))
    seen._over = True
    return seen


def stays(seen: SeenRun, then: Callable[[], object]) -> bool:
    """Whether the page is still there when `then` is done, and gone soon after."""
    done = threading.Event()

    def end() -> None:
        done.set()
        then()

    timer = threading.Timer(0.5, end)
    timer.start()
    seen.stay()
    timer.cancel()
    return done.is_set()


def test_the_page_of_a_run_that_is_over_stays_until_it_is_closed(over: SeenRun) -> None:
    assert stays(over, lambda: over._stage.watched_by(0))
    assert not stays(over, lambda: None)  # nobody is there any more


def test_the_page_of_a_run_that_is_over_stays_until_ctrl_c(over: SeenRun) -> None:
    assert stays(over, lambda: os.kill(os.getpid(), signal.SIGINT))


def test_without_a_terminal_the_page_ends_with_its_run(over: SeenRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    assert not stays(over, lambda: None)
