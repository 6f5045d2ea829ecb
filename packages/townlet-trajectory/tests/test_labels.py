"""Which of several labels holds for a whole trajectory, and which trajectories are meant by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import make_trajectory

from townlet_trajectory import EpisodeLabel, TrajectoryBatch
from townlet_trajectory.data.labels import WhichEpisode, latest_labels, meant_rows
from townlet_trajectory.data.table import TrajectoryTable, labels_of_wholes
from townlet_trajectory.dataset.source import table_of

NONE, SUCCESS, FAILURE, DISCARD = EpisodeLabel


def test_the_latest_label_that_says_something_by_hand() -> None:
    # Two wholes of three and two pieces: the third piece of the first says nothing, so its second piece's label holds.
    labels = np.array([SUCCESS, FAILURE, NONE, NONE, NONE], np.int8)
    assert latest_labels(labels, np.array([0, 3])).tolist() == [FAILURE, NONE]
    assert latest_labels(labels[:0], np.zeros(0, np.int64)).tolist() == []


@given(st.lists(st.lists(st.sampled_from(EpisodeLabel), min_size=1, max_size=4), min_size=1, max_size=5))
def test_the_latest_label_is_that_of_a_loop(runs: list[list[EpisodeLabel]]) -> None:
    expected = []
    for run in runs:
        label = NONE
        for said in run:
            label = said or label
        expected.append(label)
    firsts = np.cumsum([0, *map(len, runs)])[:-1]
    found = latest_labels(np.array([said for run in runs for said in run], np.int8), firsts)
    assert (found.dtype, found.tolist()) == (np.int8, expected)


def pieces(*said: tuple[str, int, EpisodeLabel]) -> TrajectoryTable:
    """One piece of two steps for each agent, tick and label; the trajectories go on."""
    return table_of(
        TrajectoryBatch.from_trajectories(
            [
                replace(make_trajectory(1, 2, agent_id=agent_id, first_tick=tick), episode_label=label)
                for agent_id, tick, label in said
            ]
        )
    )


def test_every_piece_has_the_label_of_its_whole_wherever_it_is() -> None:
    # The later piece of ann comes first; ben's second begins at tick 5, not 4, and so is another trajectory.
    table = pieces(("ann", 2, DISCARD), ("ben", 2, NONE), ("ann", 0, SUCCESS), ("ben", 5, FAILURE))
    assert labels_of_wholes(table).tolist() == [DISCARD, NONE, DISCARD, FAILURE]
    assert labels_of_wholes(pieces(("ann", 0, SUCCESS), ("ann", 2, NONE))).tolist() == [SUCCESS, SUCCESS]


TABLE = table_of(
    TrajectoryBatch.from_trajectories(
        [
            make_trajectory(1, 3, agent_id="ann", episode=0, terminated=True),
            make_trajectory(2, 2, agent_id="ben", episode=0, truncated=True),
            make_trajectory(3, 2, agent_id="ann", episode=1, first_tick=3),
            make_trajectory(4, 1, agent_id="ann", world=1, episode=7, terminated=True),
        ]
    )
)


@pytest.mark.parametrize(
    ("which", "places"),
    [
        (WhichEpisode(world=0, agent_id="ann"), [2]),
        (WhichEpisode(world=0, agent_id="ann", ended=True), [0]),
        (WhichEpisode(world=0, agent_id="ben"), [1]),
        (WhichEpisode(world=0), [2]),
        (WhichEpisode(world=0, episode=0), [0, 1]),
        (WhichEpisode(world=0, not_episode=1, ended=True), [0, 1]),
        (WhichEpisode(world=0, agent_id="ann", episode=0), [0]),
        (WhichEpisode(world=0, agent_id="ann", episode=1, ended=True), []),
        (WhichEpisode(world=1, ended=True), [3]),
        (WhichEpisode(world=2), []),
        (WhichEpisode(world=0, agent_id="eve"), []),
    ],
)
def test_which_are_meant_by_hand(which: WhichEpisode, places: list[int]) -> None:
    goes_on = ~(TABLE.terminated | TABLE.truncated)
    assert meant_rows(which, TABLE, TABLE.first_ticks + TABLE.lengths, goes_on).tolist() == places
