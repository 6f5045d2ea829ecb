import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_run import arguments, trained

from townlet_runtime import training
from townlet_runtime.cli import main
from townlet_runtime.cli.console import Console
from townlet_runtime.cli.threads import AUTO_THREADS
from townlet_runtime.cli.training.plan import TrainOptions, plan_of, settings_of
from townlet_runtime.config import load_config
from townlet_runtime.runs.directory import file_sha256
from townlet_runtime.runs.records import CloningFile, EvaluationFile, PromotionFile, SummaryFile
from townlet_training import read_checkpoint

FILES = {"begun.json", "config.yaml", "metrics.jsonl", "checkpoints", "policy.onnx", "cloning.json", "evaluation.json"}
FILES |= {"policy.vectors.json", "promotion.json", "summary.json", "report.html", "manifest.json"}
MAX_SECONDS = 120.0


def refusal(capsys: pytest.CaptureFixture[str], command: list[str]) -> str:
    assert main(command) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("townlet: error: ") and err.count("\n") == 1
    return err


def test_a_run_directory_holds_exactly_its_files() -> None:
    run_dir, code = trained()
    assert {path.name for path in run_dir.iterdir()} == FILES
    decision = PromotionFile.read(run_dir / "promotion.json").decision
    assert code == (1 if decision == "FAIL" else 0)


def test_its_policy_acts_in_its_town(capsys: pytest.CaptureFixture[str]) -> None:
    run_dir, _ = trained()
    assert main(["run", "--policy", str(run_dir), "--ticks", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["agents"], found["sources"]["learned"]) == (3, 15)


def test_the_summary_says_what_the_run_was() -> None:
    run_dir, _ = trained()
    summary = SummaryFile.read(run_dir / "summary.json")
    assert (summary.mode, summary.env, summary.preset, summary.seed, summary.threads) == (
        "anneal",
        "town",
        "town",
        0,
        1,
    )
    assert (summary.env_steps, summary.eval_episodes, summary.acting) == (360, 10, "greedy")
    assert summary.agent_steps <= 3 * 360
    assert main(["policy", "check", str(run_dir / "policy.onnx"), "-q"]) == 0
    assert summary.policy_sha256 == file_sha256(run_dir / "policy.onnx")
    assert {"townlet-runtime", "torch", "numpy", "python"} <= set(summary.versions)


def test_the_evaluation_agrees_with_the_summary() -> None:
    run_dir, _ = trained()
    evaluation = EvaluationFile.read(run_dir / "evaluation.json")
    summary = SummaryFile.read(run_dir / "summary.json")
    final = evaluation.final
    learned, scripted = final.learned.returns, final.baselines["scripted"].returns
    assert (evaluation.horizon, len(final.learned.seeds)) == (40, 10)
    assert min(final.learned.seeds) >= 2**31
    assert summary.eval_return_mean == pytest.approx(sum(learned) / 10)
    difference = sum(a - b for a, b in zip(learned, scripted, strict=True)) / 10
    assert summary.improvement_mean == pytest.approx(difference) == pytest.approx(final.paired["scripted"].mean)
    assert list(summary.baseline_return_means) == ["scripted", "nearest", "idle", "random"]
    assert final.baselines["idle"].mean == pytest.approx(summary.baseline_return_means["idle"])
    assert len(CloningFile.read(run_dir / "cloning.json").results["agents"].epochs) == 1
    assert evaluation.history[0].env_steps == 200


def test_the_config_is_written_out_and_gives_the_same_run_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir, _ = trained()
    loaded = load_config(run_dir / "config.yaml")
    assert loaded.warning is None
    assert (loaded.config.training["total_env_steps"], loaded.config.town["num_agents"]) == (360, 3)
    assert loaded.config.seed == 0
    again = tmp_path / "again"
    main(["train", str(run_dir / "config.yaml"), "--run-dir", str(again), "--threads", "1", "--json"])
    record = json.loads(capsys.readouterr().out)
    assert record["run_dir"] == str(again)
    assert record["weights_sha256"] == SummaryFile.read(run_dir / "summary.json").weights_sha256
    assert (again / "config.yaml").read_text() == (run_dir / "config.yaml").read_text()


def test_the_other_modes_leave_a_whole_run_directory_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for mode in ("bc", "ppo"):
        run_dir = tmp_path / mode
        assert main(arguments(run_dir, "--mode", mode, "--total-steps", "120", "--seed", "4")) in (0, 1)
        out, _ = capsys.readouterr()
        assert out.startswith(f"{mode}: ")
        assert "learned - scripted: " in out
        assert f"report: {run_dir / 'report.html'}" in out
        summary = SummaryFile.read(run_dir / "summary.json")
        assert (summary.mode, summary.seed) == (mode, 4)
        cloning = set() if mode == "bc" else {"cloning.json"}
        assert {path.name for path in run_dir.iterdir()} | {"metrics.jsonl"} | cloning == FILES


def test_the_log_is_copied_where_no_schedule_is_followed(tmp_path: Path) -> None:
    run_dir, copy = tmp_path / "run", tmp_path / "ppo.jsonl"
    copy.write_text('{"kept": 1}\n')
    more = ("--mode", "ppo", "--total-steps", "240", "-q", "--ppo-log", str(copy), "--ppo-log-frequency", "2")
    assert main(arguments(run_dir, *more)) in (0, 1)
    kept, *lines = copy.read_text().splitlines()
    written = (run_dir / "metrics.jsonl").read_text().splitlines()
    assert kept == '{"kept": 1}' and len(written) >= 4
    assert list(map(json.loads, lines)) == list(map(json.loads, written[1::2]))


def test_an_option_wins_over_the_seed_of_the_scenario_in_the_files_of_the_run_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    options = ("--mode", "bc", "--total-steps", "120", "--set", "scenario.seed=5", "--seed", "4", "-q")
    assert main(arguments(run_dir, *options)) in (0, 1)
    config = load_config(run_dir / "config.yaml").config
    assert (config.seed, config.scenario.seed) == (4, 4)
    summary = SummaryFile.read(run_dir / "summary.json")
    assert summary.seed == 4
    capsys.readouterr()
    # as many episodes as the final score has: the same worlds
    assert main(["evaluate", str(run_dir), "--episodes", "10", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert scores["learned"]["mean"] == pytest.approx(summary.eval_return_mean)
    assert scores["scripted"]["mean"] == pytest.approx(summary.baseline_return_means["scripted"])


def test_without_what_writes_the_report_nothing_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    run_dir = tmp_path / "run"
    assert "install `townlet-runtime[report]`" in refusal(capsys, arguments(run_dir))
    assert not run_dir.exists()


def test_a_directory_with_something_in_it_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").write_text("mine")
    assert f"{tmp_path}: exists and is not empty" in refusal(capsys, arguments(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["--set", "ppo.gama=0.9"], "the nearest known key is `ppo.gamma`"),
        (["--preset", "tow"], "no preset `tow`"),
        (["--total-steps", "3"], "total_env_steps"),
        (["--seed", str(2**31)], "`seed`: must be less than 2147483648, got 2147483648"),
        (
            ["--set", "training.source=replay"],
            "mode replay learns from a record: name one with --replay-manifest or --capture-dir",
        ),
        (["--set", "town.local_window=4"], "odd number of cells"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_written(
    more: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    assert problem in refusal(capsys, arguments(run_dir, *more))
    assert not run_dir.exists()


def test_a_disk_that_fills_up_ends_the_run_in_one_line_and_what_was_written_stays_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = tmp_path / "run"
    write, left = os.write, 40_000

    def limited(descriptor: int, data: bytes) -> int:
        nonlocal left
        if left < len(data):
            raise OSError(errno.ENOSPC, "No space left on device")
        left -= len(data)
        return write(descriptor, data)

    monkeypatch.setattr("townlet_trajectory.storage.files.os.write", limited)
    said = refusal(capsys, [*arguments(run_dir), "-q"])
    assert "No space left on device" in said and str(run_dir) in said
    assert load_config(run_dir / "config.yaml").config.town["num_agents"] == 3
    assert not [path for path in run_dir.rglob("*") if path.name.endswith(".tmp")]


def test_a_signal_ends_the_run_with_a_checkpoint(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    more = ["--total-steps", "2000000", "--set", "anneal.max_retries=1000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "townlet_runtime", *arguments(run_dir, *more)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = run_dir / "metrics.jsonl"
    deadline = time.monotonic() + MAX_SECONDS
    # the log is there, and empty, from the start
    while not (log.exists() and log.stat().st_size) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=MAX_SECONDS)
    assert process.returncode == 130, err
    assert out == ""
    assert "stopped at" in err and "Traceback" not in err
    (kept,) = [line.rsplit(" ", 1)[1] for line in err.splitlines() if line.startswith("stopped at")]
    assert Path(kept).parent == run_dir / "checkpoints"
    assert read_checkpoint(Path(kept)).state.env_steps >= 200
    assert log.read_bytes().endswith(b"\n")


@pytest.mark.parametrize(
    ("asked", "width", "number"), [(None, 128, 1), (None, 1024, 2), (3, 1024, 3), (AUTO_THREADS, 128, 7)]
)
def test_threads_follow_the_network_or_are_named_or_measured(
    asked: int | None, width: int, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "measured_threads", lambda config, specs, *, capacity, cpus: 7)
    options = TrainOptions(threads=asked, settings=[f"network.hidden_sizes=[{width}, {width}]"])
    plan, _ = settings_of(plan_of(options, Console(json=False, verbose=False, quiet=True)))
    assert plan.threads == number


def test_measured_threads_are_noted_and_kept_when_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "measured_threads", lambda config, specs, *, capacity, cpus: 1)
    run_dir = tmp_path / "run"
    more = ("--threads", "auto", "-q")
    assert main(arguments(run_dir, *more)) in (0, 1)
    assert json.loads((run_dir / "begun.json").read_text())["threads"] == 1
    # As if it had been killed before its results were written.
    (run_dir / "manifest.json").unlink()
    monkeypatch.setattr(training, "measured_threads", lambda config, specs, *, capacity, cpus: 2)
    assert main(["train", "--resume", str(run_dir), *more]) in (0, 1)
