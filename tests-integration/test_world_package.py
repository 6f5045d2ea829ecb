"""The package in `examples/orchard_package`, built and installed, through every command by the names it registers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from townlet_trajectory.formats.open import open_dataset

PACKAGE = Path(__file__).resolve().parent.parent / "examples" / "orchard_package"
SMALL = (
    "--num-envs", "2", "--threads", "1", "--total-steps", "1200", "--seed", "1",
    "--set", "network.hidden_sizes=[8]", "--set", "training.rollout_ticks=40", "--set", "anneal.clone_ticks=80",
    "--set", "training.eval_episodes=10", "--set", "training.final_episodes=10", "--set", "promotion.num_episodes=10",
    "--set", "gates.num_resamples=100", "--set", "promotion.num_resamples=100",
)  # fmt: skip
Run = Callable[..., "CompletedProcess[str]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that commands run in."""
    return tmp_path_factory.mktemp("orchard")


@pytest.fixture(scope="module")
def orchard(folder: Path) -> Run:
    """Runs `townlet ARGUMENTS` where the package is installed."""
    build = ["uv", "build", "--quiet", "--wheel", "--offline", str(PACKAGE), "--out-dir", str(folder / "dist")]
    subprocess.run(build, check=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    site = folder / "site"
    install = ["uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run([*install, "--python", sys.executable], check=True)
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def run(*arguments: str) -> CompletedProcess[str]:
        command = [sys.executable, "-m", "townlet_runtime", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)

    return run


def result(done: CompletedProcess[str]) -> dict[str, object]:
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def trained(orchard: Run) -> str:
    """A run in the orchard, by all the names that its package registers."""
    command = ("train", "--env", "orchard", "--controller", "careful", "--guardrail", "no-spilling")
    summary = result(orchard(*command, "--run-dir", "picked", *SMALL, "--json", "-q"))
    assert (summary["env"], summary["controller"], summary["guardrails"]) == ("orchard", "careful", ["no-spilling"])
    return str(summary["run_dir"])


def test_run_counts_the_events_of_the_world_itself(orchard: Run) -> None:
    done = orchard("run", "--env", "orchard", "--ticks", "40", "--set", "environment.settings.pickers=5")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[1].startswith("5 agents, ")
    assert lines[-3].split()[:2] == ["events", "count"]
    assert [line.split()[0] for line in lines[-2:]] == ["picked", "spilled"]
    assert "rivalry" not in done.stdout and "meal" not in done.stdout


def test_a_registered_rule_and_a_registered_script_act(orchard: Run) -> None:
    greedy, ruled, careful = (
        result(orchard("run", "--env", "orchard", "--ticks", "40", "--json", *more))
        for more in ((), ("--guardrail", "no-spilling"), ("--controller", "careful"))
    )
    assert greedy["events"]["spilled"] > 100  # type: ignore[index]
    assert ruled["events"]["spilled"] == careful["events"]["spilled"] == 0.0  # type: ignore[index]
    assert greedy["vetoes"] == careful["vetoes"] == 0 < ruled["vetoes"]  # type: ignore[operator]


def test_it_is_drawn(orchard: Run) -> None:
    done = orchard("run", "--env", "orchard", "--ticks", "2", "--render")
    assert done.returncode == 0 and done.stdout.startswith("picker_0: #")


def test_train_evaluate_and_run_find_what_the_run_names(orchard: Run, trained: str) -> None:
    scores = result(orchard("evaluate", trained, "--episodes", "3", "--json", "-q"))["scores"]
    assert set(scores) == {"learned", "scripted", "random"}  # type: ignore[call-overload]
    for policy in (trained, f"{trained}/policy.onnx"):
        found = result(orchard("run", "--policy", policy, "--ticks", "40", "--json", "-q"))
        assert found["sources"] == {"scripted": 0, "learned": 160, "external": 0}
    assert found["events"]["spilled"] >= 0  # type: ignore[index]


def test_the_report_has_the_events_of_the_world(folder: Path, trained: str) -> None:
    text = (folder / trained / "report.html").read_text()
    assert "<h2>Events</h2>" in text and ">spilled</text>" in text and "Town events" not in text
    assert "<h2>Parts of the reward</h2>" in text and ">walking</text>" in text
    rows = [json.loads(line) for line in (folder / trained / "metrics.jsonl").read_text().splitlines()]
    assert all({"events/picked", "events/spilled", "reward/fruit", "reward/walking"} <= row.keys() for row in rows)
    assert not any("rivalry" in key and row[key] is not None for row in rows for key in row)


def test_a_finished_run_is_shown_again(orchard: Run, trained: str) -> None:
    done = orchard("train", "--resume", trained)
    assert done.returncode == 0 and "this run has finished" in done.stderr


def test_a_registered_sink_takes_telemetry(orchard: Run) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dashboard:
        dashboard.bind(("127.0.0.1", 0))
        dashboard.settimeout(60)
        place = f"statsd:127.0.0.1:{dashboard.getsockname()[1]}"
        done = orchard("run", "--env", "orchard", "--ticks", "40", "--telemetry", place, "--telemetry-every", "20")
        assert done.returncode == 0 and "warning" not in done.stderr, done.stderr
        packets = [dashboard.recv(9999).decode().splitlines() for _ in range(2)]
    for packet in packets:
        assert packet[1:] == [
            "townlet.agents:4|g",
            "townlet.scripted:80|c",
            "townlet.learned:0|c",
            "townlet.external:0|c",
            "townlet.vetoes:0|c",
        ]
    done = orchard("run", "--env", "orchard", "--ticks", "1", "--telemetry", "statsd:nowhere")
    assert done.returncode == 2 and "the telemetry sink `statsd` raised ValueError" in done.stderr


def test_captures_are_datasets_and_sinks_take_recordings(orchard: Run, folder: Path) -> None:
    captured = result(orchard("capture", "rollout", "--env", "orchard", "--output", "steps", "--ticks", "40", "--json"))
    assert captured["samples"] == 4
    with open_dataset(folder / "steps" / "rollout_sample_agents.npz") as opened:
        assert opened.source.table.lengths.tolist() == [40] * 4
    done = orchard("run", "--env", "orchard", "--ticks", "40", "--record", "csv:steps.csv")
    assert done.returncode == 0 and "recorded csv:steps.csv" in done.stderr
    rows = [line.split(",") for line in (folder / "steps.csv").read_text().splitlines()]
    assert len(rows) == 160 and {row[2] for row in rows} == {"left"}


def test_without_the_package_its_names_are_unknown(townlet: Run, folder: Path, trained: str) -> None:
    for command in (("run", "--env", "orchard"), ("evaluate", trained), ("run", "--policy", f"{trained}/policy.onnx")):
        done = townlet(*command, cwd=folder)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert "is registered" in done.stderr or "no installed package registers" in done.stderr
