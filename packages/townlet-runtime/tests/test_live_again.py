"""Back to a moment that was kept, also in a world that is recorded: what is undone is nowhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_live_stage import SEED, stage_of, town

from townlet_runtime.errors import SimulationError
from townlet_runtime.live.history import Decider
from townlet_runtime.live.stage import Stage
from townlet_runtime.live.teaching.demonstrations import demonstrations_of
from townlet_runtime.simulation.interface import AGENTS
from townlet_runtime.testing import Corridor
from townlet_runtime.town import AgentSpec, Town, TownConfig
from townlet_trajectory import EpisodeLabel, TrajectoryBatch
from townlet_trajectory.audit.dataset import audit_dataset
from townlet_trajectory.formats.batch_file import save_batch

FIRST = "agent_01"
SECTIONS = ("offsets", "rewards", "ticks", "terminated", "truncated", "worlds", "episodes", "episode_labels")


def go(stage: Stage, ticks: int) -> None:
    """Do some ticks in this thread."""
    end = stage.runtimes[AGENTS].tick + ticks
    stage.step(ticks)
    stage.run(lambda: stage.runtimes[AGENTS].tick >= end)


def possess(stage: Stage, ticks: int, *, action: str = "wait") -> None:
    runtime = stage.runtimes[AGENTS]
    assert runtime.acquire_possession(FIRST, owner="ann")
    for _ in range(ticks):
        runtime.feed_action(FIRST, action, owner="ann")
        go(stage, 1)
    runtime.release_possession(FIRST, owner="ann")


def require_equal(one: TrajectoryBatch, other: TrajectoryBatch) -> None:
    for name in SECTIONS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.agent_ids.tolist() == other.agent_ids.tolist()
    for section in ("observations", "columns", "final_observations"):
        first, second = getattr(one, section), getattr(other, section)
        assert first.keys() == second.keys()
        for name in first:
            np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_what_was_undone_is_in_no_recording(tmp_path: Path) -> None:
    stage = stage_of(town(), records=True)
    assert stage.can_save
    go(stage, 10)
    possess(stage, 2)
    stage.mark()
    possess(stage, 5)
    stage.runtimes[AGENTS].label_episode(EpisodeLabel.FAILURE, FIRST)
    stage.again()
    possess(stage, 3)
    stage.again()  # the same moment as often as one likes
    possess(stage, 4)
    go(stage, 6)
    found = stage.recorded()[AGENTS]
    assert found.num_steps == 5 * (10 + 2 + 4 + 6)
    assert found.columns["demonstrated"].sum() == 2 + 4
    assert len(found) == 5  # whole trajectories, not the pieces that a recorder cut
    assert (found.episode_labels == EpisodeLabel.NONE).all()

    straight = stage_of(town(), records=True)
    go(straight, 10)
    possess(straight, 2)
    possess(straight, 4)
    go(straight, 6)
    require_equal(found, straight.recorded()[AGENTS])
    path = tmp_path / "agents.npz"
    save_batch(path, found)
    report = audit_dataset(path)
    assert report.failures == 0, report.findings


def test_the_next_try_may_end_otherwise_and_be_labelled() -> None:
    agents = (AgentSpec(id=FIRST, position=(4, 4)), AgentSpec(id="bob", position=(1, 1)))
    stage = stage_of(Town(TownConfig(agents=agents), num_worlds=1), records=True)
    stage.mark()
    possess(stage, 2)
    stage.again()
    possess(stage, 2, action="move:east")
    stage.runtimes[AGENTS].label_episode(EpisodeLabel.SUCCESS, FIRST)
    found = stage.recorded()[AGENTS]
    (label,) = found.episode_labels[found.agent_ids == FIRST]
    assert label == EpisodeLabel.SUCCESS
    keys = stage.simulation.specs[AGENTS].vocabulary.keys
    shown = found.columns["action"][found.columns["demonstrated"]]
    assert [keys[action] for action in shown.tolist()] == ["move:east", "move:east"]


def test_a_moment_before_a_new_beginning_is_forgotten_and_an_episode_s_end_is_undone() -> None:
    stage = stage_of(Corridor(num_worlds=1), records=True)
    go(stage, 4)
    stage.mark()
    go(stage, 3 * stage.simulation.specs[AGENTS].episode_ticks)
    stage.again()
    go(stage, 2)
    assert np.unique(stage.recorded()[AGENTS].ticks).tolist() == [*range(6)]
    assert np.unique(stage.recorded()[AGENTS].episodes).size == 1
    stage.reset(SEED)
    assert stage.kept is None
    with pytest.raises(SimulationError, match="no state was kept"):
        stage.again()


def test_strips_and_charts_forget_what_was_undone_and_no_more() -> None:
    stage = stage_of(town())
    go(stage, 10)
    assert stage.mark() == 9
    before = stage.history.strip_of(FIRST)
    possess(stage, 5)
    assert stage.history.strip_of(FIRST)["decider"][-5:] == [Decider.PERSON] * 5
    counted = stage.runtimes[AGENTS].counts()
    assert stage.again() == 9
    assert stage.history.strip_of(FIRST) == before
    assert [point.tick for point in stage.history.points()] == [*range(10)]
    assert stage.runtimes[AGENTS].counts().ticks["external"] == 0 < counted.ticks["external"]
    go(stage, 1)
    assert stage.history.strip_of(FIRST)["ticks"] == [*range(11)]


class Drifting(Corridor):
    """Cannot be brought back."""

    def restore(self, state: object) -> None:  # type: ignore[override]  # which is the point
        raise SimulationError("it is another corridor now")


def test_a_world_that_cannot_be_brought_back_begins_anew_and_keeps_what_was_recorded_before() -> None:
    stage = stage_of(Drifting(num_worlds=1), records=True)
    go(stage, 4)
    stage.mark()
    go(stage, 3)
    with pytest.raises(SimulationError, match="another corridor"):
        stage.again()
    go(stage, 2)
    ticks = np.unique(stage.recorded()[AGENTS].ticks).tolist()
    assert ticks[:4] == [0, 1, 2, 3]
    assert len(ticks) == 4 + 2


def test_lessons_see_an_episode_whole_and_nothing_that_was_undone() -> None:
    stage = stage_of(town(), records=True)
    possess(stage, 3)
    stage.mark()
    possess(stage, 4)
    assert (stage.shown.steps, stage.shown.episodes) == (7, 1)
    stage.again()
    possess(stage, 2)
    assert (stage.shown.steps, stage.shown.episodes) == (5, 1)
    stage.reset(None)
    possess(stage, 6)
    assert (stage.shown.steps, stage.shown.episodes) == (11, 2)
    # The mark cut the first episode in two pieces; they are one episode still, of which nothing is held out alone.
    beginnings = stage.recorded_so_far()[AGENTS]
    assert [len(pieces) for pieces in beginnings] == [2, 1]
    found = demonstrations_of(beginnings)
    assert (found.episodes, found.shown.num_steps, found.held_out.num_steps) == (2, 6, 5)
