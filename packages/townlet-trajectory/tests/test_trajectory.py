"""A trajectory cannot be wrong."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import assert_same_trajectory, make_trajectory, trajectories

from townlet_trajectory import (
    ContinuityError,
    NonFiniteError,
    SchemaError,
    ShapeError,
    Trajectory,
    TrajectoryBatch,
)
from townlet_trajectory.data.pieces import joined
from townlet_trajectory.data.trajectory import frozen


def test_one_more_observation_than_steps() -> None:
    trajectory = make_trajectory(0, 3)
    assert len(trajectory) == 3
    assert trajectory.observations["features"].shape == (4, 3)
    with pytest.raises(ShapeError, match=r"`map` must have shape \(4, 2, 3, 3\), got \(3, 2, 3, 3\)"):
        replace(trajectory, observations={name: array[:-1] for name, array in trajectory.observations.items()})


def test_arrays_are_read_only() -> None:
    trajectory = make_trajectory(0, 3)
    for array in (*trajectory.observations.values(), *trajectory.columns.values(), trajectory.rewards):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_empty() -> None:
    with pytest.raises(ShapeError, match="at least one step"):
        make_trajectory(0, 0)


def changed(array: np.ndarray, index: int, value: float) -> np.ndarray:
    array = array.copy()
    array[index] = value
    return array


def test_ticks_are_consecutive() -> None:
    trajectory = make_trajectory(0, 3, first_tick=5)
    with pytest.raises(ContinuityError, match=r"consecutive, got \[5 6 8\]"):
        replace(trajectory, ticks=np.array([5, 6, 8]))


def test_non_finite_numbers_are_named() -> None:
    trajectory = make_trajectory(0, 3, first_tick=5)
    with pytest.raises(NonFiniteError, match="`rewards` must be finite, got inf at tick 6, row 1"):
        replace(trajectory, rewards=changed(trajectory.rewards, 1, np.inf))
    observations = {**trajectory.observations, "features": changed(trajectory.observations["features"], 3, np.nan)}
    with pytest.raises(NonFiniteError, match="`features` must be finite, got nan at tick 8, row 3"):
        replace(trajectory, observations=observations)


def test_columns_are_those_of_the_schema() -> None:
    trajectory = make_trajectory(0, 2)
    columns = dict(trajectory.columns)
    value = columns.pop("value")
    with pytest.raises(SchemaError, match=r"columns: missing \['value'\], unknown \['worth'\]"):
        replace(trajectory, columns={**columns, "worth": value})
    with pytest.raises(SchemaError, match="`value` must have dtype float32, got float64"):
        replace(trajectory, columns={**columns, "value": value.astype(float)})


def test_is_no_copy() -> None:
    rewards = np.zeros(1, np.float32)
    trajectory: Trajectory = replace(make_trajectory(0, 1), rewards=rewards)
    assert np.shares_memory(trajectory.rewards, rewards)


def test_steps_of_a_slice_by_hand() -> None:
    trajectory = make_trajectory(0, 5, first_tick=10, truncated=True)
    part = trajectory[1:3]
    assert part.ticks.tolist() == [11, 12]
    np.testing.assert_array_equal(part.observations["features"], trajectory.observations["features"][1:4])
    np.testing.assert_array_equal(part.rewards, trajectory.rewards[1:3])
    assert (part.terminated, part.truncated) == (False, False)  # it goes on
    assert trajectory[3:].truncated
    assert np.shares_memory(part.observations["map"], trajectory.observations["map"])


@given(trajectories(), st.data())
def test_slices_put_together_are_the_whole(trajectory: Trajectory, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(trajectory)))
    parts = [trajectory[:cut]] + ([trajectory[cut:]] if cut < len(trajectory) else [])
    whole = joined(TrajectoryBatch.from_trajectories(parts))
    assert len(whole) == 1
    assert_same_trajectory(whole[0], trajectory)


@pytest.mark.parametrize("steps", [slice(2, 2), slice(3, 1), slice(9, 12), slice(0, 3, 2), slice(None, None, -1)])
def test_a_slice_holds_consecutive_steps(steps: slice) -> None:
    with pytest.raises(ShapeError, match="a slice of 3 steps must hold consecutive ones"):
        make_trajectory(0, 3)[steps]


def test_frozen_says_what_it_copies() -> None:
    owner = np.zeros((4, 2))
    part = owner[1:]
    copy = frozen(part)
    assert not np.shares_memory(copy, owner)
    assert owner.flags.writeable
    assert frozen(owner) is owner
    assert frozen(owner[1:]).base is owner  # nobody can write to it any more
    foreign = np.frombuffer(b"12345678", np.int32)
    assert frozen(foreign) is foreign
    empty = np.zeros((0, 3))
    assert frozen(empty) is empty
