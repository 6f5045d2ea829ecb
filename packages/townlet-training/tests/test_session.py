"""A network in training: what is counted, logged, saved and taken back."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from corridor import SPEC, CorridorCollector

from townlet_training.config import TrainingConfig
from townlet_training.errors import ConfigError, TrainingError
from townlet_training.learning.ppo_config import PPOConfig
from townlet_training.network.actor_critic import NetworkConfig
from townlet_training.network.weights import weights_digest, weights_of
from townlet_training.run.checkpoint import read_checkpoint
from townlet_training.run.clock import RunClock
from townlet_training.run.group_names import ONE_GROUP
from townlet_training.run.history import Course
from townlet_training.run.schedule import PlannedUpdate
from townlet_training.run.state import Session
from townlet_trajectory.evaluation.interfaces import Actor, Collected
from townlet_trajectory.evaluation.seeds import derive_seed

CONFIG = TrainingConfig(
    baselines=("scripted", "nearest", "idle", "random"),
    mode="ppo",
    seed=2,
    total_env_steps=1,
    num_envs=4,
    rollout_ticks=8,
    network=NetworkConfig(hidden_sizes=(8,)),
    ppo=PPOConfig(num_epochs=1, num_minibatches=2, learning_rate=1e-2),
)
WARM_UP = PlannedUpdate(stage="warmup", ratio=1.0, kickstart_coef=0.0, learning_rate=1e-2, clip_range=0.2)
BLEND = PlannedUpdate(stage="anneal", ratio=0.5, kickstart_coef=0.5, learning_rate=1e-2, clip_range=0.2)


def session(run_dir: Path, *, num_worlds: int = 4, collector: CorridorCollector | None = None) -> Session:
    collector = collector or CorridorCollector(num_worlds, seed=2)
    return Session(CONFIG, collector, specs={ONE_GROUP: SPEC}, notes={}, run_dir=run_dir, clock=RunClock())


def policy_digest(own: Session) -> str:
    weights = weights_of(own.learners.networks[ONE_GROUP])
    return weights_digest({name: value for name, value in weights.items() if name.startswith("policy")})


def saved_at(own: Session) -> int:
    """World steps of the checkpoint that is written now."""
    own.save(Course(prepared=True, good=own.env_steps))
    return own.env_steps


def log_of(run_dir: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def test_the_warm_up_leaves_the_policy_alone(tmp_path: Path) -> None:
    own = session(tmp_path)
    policy, everything = policy_digest(own), own.learners.sha256()
    own.make(WARM_UP)
    assert policy_digest(own) == policy
    assert own.learners.sha256() != everything
    own.make(BLEND)
    assert policy_digest(own) != policy


def test_steps_and_updates_are_counted_and_logged(tmp_path: Path) -> None:
    own = session(tmp_path)
    own.collect(None, num_ticks=10, ratio=0.0)
    own.make(WARM_UP)
    own.make(BLEND)
    assert (own.env_steps, own.agent_steps, own.num_updates, own.index) == (104, 104, 2, 2)
    assert (own.stage, own.ratio) == ("anneal", 0.5)
    rows = log_of(tmp_path)
    assert [row["epoch"] for row in rows] == [1, 2]
    assert [row["env_steps"] for row in rows] == [72, 104]
    assert [row["steps"] for row in rows] == [32, 64]
    assert [row["lr"] for row in rows] == [1e-2, 1e-2]
    assert [row["kickstart_coef"] for row in rows] == [0.0, 0.5]


def test_going_back_restores_everything_but_the_counts(tmp_path: Path) -> None:
    own = session(tmp_path)
    own.make(BLEND)
    saved = saved_at(own)
    before = own.learners.sha256()
    for _ in range(2):
        own.make(PlannedUpdate(stage="ppo", ratio=1.0, kickstart_coef=0.0, learning_rate=1e-2, clip_range=0.2))
    assert own.learners.sha256() != before
    own.load(saved)
    assert own.learners.sha256() == before
    assert (own.index, own.ratio) == (1, 0.5)
    assert (own.num_updates, own.env_steps) == (3, 96)
    # What is saved now is what was saved then: optimizer and random state too.
    again = read_checkpoint(own.checkpoint_path(saved_at(own)))
    first = read_checkpoint(own.checkpoint_path(saved))
    assert weights_digest(again.learner) == weights_digest(first.learner)
    assert again.state.update_index == first.state.update_index == 1


def test_a_retry_draws_other_numbers(tmp_path: Path) -> None:
    own = session(tmp_path)
    own.make(BLEND)
    saved = saved_at(own)
    before = read_checkpoint(own.checkpoint_path(saved))
    states = []
    for attempt in (1, 2):
        own.make(BLEND)
        own.retry(saved)
        assert own.attempt == attempt
        assert own.learners.sha256() == before.state.weights_sha256
        after = read_checkpoint(own.save(Course(prepared=True, good=saved)))
        differing = {name for name in after.learner if not torch.equal(after.learner[name], before.learner[name])}
        assert differing == {"generator"}
        expected = torch.Generator().manual_seed(derive_seed(2, "attempt", attempt)).get_state()
        assert torch.equal(after.learner["generator"], expected)
        states.append(after.learner["generator"])
    assert not torch.equal(*states)


def test_the_same_state_is_saved_once(tmp_path: Path) -> None:
    own = session(tmp_path)
    own.make(BLEND)
    path = tmp_path / "checkpoints" / "step-000000032"
    course = Course(prepared=True, good=32)
    assert own.save(course) == own.save(course) == own.save_interim(course) == own.checkpoint_path(32) == path
    state = read_checkpoint(path).state
    assert (state.mode, state.seed, state.stage, state.specs) == ("ppo", 2, "anneal", {ONE_GROUP: SPEC})
    assert (state.update_index, state.num_updates, state.env_steps) == (1, 1, 32)
    assert state.transitions == {ONE_GROUP: 32}
    assert (state.ratio, state.attempt, state.weights_sha256) == (0.5, 0, own.learners.sha256())


def test_a_collector_of_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`num_envs` is 4, but 8 ticks of the collector were 40 world steps"):
        session(tmp_path, num_worlds=5).make(BLEND)


class Changed(CorridorCollector):
    """Says something else of its collections than what is true."""

    def __init__(self, **changes: object) -> None:
        super().__init__(4, seed=2)
        self.changes = changes

    def collect(self, actors: Mapping[str, Actor] | None, *, num_ticks: int, ratio: float) -> Collected:
        return replace(super().collect(actors, num_ticks=num_ticks, ratio=ratio), **self.changes)


def test_world_steps_may_be_fewer_but_not_none(tmp_path: Path) -> None:
    own = session(tmp_path, collector=Changed(env_steps=5))
    own.make(BLEND)
    assert own.env_steps == 5
    with pytest.raises(ConfigError, match="8 ticks of the collector were 0 world steps"):
        session(tmp_path, collector=Changed(env_steps=0)).make(BLEND)


def test_a_collector_of_other_groups_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must be of the agent groups \['agents'\], got \[\]"):
        session(tmp_path, collector=Changed(batches={}, agent_steps=0)).make(BLEND)


@pytest.mark.parametrize("leftover", ["metrics.jsonl", "checkpoints", "promotion.json"])
def test_a_directory_is_used_once(tmp_path: Path, leftover: str) -> None:
    own = session(tmp_path)
    (tmp_path / "config.yaml").touch()
    (tmp_path / leftover).touch()
    with pytest.raises(TrainingError, match=f"holds a run already \\(`{leftover}`\\)"):
        own.begin()


def test_a_run_begins_with_an_empty_log(tmp_path: Path) -> None:
    session(tmp_path).begin()
    assert (tmp_path / "metrics.jsonl").read_bytes() == b""
    with pytest.raises(TrainingError, match="holds a run already"):
        session(tmp_path).begin()
