"""The side of a trajectory: a function of a seed and its identity."""

from dataclasses import fields, replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from strategies import make_trajectory

from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.data.pieces import split_every
from townlet_trajectory.data.split import episode_hash
from townlet_trajectory.data.table import TrajectoryTable, trajectory_hash
from townlet_trajectory.dataset.source import table_of


def make_table(num_episodes: int = 40) -> TrajectoryTable:
    """Two agents in each episode."""
    return table_of(
        TrajectoryBatch.from_trajectories(
            [
                make_trajectory(n, 5, world=n % 4, episode=n // 4, agent_id=agent, terminated=True)
                for n in range(num_episodes)
                for agent in ("ann", "ben")
            ]
        )
    )


def part_of(table: TrajectoryTable, chosen: np.ndarray) -> TrajectoryTable:  # type: ignore[type-arg]
    return TrajectoryTable(
        **{field.name: vars(table)[field.name][chosen] for field in fields(table) if field.name != "tags"}
    )


def test_the_hash_never_changes() -> None:
    # Splits of earlier versions must stay what they were.
    table = table_of(TrajectoryBatch.from_trajectories([make_trajectory(0, 1, agent_id="Zoë", world=2, first_tick=7)]))
    assert trajectory_hash(3, table).tolist() == [0.44800984857664017]


@given(st.integers(-(2**70), 2**70), st.integers(0, 39), st.sampled_from(["episodes", "trajectories"]))
def test_data_that_comes_later_moves_nothing(seed: int, num_first: int, by: str) -> None:
    table = make_table()
    hashes = {
        "episodes": lambda some: episode_hash(seed, some.worlds, some.episodes),
        "trajectories": lambda some: trajectory_hash(seed, some),
    }[by]
    first = np.arange(len(table)) < 2 * num_first
    np.testing.assert_array_equal(hashes(part_of(table, first)), hashes(table)[first])
    order = np.random.default_rng(seed % 1000).permutation(len(table))
    np.testing.assert_array_equal(hashes(part_of(table, order)), hashes(table)[order])


def test_pieces_of_a_trajectory_have_its_hash() -> None:
    batch = TrajectoryBatch.from_trajectories(
        [make_trajectory(n, 9, agent_id=f"agent {n}", terminated=True) for n in range(30)]
    )
    pieces = split_every(batch, 2)
    hashes = trajectory_hash(0, table_of(batch))
    assert len(set(hashes.tolist())) == 30
    np.testing.assert_array_equal(trajectory_hash(0, table_of(pieces)), np.repeat(hashes, 5))


def test_trajectories_that_differ_in_one_thing_have_other_hashes() -> None:
    one = make_trajectory(0, 2, terminated=True)
    others = [
        one,
        replace(one, agent_id="bob"),
        replace(one, world=1),
        replace(one, episode=1),
        replace(one, ticks=one.ticks + 1),
    ]
    table = table_of(TrajectoryBatch.from_trajectories(others))
    assert len(set(trajectory_hash(0, table).tolist())) == 5
    assert trajectory_hash(0, table)[0] != trajectory_hash(1, table)[0]
