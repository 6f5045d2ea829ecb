"""`townlet train --seeds`: runs side by side, their progress, their end and their comparison."""

import json
import math
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tiny_run import OPTIONS, SETTINGS, trained

from townlet_runtime.cli import main
from townlet_runtime.cli.commands.train_many import SeedPool, SeedRun, carry_out, progress_lines, time_left
from townlet_runtime.runs.directory import require_resumable

pytestmark = pytest.mark.usefixtures("undrawn")

SMALL = [*OPTIONS, *[part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]]


def fake(folder: Path, seed: int, code: str) -> SeedRun:
    """A run whose process is a line of Python."""
    return SeedRun(seed=seed, path=folder / f"seed-{seed}", command=[sys.executable, "-c", code])


def pool_of(runs: Sequence[SeedRun], jobs: int) -> SeedPool:
    return SeedPool(runs=runs, jobs=jobs, unchanged=lambda: True)


def never() -> bool:
    return False


def nothing(_: Sequence[str]) -> None:
    """Show nothing."""


def test_as_many_are_alive_as_was_asked_for(tmp_path: Path) -> None:
    waits = "import time; time.sleep(0.4)"
    pool, alive = pool_of([fake(tmp_path, seed, waits) for seed in range(5)], 2), []
    carry_out(pool, never, lambda lines: alive.append(sum(line.startswith("seed ") for line in lines)))
    assert max(alive) == 2
    assert [run.code for run in pool.runs] == [0] * 5


def test_one_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    pool = pool_of([fake(tmp_path, 0, "raise SystemExit(2)"), fake(tmp_path, 1, ""), fake(tmp_path, 2, "1 / 0")], 1)
    carry_out(pool, never, nothing)
    assert [run.code for run in pool.runs] == [2, 0, 1]
    assert "ZeroDivisionError" in pool.runs[2].log.read_text()


def test_a_killed_process_has_the_code_of_a_shell(tmp_path: Path) -> None:
    pool = pool_of([fake(tmp_path, 0, "import os; os.kill(os.getpid(), 9)")], 1)
    carry_out(pool, never, nothing)
    assert pool.runs[0].code == 128 + 9


STOPPABLE = "import signal, time; signal.signal(15, lambda *_: exit(7)); print('up', flush=True); time.sleep(60)"


def test_the_end_is_asked_for_once_and_nothing_else_begins(tmp_path: Path) -> None:
    runs = [fake(tmp_path, seed, STOPPABLE) for seed in range(3)]
    pool = pool_of(runs, 2)
    carry_out(pool, lambda: all(run.log.exists() and run.log.read_text() for run in runs[:2]), nothing)
    # Each of the two had the time to end as it wanted to; the third was not begun.
    assert [run.code for run in runs] == [7, 7, None]
    assert not runs[2].log.exists()


def test_a_second_signal_ends_them_at_once(tmp_path: Path) -> None:
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    run = fake(tmp_path, 0, stubborn)

    def interrupted(_: Sequence[str]) -> None:
        if run.log.exists() and run.log.read_text():
            raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        carry_out(pool_of([run], 1), never, interrupted)
    assert run.code == 128 + 9 and time.monotonic() - begun < 50


def test_a_config_that_changes_meanwhile_is_used_by_none(tmp_path: Path) -> None:
    pool = SeedPool(runs=[fake(tmp_path, 0, "")], jobs=1, unchanged=never)
    carry_out(pool, never, nothing)
    assert pool.runs[0].code == 2
    assert "the config was changed" in pool.runs[0].log.read_text()


def test_progress_is_a_line_for_each(tmp_path: Path) -> None:
    runs = [fake(tmp_path, seed, "") for seed in range(4)]
    for run, log in zip(runs, ("", "ppo: 500 of 2,000 env steps, 50/s, 30 s left, return 3.2\nnoise\n"), strict=False):
        run.begun, run.process = 100.0, subprocess.Popen([sys.executable, "-c", ""])
        run.process.wait()
        run.log.write_text(log)
    assert progress_lines(runs, 2, 110.0) == [
        "seed 0: begins",
        "seed 1: ppo: 500 of 2,000 env steps, 50/s, 30 s left, return 3.2",
        "0 of 4 runs ended",
    ]
    runs[0].log.write_text("x: 1,000 of 2,000 env steps\n")
    runs[0].code, runs[0].took = 0, 20.0
    # Seed 1 takes 40 s, of which 10 are over; of the two that wait, each takes (20 + 40) / 2 = 30 s: one begins now.
    assert progress_lines(runs, 2, 110.0)[-1] == "1 of 4 runs ended, about 1 min 00 s left"


def test_a_run_that_is_judged_is_not_done(tmp_path: Path) -> None:
    run = fake(tmp_path, 0, "")
    run.begun, run.process = 100.0, subprocess.Popen([sys.executable, "-c", ""])
    run.process.wait()
    run.log.write_text("judge: 2,000 of 2,000 env steps, 50/s, 1 min 04 s left\n")
    # All steps are made, and yet 64 s are left, as the run itself says.
    assert progress_lines([run], 1, 110.0)[-1] == "0 of 1 runs ended, about 1 min 04 s left"


@pytest.mark.parametrize(
    ("ended", "alive", "waiting", "jobs", "left"),
    [
        ([], [], 0, 2, 0.0),
        ([], [(10.0, 0.5), (10.0, 0.25)], 0, 2, 30.0),
        ([], [(10.0, 0.0)], 0, 2, None),
        ([10.0], [], 4, 2, 20.0),
        ([10.0], [], 3, 2, 20.0),
        ([], [], 3, 2, None),
        # 20 s each: 10 left of the first, then one more; 15 left of the second, then one more
        ([], [(10.0, 0.5), (5.0, 0.25)], 2, 2, 35.0),
    ],
)
def test_time_left_by_hand(
    ended: list[float], alive: list[tuple[float, float]], waiting: int, jobs: int, left: float | None
) -> None:
    assert time_left(ended=ended, alive=alive, waiting=waiting, jobs=jobs) == (
        None if left is None else pytest.approx(left)
    )


def test_several_runs_are_normal_runs_and_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, code = trained()
    many = tmp_path / "many"
    found = main(["train", "--seeds", "0,3", "--jobs", "2", "--run-dir", str(many), *SMALL, "--json"])
    record = json.loads(capsys.readouterr().out)
    assert [(run["seed"], run["run_dir"]) for run in record["runs"]] == [(s, str(many / f"seed-{s}")) for s in (0, 3)]
    assert found == max(run["exit_code"] for run in record["runs"]) and record["runs"][0]["exit_code"] == code
    (group,) = record["comparison"]["groups"]
    assert [run["seed"] for run in group["runs"]] == [0, 3]
    summaries = [json.loads((path / "summary.json").read_text()) for path in (one, many / "seed-0", many / "seed-3")]
    assert summaries[0]["weights_sha256"] == summaries[1]["weights_sha256"] != summaries[2]["weights_sha256"]
    # A folder whose runs have finished has nothing left to do.
    assert main(["train", "--resume", str(many), "--seeds", "0,3", *SMALL]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("mean return") and lines[-1] == f"runs: {many}"


def test_a_failed_run_is_named_at_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, _ = trained()
    shutil.copytree(one, tmp_path / "seed-0")
    (tmp_path / "seed-1").mkdir()
    (tmp_path / "seed-1" / "something").write_text("of mine")
    assert main(["train", "--resume", str(tmp_path), "--seeds", "0-1", *SMALL]) == 2
    out, err = capsys.readouterr()
    assert "seed 1 failed with exit code 2:" in err and "exists and is not empty" in err and "seed-1.log" in err
    assert out.startswith("mean return")


@pytest.mark.thorough
def test_a_signal_ends_all_and_says_how_to_go_on(tmp_path: Path) -> None:
    many = tmp_path / "many"
    command = [
        sys.executable,
        "-m",
        "townlet_runtime",
        "train",
        "--seeds",
        "0,3",
        "--jobs",
        "2",
        "--run-dir",
        str(many),
    ]
    more = [*SMALL, "--total-steps", "1000000"]
    process = subprocess.Popen([*command, *more], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    wait_for(lambda: all((many / f"seed-{seed}" / "metrics.jsonl").exists() for seed in (0, 3)))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130 and out == ""
    assert "stopped with 0 of 2 runs finished" in err
    (line,) = [line for line in err.splitlines() if line.startswith("go on with: ")]
    assert f"townlet train --resume {many} --seeds 0,3 --jobs 2 --threads 1 " in line
    assert "--total-steps 1000000" in line and "--set town.agents=3" in line
    for seed in (0, 3):
        require_resumable(many / f"seed-{seed}")  # no process holds it
        assert "go on with: townlet train --resume" in (many / f"seed-{seed}.log").read_text()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_contradictions_are_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "config.yaml").write_text("{}")
    new = tmp_path / "new"
    for arguments, problem in (
        (["--seeds", "0-1", "--seed", "3"], "--seed 3: --seeds names all of them"),
        (["--jobs", "2"], "--jobs: runs side by side are those of --seeds"),
        (["--seeds", "0-1", "--set", "town.agents=-1"], "town.agents=-1"),
        (["--seeds", "0-1", "--env", "nowhere"], "nowhere"),
        (["--seeds", "0-1", "--ppo-log", "log"], "--ppo-log: several runs would write to the same place"),
        (["--seeds", "4-2"], "expected a range of 1 to 1000 seeds, got 4-2"),
        (["--seeds", "1,1"], "expected each seed once"),
        (["--seeds", "a"], "expected a whole number"),
        (["--seeds", "0", "--resume", str(tmp_path / "one")], "the directory of one run, not of several"),
    ):
        assert main(["train", "--run-dir", str(new), *arguments]) == 2
        out, err = capsys.readouterr()
        assert (out, len(err.splitlines())) == ("", 1) and problem in err, (arguments, err)
    assert not new.exists() and math.isnan(fake(tmp_path, 0, "").begun)
