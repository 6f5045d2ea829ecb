"""Uses of trajectories: a function of a seed and their identity, and no part empty in silence."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import make_trajectory

from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.data.pieces import split_every
from townlet_trajectory.data.split import episode_hash, is_held_out
from townlet_trajectory.dataset.source import TrajectoryTable, table_of
from townlet_trajectory.dataset.split import split_for_learning, trajectory_hash
from townlet_trajectory.errors import DatasetError


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


def test_parts_are_those_of_the_hashes() -> None:
    table = make_table()
    split = split_for_learning(table, choose=0.2, judge=0.3, seed=5)
    hashes = episode_hash(5, table.worlds, table.episodes)
    assert split.judge.tolist() == [number < 0.3 for number in hashes.tolist()]
    assert split.choose.tolist() == [0.3 <= number < 0.5 for number in hashes.tolist()]
    assert split.train.tolist() == [number >= 0.5 for number in hashes.tolist()]
    np.testing.assert_array_equal(~split.train, is_held_out(0.5, seed=5, worlds=table.worlds, episodes=table.episodes))
    np.testing.assert_array_equal(split.judge[::2], split.judge[1::2])  # both agents of an episode
    apart = split_for_learning(table, choose=0.2, judge=0.3, seed=5, by="trajectories")
    assert (apart.judge[::2] != apart.judge[1::2]).any()


@pytest.mark.property
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


def test_a_unit_to_judge_by_stays_one_at_greater_shares() -> None:
    table = make_table()
    judged = [split_for_learning(table, choose=0.1, judge=share, seed=1).judge for share in (0.2, 0.4, 0.8)]
    assert not (judged[0] & ~judged[1]).any() and not (judged[1] & ~judged[2]).any()


def test_pieces_of_a_trajectory_are_in_one_part() -> None:
    batch = TrajectoryBatch.from_trajectories(
        [make_trajectory(n, 9, agent_id=f"agent {n}", terminated=True) for n in range(30)]
    )
    pieces = split_every(batch, 2)
    of_wholes = split_for_learning(table_of(batch), choose=0.3, judge=0.3, seed=0, by="trajectories")
    of_pieces = split_for_learning(table_of(pieces), choose=0.3, judge=0.3, seed=0, by="trajectories")
    for name, mask in vars(of_wholes).items():
        np.testing.assert_array_equal(vars(of_pieces)[name], np.repeat(mask, 5))


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


def test_an_empty_part_is_refused_unless_it_is_asked_for() -> None:
    table = make_table(2)
    with pytest.raises(DatasetError, match=r"2 episodes with seed 0, .* no unit is in \['choose'.*give more episodes"):
        split_for_learning(table, choose=0.001, judge=0.4, seed=0)
    split = split_for_learning(table, choose=0.0, judge=0.0, seed=0)
    assert split.train.all() and not split.choose.any() and not split.judge.any()
    with pytest.raises(DatasetError, match=r"0 trajectories .* no unit is in \['train', 'choose', 'judge'\]"):
        split_for_learning(part_of(table, np.zeros(4, np.bool_)), choose=0.1, judge=0.1, seed=0, by="trajectories")


@pytest.mark.parametrize(("choose", "judge"), [(-0.1, 0.2), (0.2, -0.1), (0.5, 0.5), (np.nan, 0.1), (0.1, np.nan)])
def test_shares_out_of_range(choose: float, judge: float) -> None:
    with pytest.raises(DatasetError, match="`choose` and `judge` must be at least 0 and less than 1 together"):
        split_for_learning(make_table(), choose=choose, judge=judge, seed=0)


def test_another_unit() -> None:
    with pytest.raises(DatasetError, match="`by` must be `episodes` or `trajectories`, got 'steps'"):
        split_for_learning(make_table(), choose=0.1, judge=0.1, seed=0, by="steps")  # type: ignore[arg-type]
