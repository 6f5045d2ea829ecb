"""`townlet train`, `run` and `evaluate` from end to end, on a very small job."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from townlet_trajectory.formats.captures.directory import read_captures

Run = Callable[..., "CompletedProcess[str]"]
RUN_DIRECTORY = {
    "begun.json",
    "config.yaml",
    "metrics.jsonl",
    "checkpoints",
    "policy.onnx",
    "policy.vectors.json",
    "cloning.json",
    "evaluation.json",
    "promotion.json",
    "summary.json",
    "report.html",
    "manifest.json",
}
SUMMARY_KEYS = set(
    "schema_version mode env preset seed threads env_steps agent_steps wall_time_s env_steps_per_s acting eval_episodes"
    " eval_return_mean eval_return_iqm eval_return_ci baseline_return_means"
    " clone_return_mean clone_accuracies improvement_mean improvement_ci improvement_normalized promotion"
    " policy_sha256 policies_sha256 weights_sha256 controller config_sha256 versions".split()
)
METRIC_KEYS = set(
    "epoch updates transitions loss_policy loss_value loss_entropy loss_total clip_fraction adv_mean adv_std"
    " adv_zero_std_batches adv_min_std clip_triggered_minibatches clip_fraction_max grad_norm kl_divergence"
    " telemetry_version lr steps epoch_duration_sec data_mode cycle_id batch_entropy_mean batch_entropy_std"
    " grad_norm_max kl_divergence_max reward_advantage_corr rollout_ticks log_stream_offset queue_conflict_events"
    " queue_conflict_intensity_sum shared_meal_events late_help_events shift_takeover_events chat_success_events"
    " chat_failure_events chat_quality_mean anneal_cycle anneal_stage anneal_dataset anneal_bc_accuracy"
    " anneal_bc_threshold anneal_bc_passed anneal_loss_baseline anneal_queue_baseline anneal_intensity_baseline"
    " anneal_loss_flag anneal_queue_flag anneal_intensity_flag".split()
)
WALL_TIME = {"epoch_duration_sec", "wall_time_s", "env_steps_per_s"}
SETTINGS = {
    "town.agents": 4,
    "town.episode_ticks": 60,
    "anneal.clone_ticks": 120,
    "anneal.warmup_updates": 1,
    "gates.kept_fraction": 0,
    "training.rollout_ticks": 32,
    "training.bc.epochs": 2,
    "training.anneal_accuracy_threshold": 0,
    "network.hidden_sizes": "[16]",
    "training.eval_episodes": 10,
    "training.final_episodes": 10,
    "promotion.num_episodes": 10,
    "gates.num_resamples": 200,
    "promotion.num_resamples": 200,
}
SMALL = ["--total-steps", 900, "--num-envs", 2, "--eval-every", 3, "--threads", 1]
SMALL += [argument for key, value in SETTINGS.items() for argument in ("--set", f"{key}={value}")]


def train(townlet: Run, run_dir: Path, *arguments: str | int) -> CompletedProcess[str]:
    return townlet("train", "--run-dir", run_dir, *SMALL, *arguments, "--json")


def rows(run_dir: Path) -> list[dict[str, float | str | None]]:
    lines = (run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line, parse_constant=pytest.fail) for line in lines]


def refusal(done: CompletedProcess[str]) -> str:
    """The one line of a command that was refused."""
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


@pytest.fixture(scope="module")
def trained(townlet: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CompletedProcess[str]]:
    run_dir = tmp_path_factory.mktemp("runs") / "first"
    return run_dir, train(townlet, run_dir, "--seed", 1)


@pytest.fixture(scope="module")
def run_dir(trained: tuple[Path, CompletedProcess[str]]) -> Path:
    return trained[0]


def test_training_leaves_exactly_the_run_directory(trained: tuple[Path, CompletedProcess[str]]) -> None:
    run_dir, done = trained
    assert done.returncode in (0, 1), done.stderr  # so small a run need not beat the script
    assert {path.name for path in run_dir.iterdir()} == RUN_DIRECTORY


def test_the_summary_is_printed_and_kept(trained: tuple[Path, CompletedProcess[str]]) -> None:
    run_dir, done = trained
    summary = json.loads((run_dir / "summary.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert json.loads(done.stdout) == {**summary, "run_dir": str(run_dir)}
    assert SUMMARY_KEYS <= summary.keys()
    assert (summary["mode"], summary["env"], summary["seed"], summary["threads"]) == ("anneal", "town", 1, 1)


def test_the_log_has_every_key_and_finite_numbers(run_dir: Path) -> None:
    written = rows(run_dir)
    assert len(written) >= 3
    for number, row in enumerate(written, start=1):
        assert METRIC_KEYS <= row.keys()
        assert row["epoch"] == number
        assert all(math.isfinite(value) for value in row.values() if isinstance(value, float))
    assert written[0]["stage"] == "warmup"


def test_the_report_loads_nothing(run_dir: Path) -> None:
    page = (run_dir / "report.html").read_text(encoding="utf-8")
    loads = re.findall(r"""(?:src|href)\s*=\s*["']?([^"'\s>]+)|url\(\s*["']?([^"')]+)""", page)
    assert [a or b for a, b in loads if not (a or b).startswith(("data:", "#"))] == []


def test_the_same_seed_gives_the_same_run(run_dir: Path, townlet: Run, tmp_path: Path) -> None:
    again, other = tmp_path / "again", tmp_path / "other"
    with ThreadPoolExecutor() as pool:  # two processes, side by side
        list(pool.map(lambda folder, seed: train(townlet, folder, "--seed", seed), (again, other), (1, 2)))

    def weights(folder: Path) -> str:
        digest = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["weights_sha256"]
        assert isinstance(digest, str)
        return digest

    def log(folder: Path) -> list[dict[str, float | str | None]]:
        return [{key: value for key, value in row.items() if key not in WALL_TIME} for row in rows(folder)]

    assert weights(again) == weights(run_dir)
    assert log(again) == log(run_dir)
    assert weights(other) != weights(run_dir)


def test_run_acts_with_the_policy(run_dir: Path, townlet: Run) -> None:
    done = townlet("run", "--policy", run_dir, "--ticks", 20, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    expected = {"ticks", "agents", "ticks_per_s", "agent_decisions_per_s", "sources", "mean_reward"}
    assert expected <= result.keys()
    assert result["ticks"] == 20
    assert result["sources"]["scripted"] == 0
    assert result["sources"]["learned"] > 0


def test_run_takes_another_population(townlet: Run) -> None:
    result = json.loads(townlet("run", "--ticks", 5, "--set", "town.agents=50", "--json").stdout)
    assert result["agents"] == 50


def test_recorded_steps_can_be_read(run_dir: Path, townlet: Run, tmp_path: Path) -> None:
    done = townlet("run", "--policy", run_dir, "--ratio", "0.5", "--ticks", 20, "--record", tmp_path / "captures")
    assert done.returncode == 0, done.stderr
    (manifest,) = (tmp_path / "captures").glob("*_manifest.json")
    batch = read_captures(manifest).batch()
    assert batch.num_steps >= 20
    assert {0, 1} <= set(batch.columns["source"].tolist())


def test_evaluate_compares_on_the_same_episodes(run_dir: Path, townlet: Run) -> None:
    done = townlet("evaluate", run_dir, "--episodes", 3, "--json")
    assert done.returncode in (0, 1), done.stderr
    assert isinstance(json.loads(done.stdout), dict)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["run", "--set", "town.agnets=3"], "town.agents"),
        (["run", "--set", "ppo.gamma=5"], "ppo.gamma"),
        (["run", "--set", "town.agents=many"], "town.agents"),
        (["run", "--policy", "missing.onnx"], "missing.onnx"),
        (["run", "missing.yaml"], "missing.yaml"),
        (["run", "--ratio", "2"], "--ratio"),
        (["run", "--colour"], "--colour"),
        (["train", "--preset", "nowhere"], "nowhere"),
        (["evaluate", "missing"], "missing"),
    ],
)
def test_wrong_input_is_named_in_one_line(arguments: list[str], named: str, townlet: Run, tmp_path: Path) -> None:
    assert named in refusal(townlet(*arguments, cwd=tmp_path))


def test_a_run_directory_is_not_written_over(run_dir: Path, townlet: Run) -> None:
    before = (run_dir / "summary.json").read_bytes()
    assert run_dir.name in refusal(train(townlet, run_dir))
    assert (run_dir / "summary.json").read_bytes() == before
