"""What was shown: counted as it comes, and what of it is learned from or held out."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from townlet_runtime.errors import SimulationError
from townlet_runtime.live.teaching.demonstrations import ShownCount, demonstrations_of
from townlet_trajectory import ArraySpec, EpisodeLabel, Trajectory, TrajectoryBatch, TrajectorySchema

SCHEMA = TrajectorySchema(
    observations={"place": ArraySpec("float32", (1,))},
    decisions={"action": ArraySpec("int64"), "demonstrated": ArraySpec("bool")},
    vocabulary=("left", "right"),
)


def walk(
    demonstrated: list[int],
    *,
    episode: int = 0,
    first_tick: int = 0,
    agent: str = "anna",
    label: EpisodeLabel = EpisodeLabel.NONE,
) -> Trajectory:
    steps = len(demonstrated)
    return Trajectory(
        schema=SCHEMA,
        observations={"place": np.arange(steps + 1, dtype=np.float32)[:, None]},
        columns={"action": np.ones(steps, np.int64), "demonstrated": np.array(demonstrated, bool)},
        rewards=np.zeros(steps, np.float32),
        ticks=first_tick + np.arange(steps),
        terminated=True,
        truncated=False,
        agent_id=agent,
        world=0,
        episode=episode,
        episode_label=label,
    )


def batch(*walks: Trajectory) -> TrajectoryBatch:
    return TrajectoryBatch.from_trajectories(list(walks))


def test_of_one_episode_the_last_fifth_in_time_is_held_out() -> None:
    # Steps 2 to 11 were shown, at ticks 102 to 111: the last fifth of ten is two.
    found = demonstrations_of([[batch(walk([0, 0, *[1] * 10, 0], first_tick=100))]])
    assert found.shown.ticks.tolist() == list(range(102, 110))
    assert found.held_out.ticks.tolist() == [110, 111]
    assert (found.steps, found.episodes) == (10, 1)
    assert found.shown.columns["demonstrated"].all() and found.held_out.columns["demonstrated"].all()
    # What the last step that is learned from led to is the next one, not the end of the episode.
    assert found.shown.final_observations["place"].ravel().tolist() == [10.0]
    assert not found.shown.terminated.any()


def test_of_several_episodes_whole_ones_are_held_out_and_those_of_two_beginnings_are_two() -> None:
    first = batch(walk([1] * 20), walk([1] * 5, agent="ben"))
    second = batch(walk([1] * 8, first_tick=50))  # begun anew: episode 0 again
    found = demonstrations_of([[first], [second]])
    assert found.episodes == 2
    assert found.shown.num_steps == 25 and set(found.shown.agent_ids.tolist()) == {"anna", "ben"}
    assert found.held_out.ticks.tolist() == list(range(50, 58))


def test_what_is_learned_from_is_in_pieces() -> None:
    found = demonstrations_of([[batch(walk([1] * 23), walk([1] * 12, episode=1, first_tick=200))]])
    assert found.shown.lengths.tolist() == [10, 10, 3] and found.shown.episodes.tolist() == [0, 1, 2]
    assert found.held_out.lengths.tolist() == [12]


def test_an_episode_with_most_of_the_steps_is_learned_from() -> None:
    found = demonstrations_of([[batch(walk([1] * 4), walk([1] * 30, episode=1, first_tick=10))]])
    assert found.held_out.num_steps == 4 and found.shown.num_steps == 30


@pytest.mark.parametrize("label", [EpisodeLabel.DISCARD, EpisodeLabel.FAILURE])
def test_what_was_labelled_bad_is_not_learned_from(label: EpisodeLabel) -> None:
    bad = walk([1] * 40, label=label)
    good = walk([1] * 10, episode=1, first_tick=60, label=EpisodeLabel.SUCCESS)
    found = demonstrations_of([[batch(bad, good)]])
    assert found.steps == 10
    with pytest.raises(SimulationError, match="at least 10 demonstrated steps .* got 0"):
        demonstrations_of([[batch(bad)]])


def test_too_little_is_refused() -> None:
    with pytest.raises(SimulationError, match="got 0"):
        demonstrations_of([])
    with pytest.raises(SimulationError, match="got 9"):
        demonstrations_of([[batch(walk([1] * 9))]])
    together = [walk([1], first_tick=5, agent=f"agent {number}") for number in range(12)]
    with pytest.raises(SimulationError, match="are of one tick"):
        demonstrations_of([[batch(*together)]])


def test_steps_and_episodes_are_counted_as_they_come() -> None:
    def tick(demonstrated: list[bool], episodes: list[int]) -> SimpleNamespace:
        return SimpleNamespace(
            decisions=SimpleNamespace(demonstrated=np.array(demonstrated)),
            observed=SimpleNamespace(episodes=np.array(episodes)),
        )

    count = ShownCount()
    count.begin()
    count.count([tick([True, False, True], [0, 0, 0]), None])  # type: ignore[list-item]  # a stand-in
    count.count([tick([False, False, False], [1, 1, 1])])  # type: ignore[list-item]  # likewise
    assert (count.steps, count.episodes) == (2, 1)
    count.begin()
    count.count([tick([True], [0])])  # type: ignore[list-item]  # likewise
    assert (count.steps, count.episodes) == (3, 2)
