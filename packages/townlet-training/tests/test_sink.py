"""What sinks of metrics are handed, and how they are found, blamed and closed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from corridor import SPEC, CorridorCollector, CorridorEvaluator

from townlet_training.config import ONE_GROUP, TrainingConfig
from townlet_training.errors import ConfigError, TrainingError
from townlet_training.network.config import NetworkConfig
from townlet_training.run.orchestrator import TrainingOrchestrator
from townlet_training.sinks import sink as module
from townlet_training.sinks.sink import RunSinks, rl_values

CONFIG = TrainingConfig(
    mode="ppo",
    seed=3,
    total_env_steps=4 * 24 * 4,
    num_envs=4,
    rollout_ticks=24,
    eval_every=2,
    eval_episodes=10,
    final_episodes=10,
    baselines=("idle",),
    network=NetworkConfig(hidden_sizes=(4,)),
    metrics=("notes",),
)


@dataclass
class Notes:
    """A sink that keeps everything."""

    run_dir: Path
    begun_at: int
    written: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    closed: int = 0

    def write(self, values: Mapping[str, float], *, step: int) -> None:
        self.written.append((step, dict(values)))

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Notes]:
    made: list[Notes] = []

    def notes(run_dir: Path, *, begun_at: int) -> Notes:
        made.append(Notes(run_dir, begun_at))
        return made[-1]

    def registered(group: str, name: str) -> object | None:
        return notes if (group, name) == ("townlet.metrics", "notes") else None

    monkeypatch.setattr(module, "load_registered", registered)
    return made


def run(path: Path, config: TrainingConfig, **changes: Any) -> None:
    worlds = CorridorCollector(config.num_envs, seed=config.seed), CorridorEvaluator()
    TrainingOrchestrator(config, *worlds, specs={ONE_GROUP: SPEC}, run_dir=path, **changes).run()


def test_a_line_of_the_log_by_the_names_of_rl() -> None:
    line = {
        "env_steps": 64,
        "lr": 0.5,
        "loss_policy": -0.25,
        "loss_entropy": 0.75,
        "kl_divergence": None,
        "stage": "ppo",
        "ratio": 0.5,
        "events/chats": 3.0,
        "baseline_reward_mean": 1.0,
    }
    assert rl_values(line) == {
        "time/total_timesteps": 64.0,
        "train/learning_rate": 0.5,
        "train/policy_gradient_loss": -0.25,
        "train/entropy_loss": -0.75,
        "townlet/ratio": 0.5,
        "events/chats": 3.0,
    }


def test_a_run_writes_updates_and_evaluations_and_closes(tmp_path: Path, opened: list[Notes]) -> None:
    run(tmp_path, CONFIG)
    (notes,) = opened
    assert (notes.run_dir, notes.begun_at, notes.closed) == (tmp_path, 0, 1)
    steps = {
        name: [step for step, values in notes.written if name in values] for name in ("eval/mean_reward", "train/loss")
    }
    assert steps == {"eval/mean_reward": [96, 288, 384], "train/loss": [192, 288, 384]}
    last = notes.written[-2][1]
    assert last["rollout/ep_len_mean"] == 24.0
    assert {"train/approx_kl", "train/explained_variance", "time/fps", "train/entropy_loss"} <= last.keys()


def test_a_resumed_run_says_where_it_goes_on(tmp_path: Path, opened: list[Notes]) -> None:
    asked = iter([False] * 4 + [True] * 9)
    run(tmp_path, CONFIG, stop=lambda: next(asked))
    assert opened[0].closed == 1
    run(tmp_path, CONFIG, resume=True)
    assert opened[1].begun_at == opened[0].written[-1][0] > 0
    assert opened[1].written[-1][0] == 384


def test_a_sink_changes_nothing_of_the_run(tmp_path: Path, opened: list[Notes]) -> None:
    (tmp_path / "with").mkdir()
    (tmp_path / "without").mkdir()
    run(tmp_path / "with", CONFIG)
    run(tmp_path / "without", replace(CONFIG, metrics=()))
    assert len(opened) == 1
    weights = [path.read_bytes() for path in sorted(tmp_path.glob("*/checkpoints/*/weights.safetensors"))]
    assert len(weights) % 2 == 0 and weights[: len(weights) // 2] == weights[len(weights) // 2 :]


def test_a_name_that_nobody_registered_is_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no sink of metrics `nowhere` .*\(there are: .*tensorboard"):
        RunSinks(("nowhere",), tmp_path)


def test_a_sink_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(run_dir: Path, *, begun_at: int) -> None:
        raise OSError("disk is full")

    monkeypatch.setattr(module, "load_registered", lambda group, name: broken)
    with (
        pytest.raises(TrainingError, match="the sink of metrics `bad`: OSError: disk is full"),
        RunSinks(("bad",), tmp_path) as sinks,
    ):
        sinks.begin(begun_at=0)
    monkeypatch.setattr(module, "load_registered", lambda group, name: 7)
    with pytest.raises(ConfigError, match="must be a function"):
        RunSinks(("bad",), tmp_path)
