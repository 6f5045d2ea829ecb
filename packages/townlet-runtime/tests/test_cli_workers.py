"""`townlet train --processes 2` and `--workers N`: the same run as in one process, wherever it was broken off."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_run import arguments, trained

from townlet_runtime import training_worlds
from townlet_runtime.cli import main
from townlet_runtime.cli.training import workers
from townlet_runtime.core.evaluator import Evaluator
from townlet_runtime.core.rollouts import Collector
from townlet_runtime.workers.collecting import PooledCollector
from townlet_runtime.workers.pool import WorkerPool
from townlet_runtime.workers.units import DividedCollector
from townlet_training import WALL_TIME_KEYS
from townlet_trajectory.evaluation.interfaces import Collected

pytestmark = pytest.mark.usefixtures("undrawn")

MAX_SECONDS = 600.0
MORE = [
    "-q",
    "--set",
    "training.final_episodes=40",
    "--set",
    "promotion.num_episodes=40",
    "--set",
    "gates.kept_fraction=0",
]
"""Forty episodes in worlds of two: twenty waves, for both processes to play some."""


class Killed(BaseException):
    """Stands for `kill -9`."""


class BreaksAfter(Collector):
    """Ends its process at the beginning of a collection."""

    left = 0

    def collect(self, *arguments: Any, **more: Any) -> Collected:
        if BreaksAfter.left == 0:
            raise Killed
        BreaksAfter.left -= 1
        return super().collect(*arguments, **more)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[WorkerPool]:
    """The pools that commands begin."""
    found: list[WorkerPool] = []

    class Noted(WorkerPool):
        def __init__(self, *arguments: Any, **more: Any) -> None:
            super().__init__(*arguments, **more)
            found.append(self)

    monkeypatch.setattr(workers, "WorkerPool", Noted)
    return found


def record_of(run_dir: Path) -> dict[str, Any]:
    """All that a run came to, but for how long it took."""
    files: dict[str, Any] = {
        name: (run_dir / name).read_bytes()
        for name in ("config.yaml", "evaluation.json", "promotion.json", "policy.onnx")
    }
    summary = json.loads((run_dir / "summary.json").read_text())
    files["summary"] = {key: value for key, value in summary.items() if key not in WALL_TIME_KEYS}
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    files["log"] = [{key: value for key, value in row.items() if key not in WALL_TIME_KEYS} for row in rows]
    files["begun"] = json.loads((run_dir / "begun.json").read_text())
    return files


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    assert main(arguments(run_dir, "--processes", "1", *MORE)) in (0, 1)
    return run_dir


@pytest.mark.thorough
def test_two_processes_come_to_what_one_comes_to(alone: Path, tmp_path: Path, begun: list[WorkerPool]) -> None:
    assert main(arguments(tmp_path / "run", "--processes", "2", *MORE)) in (0, 1)
    assert len(begun) == 1
    assert record_of(tmp_path / "run") == record_of(alone)


@pytest.mark.thorough
def test_a_second_process_meets_the_same_opponents(
    tmp_path: Path, begun: list[WorkerPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    roles = ["--group", "past=1", "--group", "fixed=1", "--opponent", "past=past(1)"]
    roles += ["--opponent", f"fixed={trained()[0]}", "-q", "--set", "gates.kept_fraction=0"]
    roles += ["--set", "training.unit_worlds=1"]
    assert main(arguments(tmp_path / "1", "--processes", "1", *roles)) in (0, 1)
    # This process plays nothing, but waits for the other.
    monkeypatch.setattr(WorkerPool, "take", lambda self, tasks: None)
    monkeypatch.setattr(Evaluator, "_score", None)
    assert main(arguments(tmp_path / "2", "--processes", "2", *roles)) in (0, 1)
    assert len(begun) == 1
    assert record_of(tmp_path / "2") == record_of(tmp_path / "1")
    # Workers that collect meet them too.
    monkeypatch.setattr(DividedCollector, "collect", None)
    assert main(arguments(tmp_path / "3", "--workers", "2", *roles)) in (0, 1)
    assert record_of(tmp_path / "3") == record_of(tmp_path / "1")


@pytest.mark.parametrize(("before", "after"), [("2", "1"), ("1", "2")])
@pytest.mark.thorough
def test_a_killed_run_goes_on_with_another_number_of_processes(
    before: str, after: str, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(training_worlds, "Collector", BreaksAfter)
        patch.setattr(BreaksAfter, "left", 4)
        with pytest.raises(Killed):
            main(arguments(run_dir, "--processes", before, *MORE))
    assert main(["train", "--resume", str(run_dir), "--processes", after, "-q"]) in (0, 1)
    assert record_of(run_dir) == record_of(alone)


def test_a_run_that_is_too_small_for_it_has_no_second_process(tmp_path: Path, begun: list[WorkerPool]) -> None:
    assert main(arguments(tmp_path / "run", *MORE)) in (0, 1)
    assert not begun


def test_one_with_enough_to_play_has_one_where_the_cpus_carry_it(
    tmp_path: Path, begun: list[WorkerPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "WORTH_TICKS", 6 * 40 * 40)
    monkeypatch.setattr(workers, "default_processes", lambda threads: 2 if threads == 1 else 0)
    assert main(arguments(tmp_path / "run", *MORE)) in (0, 1)
    assert len(begun) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.thorough
def test_a_signal_ends_both_processes_while_the_second_one_plays(tmp_path: Path, number: int, code: int) -> None:
    run_dir = tmp_path / "run"
    # So many episodes are played ahead that the second process is never done with them.
    endless = [
        "--total-steps",
        "2000000",
        "--set",
        "anneal.max_retries=1000",
        "--set",
        "training.final_episodes=100000",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "townlet_runtime", *arguments(run_dir, "--processes", "2", *endless)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log, deadline = run_dir / "metrics.jsonl", time.monotonic() + MAX_SECONDS
    while not (log.exists() and log.stat().st_size) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
    (other,) = [child for task in tasks for child in task.read_text().split()]
    assert b"townlet_runtime.cli.training.worker\0" in Path(f"/proc/{other}/cmdline").read_bytes()
    process.send_signal(number)
    out, err = process.communicate(timeout=MAX_SECONDS)
    assert process.returncode == code, err
    assert out == "" and "stopped at" in err and "Traceback" not in err
    assert not Path(f"/proc/{other}").exists()
    (kept,) = [line.rsplit(" ", 1)[1] for line in err.splitlines() if line.startswith("stopped at")]
    assert Path(kept).is_dir()


UNITS = [*MORE, "--num-envs", "4", "--total-steps", "1200", "--set", "training.unit_worlds=2", "--processes", "1"]


@pytest.fixture(scope="module")
def collected_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    assert main(arguments(run_dir, *UNITS)) in (0, 1)
    return run_dir


def test_workers_come_to_what_one_process_comes_to(
    collected_alone: Path, tmp_path: Path, begun: list[WorkerPool]
) -> None:
    assert main(arguments(tmp_path / "run", *UNITS, "--workers", "2")) in (0, 1)
    assert [pool.size for pool in begun] == [2]
    assert record_of(tmp_path / "run") == record_of(collected_alone)


@pytest.mark.skipif(sys.platform == "win32", reason="kills with a signal")
@pytest.mark.thorough
def test_a_run_whose_workers_are_killed_comes_to_the_same(
    collected_alone: Path, tmp_path: Path, begun: list[WorkerPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    collected = PooledCollector.collect
    kills: list[int] = []

    def collect(self: PooledCollector, *asked: Any, **more: Any) -> Collected:
        (pool,) = begun
        # One that was killed may not be replaced yet.
        alive = [link.pid for link in pool.links() if link.pid not in kills]
        if alive and len(kills) < 4:
            os.kill(alive[0], signal.SIGKILL)
            kills.append(alive[0])
        return collected(self, *asked, **more)

    monkeypatch.setattr(PooledCollector, "collect", collect)
    assert main(arguments(tmp_path / "run", *UNITS, "--workers", "2")) in (0, 1)
    assert len(kills) == 4
    assert record_of(tmp_path / "run") == record_of(collected_alone)


@pytest.mark.parametrize(("before", "after"), [pytest.param("0", "2", marks=pytest.mark.thorough), ("2", "0")])
def test_a_run_goes_on_with_another_number_of_workers(
    before: str, after: str, collected_alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = tmp_path / "run"
    with monkeypatch.context() as patch:
        for each in (DividedCollector, PooledCollector):
            patch.setattr(each, "collect", broken_after(3, each.collect))
        with pytest.raises(Killed):
            main(arguments(run_dir, *UNITS, "--workers", before))
    assert main(["train", "--resume", str(run_dir), "--workers", after, "--processes", "1", "-q"]) in (0, 1)
    assert record_of(run_dir) == record_of(collected_alone)


def broken_after(count: int, collect: Callable[..., Collected]) -> Callable[..., Collected]:
    """Collect so often, and then end the process."""
    left = [count]

    def counted(*asked: Any, **more: Any) -> Collected:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return collect(*asked, **more)

    return counted


@pytest.mark.thorough
def test_a_run_that_collects_ahead_says_how_old_its_policies_were_and_resumes_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = [*UNITS, "--set", "training.collect_ahead=1", "--set", "anneal.max_retries=0"]
    assert main(arguments(tmp_path / "whole", *ahead, "--workers", "2")) in (0, 1)
    log = record_of(tmp_path / "whole")["log"]
    assert [row["policy_age"] for row in log][:3] == [0, 1, 1]
    with monkeypatch.context() as patch:
        patch.setattr(PooledCollector, "collect", broken_after(4, PooledCollector.collect))
        with pytest.raises(Killed):
            main(arguments(tmp_path / "run", *ahead, "--workers", "1"))
    assert main(["train", "--resume", str(tmp_path / "run"), "--workers", "2", "--processes", "1", "-q"]) in (0, 1)
    assert record_of(tmp_path / "run") == record_of(tmp_path / "whole")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--set", "training.unit_worlds=3", "--num-envs", "4"], "`unit_worlds` must divide `num_envs` 4, got 3"),
        (["--set", "training.collect_ahead=1", "--mode", "dagger"], "`collect_ahead` is for the modes anneal and ppo"),
        (
            ["--set", "training.collect_ahead=1", "--set", "anneal.adaptive_ratio=true"],
            "needs ratios that are known ahead",
        ),
    ],
)
def test_what_units_cannot_be_is_refused(
    more: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(tmp_path / "run", "-q", *more)) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
