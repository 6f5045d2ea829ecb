"""The command on environments of other people that need libraries of their own, and runs that are killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

Run = Callable[..., "CompletedProcess[str]"]
WALL_TIME = {"epoch_duration_sec", "wall_time_s", "env_steps_per_s"}
GROUPS = "pettingzoo:mpe2.simple_speaker_listener_v4"
MAX_SECONDS = 120.0

TINY = {
    "network.hidden_sizes": "[8]",
    "training.eval_episodes": 10,
    "training.final_episodes": 10,
    "gates.num_resamples": 100,
    "promotion.num_resamples": 100,
}
TOWN = {
    **TINY,
    "town.agents": 4,
    "town.episode_ticks": 60,
    "anneal.clone_ticks": 120,
    "anneal.warmup_updates": 1,
    "gates.kept_fraction": 0,
    "training.rollout_ticks": 16,
    "training.bc.epochs": 1,
    "training.anneal_accuracy_threshold": 0,
    "promotion.num_episodes": 10,
    "training.eval_every": 4,
}


def settings(values: dict[str, object]) -> list[str]:
    return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]


def test_the_lunar_lander_has_a_script(townlet: Run) -> None:
    done = townlet("run", "--env", "gymnasium:LunarLander-v3", "--ticks", 50, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sources"] == {"scripted": 50, "learned": 0, "external": 0}


def test_the_town_is_one_of_the_environments_and_takes_a_script_there(townlet: Run, tmp_path: Path) -> None:
    (tmp_path / "still.py").write_text(
        "from townlet_runtime import ObservationController\n\n\n"
        "def script(spec):\n    return ObservationController(lambda observations, agent_id: 0)\n"
    )
    done = townlet("run", "--env", "pettingzoo:town", "--controller", "still:script", "--ticks", 5, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].startswith("10 agents, ")


def test_agents_with_unequal_spaces_learn_side_by_side(townlet: Run, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    options = ["--env", GROUPS, "--run-dir", run_dir, "--total-steps", 300, "--num-envs", 4, "--threads", 1]
    done = townlet("train", *options, *settings(TINY), "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["env"], summary["preset"], summary["mode"]) == (GROUPS, GROUPS, "ppo")
    assert summary["policies_sha256"].keys() == {"speaker", "listener"}
    assert {path.name for path in run_dir.glob("*.onnx")} == {"policy-speaker.onnx", "policy-listener.onnx"}
    done = townlet("evaluate", run_dir, "--episodes", 3, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["scores"].keys() == {"learned", "random"}
    done = townlet("run", "--policy", run_dir, "--ticks", 30, "--json")
    assert json.loads(done.stdout)["sources"] == {"scripted": 0, "learned": 60, "external": 0}


def record_of(run_dir: Path) -> dict[str, object]:
    """What a run came to, apart from how long it took."""
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    summary = json.loads((run_dir / "summary.json").read_text(encoding="utf-8"))
    return {
        "log": [{key: value for key, value in row.items() if key not in WALL_TIME} for row in rows],
        "summary": {key: value for key, value in summary.items() if key not in WALL_TIME},
        "evaluation": (run_dir / "evaluation.json").read_text(encoding="utf-8"),
        "promotion": (run_dir / "promotion.json").read_text(encoding="utf-8"),
    }


def test_a_run_that_is_killed_twice_comes_to_the_same_end(townlet: Run, tmp_path: Path) -> None:
    options = ["--total-steps", "1200", "--num-envs", "2", "--threads", "1", "--seed", "3", *settings(TOWN)]
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    assert townlet("train", "--run-dir", unbroken, *options).returncode in (0, 1)

    log = broken / "metrics.jsonl"
    kill_when(log, 5, ["train", "--run-dir", str(broken), *options])
    kill_when(log, 14, ["train", "--resume", str(broken), "--threads", "1"])
    done = townlet("train", "--resume", broken, "--threads", 1)
    assert done.returncode in (0, 1), done.stderr
    assert done.stderr.startswith(f"{broken}: going on at ")
    assert record_of(broken) == record_of(unbroken)


def kill_when(log: Path, lines: int, arguments: list[str]) -> None:
    """Start the command, and kill it as soon as the log has so many lines."""
    process = subprocess.Popen(
        [sys.executable, "-m", "townlet_runtime", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + MAX_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if log.exists() and log.read_bytes().count(b"\n") >= lines:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.005)
    assert process.wait(MAX_SECONDS) == -signal.SIGKILL, "it ended before it was killed"
