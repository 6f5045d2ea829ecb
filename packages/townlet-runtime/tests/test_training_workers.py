"""`train(..., workers=N)`: the same run whatever N is, in worlds that other processes can import."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from townlet_runtime.adapters import importable
from townlet_runtime.errors import SimulationError
from townlet_runtime.testing import Corridor, CorridorConfig
from townlet_runtime.training import TrainingConfig, train

MAKE = """
from townlet_runtime import OneGroup, SplitGroups
from townlet_runtime.testing import Corridor, CorridorConfig


def make(num_worlds):
    return Corridor(CorridorConfig(episode_ticks=12), num_worlds=num_worlds)


def make_two(num_worlds):
    return SplitGroups(OneGroup(make(num_worlds)), {"first": 1})
"""
TRAIN = """
import json
import sys
from dataclasses import replace
from pathlib import Path

from townlet_behavior import BridgeConfig, CommitmentConfig
from townlet_runtime.training import TrainingConfig, train
from townlet_training import AnnealConfig, GatesConfig, GroupConfig, NetworkConfig, PromotionConfig

CONFIG = TrainingConfig(
    seed=3,
    total_env_steps=480,
    num_envs=4,
    unit_worlds=2,
    rollout_ticks=10,
    eval_every=2,
    eval_episodes=10,
    final_episodes=10,
    network=NetworkConfig(hidden_sizes=(8,)),
    anneal=AnnealConfig(clone_ticks=40, warmup_updates=1, max_retries=0),
    gates=GatesConfig(clone_accuracy=0.0, kept_fraction=0.0, num_resamples=100),
    promotion=PromotionConfig(num_episodes=10, num_resamples=100),
)
BRIDGE = BridgeConfig(commitment=CommitmentConfig(ticks={"wait": 0, "start": 0, "move": 0, "rest": 3}))


OPPOSED = replace(CONFIG, groups={"agents": GroupConfig(policy="past(1)")})


def come_to(make, workers, config=CONFIG):
    run = Path(sys.argv[1]) / f"{make.__module__}-{make.__name__}-{workers}"
    summary = train(make, config, run, bridge=BRIDGE, workers=workers)
    final = summary.final and list(summary.final.learned.returns)
    return [summary.weights_sha256, summary.counters.env_steps, final]
"""
GUARDED = """
if __name__ == "__main__":
    import elsewhere

    opposed = [come_to(make_two, workers, OPPOSED) for workers in (0, 2)]
    print(json.dumps([come_to(make, 0), come_to(elsewhere.make, 1), come_to(make, 2), *opposed]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "elsewhere.py").write_text(MAKE)
    (tmp_path / "programme.py").write_text(TRAIN + MAKE + GUARDED)
    return tmp_path


def corridor(num_worlds: int) -> Corridor:
    return Corridor(CorridorConfig(episode_ticks=12), num_worlds=num_worlds)


def small(**changes: int) -> TrainingConfig:
    return TrainingConfig(**{"mode": "ppo", "seed": 0, "total_env_steps": 64, "num_envs": 2, **changes})


def test_workers_come_to_what_the_process_comes_to_alone(folder: Path) -> None:
    command = [sys.executable, str(folder / "programme.py"), str(folder / "runs")]
    # As programmes are run: their folder is where modules are found.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    alone, one, two, opposed, opposed_two = json.loads(done.stdout)
    assert alone == one == two
    assert alone[1] == 480 and len(alone[2]) == 10
    # workers meet the earlier selves that the process meets
    assert opposed == opposed_two != alone


class Maker:
    def make(self, num_worlds: int) -> Corridor:
        return corridor(num_worlds)

    @classmethod
    def of(cls, num_worlds: int) -> Corridor:
        return corridor(num_worlds)

    __call__ = make


def test_what_no_worker_can_import_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    def local(num_worlds: int) -> Corridor:
        return corridor(num_worlds)

    for make, got in (
        (lambda count: corridor(count), r"<lambda> of `"),
        (local, r"<locals>.local of `"),
        (partial(corridor), "an object of the class partial: write a function around it"),
        (Maker(), "an object of the class Maker: write a function around it"),
        (Maker().make, "Maker.make, which is another one in `"),
    ):
        with pytest.raises(SimulationError, match=f"`make` of a run with `workers` must be a function .*got .*{got}"):
            train(make, small(), tmp_path / "run", workers=1)
    with pytest.raises(SimulationError, match="`workers` must be at least 0, got -1"):
        train(corridor, small(), tmp_path / "run", workers=-1)
    with pytest.raises(SimulationError, match="`worker_timeout_s` must be a finite number above 0, got 0.0"):
        train(corridor, small(), tmp_path / "run", workers=1, worker_timeout_s=0.0)
    assert not (tmp_path / "run").exists()


def test_a_worker_that_imports_a_programme_trains_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importable, "_running_again", ["programme.py"])
    with pytest.raises(SimulationError, match="`train` was called by programme.py when a worker imported it"):
        train(corridor, small(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_without_a_world_has_no_workers(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="`workers` 2: the run has no world to collect in"):
        train(None, small(), tmp_path / "run", workers=2)
    assert not (tmp_path / "run").exists()
