"""Worlds of one's own are trained in by one call."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from garden import Garden

from townlet_runtime import OneGroup, SplitGroups
from townlet_runtime.cli import main
from townlet_runtime.errors import RunDirectoryError, SimulationError
from townlet_runtime.policy.onnx import OnnxPolicy
from townlet_runtime.runs.finished import read_run
from townlet_runtime.testing import Corridor, CorridorConfig
from townlet_runtime.training import TrainingConfig, TrainingError, train
from townlet_training import GatesConfig, GroupConfig, NetworkConfig, PromotionConfig


def corridor(num_worlds: int) -> Corridor:
    return Corridor(CorridorConfig(episode_ticks=12), num_worlds=num_worlds)


def small(**changes: object) -> TrainingConfig:
    values = {"mode": "ppo", "seed": 0, "total_env_steps": 64, "num_envs": 2, "rollout_ticks": 16, "eval_every": 1}
    values |= {
        "eval_episodes": 10,
        "final_episodes": 10,
        "baselines": ("random",),
        "network": NetworkConfig(hidden_sizes=(8,)),
    }
    return TrainingConfig(**values | changes)


def test_a_simulation_of_ones_own_is_trained_in_one_call(tmp_path: Path) -> None:
    summary = train(corridor, small(), tmp_path / "run")
    assert summary.final is not None and list(summary.final.baselines) == ["random"]
    run = read_run(tmp_path / "run")
    assert (run.config, run.summary.env, run.summary.mode) == (None, corridor(1).spec.name, "ppo")
    assert run.evaluation.final == summary.final
    policy = OnnxPolicy.load(run.policies["agents"])
    assert policy.vocabulary == corridor(1).spec.vocabulary.keys
    with pytest.raises(RunDirectoryError, match="exists and is not empty"):
        train(corridor, small(), tmp_path / "run")


def test_a_run_in_ones_own_simulation_is_interrupted_and_resumed_to_the_same_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train(corridor, small(), tmp_path / "whole")
    asked = iter([False, False, False, True])
    broken = train(corridor, small(), tmp_path / "run", stop=lambda: next(asked, True))
    assert broken.interrupted and broken.final is None and 0 < broken.counters.env_steps < whole.counters.env_steps
    with pytest.raises(TrainingError, match="holds a run with `seed` 0, not 1"):
        train(corridor, small(seed=1), tmp_path / "run", resume=True)
    resumed = train(corridor, small(), tmp_path / "run", resume=True)
    assert not resumed.interrupted
    assert (resumed.weights_sha256, resumed.counters) == (whole.weights_sha256, whole.counters)
    assert read_run(tmp_path / "run").evaluation.final == read_run(tmp_path / "whole").evaluation.final
    # Commands make worlds from a config, of which this run has none.
    assert main(["evaluate", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err.splitlines()
    path = tmp_path / "run"
    assert said == [
        f"townlet: error: {path}: its world was made in Python, so it has no config.yaml that a command could use"
    ]


def test_a_simulation_of_three_members_is_trained_in_from_scratch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = TrainingConfig(
        seed=1,
        total_env_steps=80,
        num_envs=2,
        rollout_ticks=10,
        eval_episodes=10,
        final_episodes=10,
        network=NetworkConfig(hidden_sizes=(4,)),
        promotion=PromotionConfig(num_episodes=10),
    )
    names = {"reward_terms": ("soil",), "event_names": ("harvests",)}

    def make(num_worlds: int) -> Garden:
        own = {"reward_terms": {"soil": [1, 3] * num_worlds}, "events": [[1]] * num_worlds}
        return Garden(num_worlds, bend=lambda answer: answer | own, **names)

    summary = train(make, config, tmp_path)
    assert summary.final is not None and set(summary.final.summaries) == {"learned", "random"}
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines and all({"reward/soil", "events/harvests"} <= set(line) for line in lines)
    assert not any("conflict" in key or key in ("meal_events", "chat_quality_mean") for key in lines[0])
    assert lines[0]["reward/soil"] == 2.0 and lines[0]["events/harvests"] == 20.0  # two worlds, ten ticks
    messages = [record.getMessage() for record in caplog.records]
    assert "`garden` has no behavior `scripted`: PPO begins from scratch, and is compared with random" in messages
    assert "`garden` cannot be saved: a run in it cannot be resumed" in messages


def two_groups(num_worlds: int) -> SplitGroups:
    return SplitGroups(OneGroup(corridor(num_worlds)), {"first": 1})


def test_groups_learn_side_by_side_or_against_each_other(tmp_path: Path) -> None:
    summary = train(two_groups, small(), tmp_path / "both")
    assert summary.final is not None and summary.final.learned.group_returns.keys() == {"first", "agents"}
    assert read_run(tmp_path / "both").policies.keys() == {"first", "agents"}
    for name, role in (("script", "script"), ("past", "past(1)"), ("frozen", str(tmp_path / "both"))):
        train(two_groups, small(groups={"agents": GroupConfig(policy=role)}), tmp_path / name)
        run = read_run(tmp_path / name)
        assert (run.policies.keys(), run.opponents.keys()) == ({"first"}, {"agents"})
    kept = (tmp_path / "frozen" / "opponent-agents.onnx").read_bytes()
    assert kept == (tmp_path / "both" / "policy-agents.onnx").read_bytes()


def test_recorded_steps_are_of_the_one_group_that_learns(tmp_path: Path) -> None:
    train(corridor, small(), tmp_path / "run", record=tmp_path / "recorded")
    data, clone = [tmp_path / "recorded" / "agents"], small(mode="bc", gates=GatesConfig(clone_accuracy=0.0))
    with pytest.raises(SimulationError, match="`data` are of one group of agents, and first, agents learn"):
        train(two_groups, clone, tmp_path / "two", data=data)
    opposed = replace(clone, groups={"agents": GroupConfig(policy="script")})
    train(two_groups, opposed, tmp_path / "one", data=data)
    assert read_run(tmp_path / "one").policies.keys() == {"first"}


def test_what_makes_no_worlds_is_named(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match=r"expected a `Simulation` \(spec, reset, step\) or a whole .*, got 7"):
        train(lambda num_worlds: 7, small(), tmp_path / "run")  # type: ignore[arg-type, return-value]


def test_what_a_simulation_does_not_have_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match=r"has no behavior sleepy; there are "):
        train(corridor, small(baselines=("sleepy", "random")), tmp_path / "run")
    with pytest.raises(SimulationError, match="expected 2 parallel worlds of .*, got 3"):
        train(lambda _: corridor(3), small(), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
