"""The rows of a run, and the worlds that a resumed run goes on with."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from corridor import SPEC, CorridorCollector
from numpy.typing import NDArray

from townlet_training.config import ONE_GROUP, TrainingConfig
from townlet_training.errors import ConfigError, ResumeError
from townlet_training.run.checkpoint import Checkpoint
from townlet_training.run.experience import RunExperience
from townlet_training.run.state import TrainingState

RUN_DIR = Path("some-run")


def state(num_envs: int = 2) -> TrainingState:
    config = TrainingConfig(seed=1, num_envs=num_envs)
    return TrainingState(config=config, specs={ONE_GROUP: SPEC}, notes={}, stage="clone", transitions={ONE_GROUP: 0})


def checkpoint(worlds: Mapping[str, NDArray[np.generic]] | None) -> Checkpoint:
    return Checkpoint(state=state(), weights={}, learner={}, worlds=worlds)


def rewards(experience: RunExperience, num_ticks: int) -> list[float]:
    collected = experience.collect(state(), None, num_ticks=num_ticks, ratios=[0.0])
    found: list[float] = collected.batches[ONE_GROUP].rewards.tolist()
    return found


def test_steps_and_ratio_are_counted() -> None:
    counted = state()
    experience = RunExperience(CorridorCollector(2, seed=7), run_dir=RUN_DIR)
    for _ in range(2):
        experience.collect(counted, None, num_ticks=5, ratios=[0.25])
    assert (counted.env_steps, counted.agent_steps, counted.ratio) == (20, 20, 0.25)


def test_a_collector_that_cannot_begin_ahead_is_refused_where_it_is_asked_to() -> None:
    experience = RunExperience(CorridorCollector(2, seed=7), run_dir=RUN_DIR)
    with pytest.raises(ConfigError, match="`collect_ahead` needs a collector that can, got CorridorCollector"):
        experience.collect(state(), None, num_ticks=5, ratios=[0.0, 0.5])


def test_a_collection_that_began_earlier_has_the_ratio_that_it_began_with() -> None:
    class Ahead(CorridorCollector):
        max_ahead = 1

        def collect(self, actors, *, num_ticks, ratio, ahead=()):
            assert list(ahead) == [0.75]
            return replace(super().collect(actors, num_ticks=num_ticks, ratio=ratio), policy_age=1, ratio=0.125)

    counted = state()
    experience = RunExperience(Ahead(2, seed=7), run_dir=RUN_DIR)
    assert experience.collect(counted, None, num_ticks=5, ratios=[0.5, 0.75]).policy_age == 1
    assert counted.ratio == 0.125


def test_a_collector_of_fewer_worlds_is_refused() -> None:
    experience = RunExperience(CorridorCollector(3, seed=7), run_dir=RUN_DIR)
    with pytest.raises(ConfigError, match="`num_envs` is 2, but 5 ticks of the collector were 15 world steps"):
        experience.collect(state(2), None, num_ticks=5, ratios=[0.0])


def test_worlds_of_a_checkpoint_are_restored_once_before_the_first_collection() -> None:
    whole = RunExperience(CorridorCollector(2, seed=7), run_dir=RUN_DIR)
    rewards(whole, 30)
    saved = whole.save_state()
    rest = [rewards(whole, 30), rewards(whole, 30)]
    assert rest[0] != rest[1]
    resumed = RunExperience(CorridorCollector(2, seed=8), run_dir=RUN_DIR)
    resumed.resume(checkpoint(saved))
    assert resumed.save_state() is saved
    assert [rewards(resumed, 30), rewards(resumed, 30)] == rest


def test_worlds_that_could_not_be_saved_are_missed_at_the_first_collection() -> None:
    experience = RunExperience(CorridorCollector(2, seed=7), run_dir=RUN_DIR)
    experience.resume(checkpoint(None))
    assert experience.save_state() is None
    with pytest.raises(ResumeError, match="some-run: the worlds of this run cannot be saved, so it cannot go on"):
        rewards(experience, 1)
