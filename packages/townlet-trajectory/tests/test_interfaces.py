"""The record of a collection."""

import math
from dataclasses import replace

import pytest
from strategies import make_trajectory

from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.errors import EvaluationError
from townlet_trajectory.evaluation.interfaces import Collected
from townlet_trajectory.evaluation.scores import EpisodeScores

BATCH = TrajectoryBatch.from_trajectories([make_trajectory(0, 2), make_trajectory(1, 1, agent_id="bob")])


def collected(
    *, faints: float = 1.0, learned: int = 2, ticks: int = 3, vetoes: int = 0, env_steps: int = 2, agent_steps: int = 3
) -> Collected:
    return Collected(
        batches={"agents": BATCH},
        events={"faint": faints},
        decisions_by_source={"scripted": 1, "learned": learned},
        ticks_by_source={"scripted": ticks},
        vetoes=vetoes,
        env_steps=env_steps,
        agent_steps=agent_steps,
    )


def test_a_collection_that_is_right_is_kept_as_it_is() -> None:
    record = collected()
    assert record.batches["agents"] is BATCH and record.agent_steps == 3 and record.events == {"faint": 1.0}


def test_agent_steps_are_the_rows() -> None:
    with pytest.raises(EvaluationError, match="`agent_steps` must be the 3 rows of the batches, got 4"):
        collected(agent_steps=4)


def test_the_rows_of_all_groups_count() -> None:
    both = {"speaker": BATCH, "listener": BATCH}
    assert replace(collected(), batches=both, agent_steps=6).agent_steps == 6
    with pytest.raises(EvaluationError, match="must be the 6 rows"):
        replace(collected(), batches=both)


@pytest.mark.parametrize("wrong", [{"learned": -1}, {"ticks": -1}, {"vetoes": -1}, {"env_steps": -1}])
def test_a_count_is_not_negative(wrong: dict[str, int]) -> None:
    with pytest.raises(EvaluationError, match="is a count and must be at least 0, got -1"):
        collected(**wrong)


@pytest.mark.parametrize("total", [math.nan, math.inf])
def test_events_are_finite(total: float) -> None:
    with pytest.raises(EvaluationError, match="event `faint` must be a finite number"):
        collected(faints=total)


@pytest.mark.parametrize("bad", ["", "\x1b[31m", "\ud800", "a\nb", "\x9b"])
def test_names_are_printable_where_they_enter(bad: str) -> None:
    named = TrajectoryBatch.from_trajectories([make_trajectory(0, 2), make_trajectory(1, 1, agent_id=bad)])
    with pytest.raises(EvaluationError, match="the name of an agent of group `agents` must be printable text, got "):
        replace(collected(), batches={"agents": named})
    with pytest.raises(EvaluationError, match="the name of an agent group must be printable text"):
        replace(collected(), batches={bad: BATCH})
    with pytest.raises(EvaluationError, match="the name of an event must be printable text"):
        replace(collected(), events={bad: 1.0})
    with pytest.raises(EvaluationError, match="the name of an event must be printable text"):
        EpisodeScores.of(returns=[1.0], seeds=[1], events={bad: [0.0]})
