"""A program that makes this Python look like the one of Windows, and then types commands of every group.

Arguments: an empty folder, and the folder of `windows_simulated`. Prints one JSON object: the exit code and the last
line of each command, by the words typed.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("townlet_trajectory", "townlet_behavior", "townlet_training", "townlet_runtime")
# What a command imports when it runs has to be there before: only our packages are to see Windows.
LIBRARIES = (
    "matplotlib.pyplot",
    "matplotlib.backends.backend_svg",
    "jinja2",
    "rich.live",
    "rich.progress",
    "onnxscript",
)

CONFIG = """\
config_id: windows
town: {num_agents: 3, episode_ticks: 40, grid_size: [8, 8]}
scenario: {ticks: 20}
training: {rollout_ticks: 20, eval_episodes: 10, final_episodes: 10, num_envs: 2, total_env_steps: 360}
network: {hidden_sizes: [8]}
anneal: {clone_ticks: 100, warmup_updates: 1}
bc: {num_epochs: 1}
gates: {clone_accuracy: 0.0, num_resamples: 100}
promotion: {num_episodes: 10, num_resamples: 100}
"""


TRAIN = "train town.yaml --threads 1 -q"


def commands() -> Iterator[str]:
    """Every command that acts, reads or writes, in an order in which each has what it needs."""
    yield "config init new.yaml"
    yield "config check new.yaml town.yaml"
    yield "config show town.yaml --changed"
    yield "config schema town.schema.json"
    yield "run town.yaml --record recorded --telemetry-path telemetry.jsonl"
    yield "run town.yaml --record npz:recorded-npz"
    yield "capture rollout town.yaml --output captured"
    yield "capture suite town.yaml --output-root suite"
    yield "capture scripted town.yaml --output scripted"
    yield "replay captured/rollout_sample_agent_01_001.npz --validate"
    yield "dataset describe captured"
    yield "dataset curate captured --output curated.json"
    yield "dataset convert captured --to shards --output converted"
    yield "dataset info converted"
    yield "dataset audit captured"
    yield "dataset outliers captured"
    yield "dataset label converted failure --all"
    yield "explain recorded --agent agent_01"
    yield "run town.yaml --telemetry records.jsonl --telemetry-every 10"
    yield "report telemetry records.jsonl"
    yield "report rewards telemetry.jsonl"
    yield "bench town.yaml --ticks 20"
    yield f"{TRAIN} --run-dir run"
    yield "train --resume run -q"
    yield "evaluate run --episodes 2"
    yield "run town.yaml --policy run"
    yield "policy check run/policy.onnx"
    yield "policy show run/policy.onnx"
    yield "promote candidate run --registry registry --dry-run"
    yield "promote status --registry registry"
    yield "promote history --registry registry"
    yield "promote live --registry registry"
    yield "promote prune --registry registry"
    yield "promote drill --config town.yaml --output drill"
    yield "compare run"
    yield "report render run"
    yield f"{TRAIN} --run-dir log --mode rollout --rollout-ticks 20 --epochs 2 --ppo-log ppo.jsonl"
    yield "report summary ppo.jsonl"
    yield "report validate ppo.jsonl"
    yield "report plot ppo.jsonl --output curves.svg"
    yield "report compare run --output both.html"
    yield "watch ppo.jsonl"
    yield "soak town.yaml --baseline-dir captured --output-dir soak --cycles 2 --threads 1"


def typed(words: list[str]) -> tuple[int, str]:
    """Carry out a command; return its exit code and the last line that it printed."""
    from townlet_runtime.cli import main

    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        code = main(words)
    return code, (shown.getvalue().strip().splitlines() or [""])[-1]


def main() -> None:
    folder, helpers = sys.argv[1:]
    sys.path.insert(0, helpers)
    windows = importlib.import_module("windows_simulated")
    for package in PACKAGES:
        windows.modules_of(package)
    for library in LIBRARIES:
        importlib.import_module(library)
    os.chdir(folder)
    Path("town.yaml").write_text(CONFIG)
    # torch imports parts of itself when it exports for the first time.
    code, line = typed([*TRAIN.split(), "--run-dir", "before"])
    assert code in (0, 1), line
    windows.forget_ours()
    windows.simulate()
    assert sys.platform == "win32" and sys.modules["fcntl"] is None
    found = {words: typed(words.split()) for words in commands()}
    sys.stdout.write(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
