"""Returns of episodes that come in pieces."""

from __future__ import annotations

import numpy as np
import pytest
from corridor import CorridorCollector
from numpy.typing import NDArray

from townlet_training.config import ONE_GROUP
from townlet_training.sinks.episodes import WINDOW, EpisodeWindow
from townlet_trajectory import ArraySpec, TrajectoryBatch, TrajectorySchema, default_decision_columns

SCHEMA = TrajectorySchema(
    observations={"x": ArraySpec("float32", (1,))}, decisions=default_decision_columns(), vocabulary=("a",)
)


def piece(rewards: list[float], *, first_tick: int, ends: bool, episode: int = 0) -> TrajectoryBatch:
    """One trajectory of anna in world 0."""
    num = len(rewards)
    seen: NDArray[np.float32] = np.zeros((num, 1), np.float32)
    return TrajectoryBatch(
        schema=SCHEMA,
        offsets=np.array([0, num]),
        observations={"x": seen},
        columns={name: np.zeros(num, spec.numpy_dtype) for name, spec in SCHEMA.decisions.items()},
        final_observations={"x": seen[:1]},
        rewards=np.array(rewards, np.float32),
        ticks=first_tick + np.arange(num),
        terminated=np.array([ends]),
        truncated=np.array([False]),
        agent_ids=np.array(["anna"], object),
        worlds=np.array([0]),
        episodes=np.array([episode]),
    )


def test_an_episode_is_the_sum_of_its_pieces() -> None:
    window = EpisodeWindow(resumed=False)
    window.add(piece([1.0, 2.0], first_tick=0, ends=False))
    assert window.means == {}
    window.add(piece([4.0], first_tick=2, ends=True))
    assert window.means == {"rollout/ep_rew_mean": 7.0, "rollout/ep_len_mean": 3.0}
    window.add(piece([1.0], first_tick=3, ends=True, episode=1))
    assert window.means == {"rollout/ep_rew_mean": 4.0, "rollout/ep_len_mean": 2.0}


def test_of_an_episode_whose_beginning_was_not_seen_nothing_is_said() -> None:
    window = EpisodeWindow(resumed=True)
    window.add(piece([1.0], first_tick=40, ends=False))
    window.add(piece([1.0], first_tick=41, ends=True))
    assert window.means == {}
    window.add(piece([5.0], first_tick=42, ends=True, episode=1))
    assert window.means["rollout/ep_rew_mean"] == 5.0


def test_the_window_holds_the_newest() -> None:
    window = EpisodeWindow(resumed=False)
    for episode in range(WINDOW + 50):
        window.add(piece([float(episode)], first_tick=episode, ends=True, episode=episode))
    assert window.means["rollout/ep_rew_mean"] == np.arange(50, WINDOW + 50).mean()


@pytest.mark.parametrize("ticks", [5, 24, 31])
def test_how_experience_is_cut_does_not_matter(ticks: int) -> None:
    """Of the same worlds and the same script, episodes of 24 ticks have the same returns however they are collected."""
    whole, cut = EpisodeWindow(resumed=False), EpisodeWindow(resumed=False)
    whole.add(CorridorCollector(3, seed=1).collect(None, num_ticks=96, ratio=0.0).batches[ONE_GROUP])
    collector = CorridorCollector(3, seed=1)
    for num_ticks in (*[ticks] * (96 // ticks), 96 % ticks):
        if num_ticks:
            cut.add(collector.collect(None, num_ticks=num_ticks, ratio=0.0).batches[ONE_GROUP])
    assert cut.means == pytest.approx(whole.means)
    assert whole.means["rollout/ep_len_mean"] == 24.0
