"""Pieces of one trajectory, and trajectories that cannot both be, against loops over all pairs."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from strategies import make_trajectory

from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.data.table import overlapping, whole_of_piece
from townlet_trajectory.dataset.source import TrajectoryTable, table_of

Row = tuple[str, int, int, int, int, bool]


def table(rows: list[Row]) -> TrajectoryTable:
    """Rows of agent id, world, episode, first tick, length, terminated."""
    agent_ids = np.empty(len(rows), object)
    agent_ids[:] = [row[0] for row in rows]
    numbers = [np.array([row[place] for row in rows], np.int64) for place in range(1, 5)]
    return TrajectoryTable(
        agent_ids=agent_ids,
        worlds=numbers[0],
        episodes=numbers[1],
        first_ticks=numbers[2],
        lengths=numbers[3],
        terminated=np.array([row[5] for row in rows], np.bool_),
        truncated=np.zeros(len(rows), np.bool_),
    )


def test_pieces_by_hand() -> None:
    rows = [
        ("alice", 0, 0, 0, 5, False),  # 0 goes on in 2
        ("bob", 0, 0, 0, 5, True),  # 1 ends, so 3 is a new life
        ("alice", 0, 0, 5, 5, False),  # 0 and on in 4
        ("bob", 0, 0, 5, 5, False),
        ("alice", 0, 0, 10, 2, True),
        ("alice", 0, 1, 12, 2, True),  # another episode
        ("alice", 1, 0, 12, 2, True),  # another world
    ]
    assert whole_of_piece(table(rows)).tolist() == [0, 1, 0, 2, 0, 3, 4]
    assert overlapping(table(rows)).tolist() == []


def test_a_recording_that_is_there_twice() -> None:
    rows: list[Row] = [("alice", 0, 0, 0, 5, False), ("alice", 0, 0, 5, 5, True)]
    assert whole_of_piece(table(rows + rows)).tolist() == [0, 0, 1, 1]
    assert overlapping(table(rows + rows)).tolist() == [2, 3]


def test_no_trajectory() -> None:
    assert whole_of_piece(table([])).tolist() == []
    assert overlapping(table([])).tolist() == []


def test_a_short_one_within_a_long_one_overlaps_and_the_next_too() -> None:
    rows: list[Row] = [("alice", 0, 0, 0, 100, True), ("alice", 0, 0, 5, 2, True), ("alice", 0, 0, 50, 2, True)]
    assert overlapping(table(rows)).tolist() == [1, 2]


def test_pieces_of_a_batch_are_one_again() -> None:
    whole = make_trajectory(1, 9, terminated=True)
    other = make_trajectory(2, 4, agent_id="bob")
    batch = TrajectoryBatch.from_trajectories([whole[0:4], other, whole[4:9]])
    assert whole_of_piece(table_of(batch)).tolist() == [0, 1, 0]


rows = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.integers(0, 1),
        st.integers(0, 1),
        st.integers(0, 12),
        st.integers(1, 5),
        st.booleans(),
    ),
    max_size=8,
)


@given(rows)
def test_overlaps_are_those_of_all_pairs(rows: list[Row]) -> None:
    late = [
        j
        for j, (*life, begin, _, _) in enumerate(rows)
        if any(
            other[:3] == tuple(life) and (other[3], i) < (begin, j) and begin < other[3] + other[4]
            for i, other in enumerate(rows)
        )
    ]
    assert overlapping(table(rows)).tolist() == late


@given(rows)
def test_wholes_are_chains_that_a_loop_finds(rows: list[Row]) -> None:
    heads: list[int] = list(range(len(rows)))
    taken: set[int] = set()
    for i, (agent, world, episode, begin, length, ended) in enumerate(rows):
        nexts = [
            j
            for j, row in enumerate(rows)
            if row[:3] == (agent, world, episode) and row[3] == begin + length and j not in taken and not ended
        ]
        if nexts:
            taken.add(nexts[0])
            heads[nexts[0]] = i
    while (further := [heads[head] for head in heads]) != heads:
        heads = further
    numbers = {head: number for number, head in enumerate(sorted(set(heads)))}
    assert whole_of_piece(table(rows)).tolist() == [numbers[head] for head in heads]
