"""Flat batches: laws of splitting, merging and padding."""

import pickle
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SCHEMA, assert_same_batch, assert_same_trajectory, batches, make_trajectory, trajectories

from townlet_trajectory import (
    ContinuityError,
    NonFiniteError,
    SchemaError,
    ShapeError,
    Trajectory,
    TrajectoryBatch,
    TrajectorySchema,
)


def make_batch() -> TrajectoryBatch:
    return TrajectoryBatch.from_trajectories(
        [make_trajectory(1, 2, first_tick=4), make_trajectory(2, 1, agent_id="bob"), make_trajectory(3, 3, episode=1)]
    )


def test_rows_by_hand() -> None:
    batch = make_batch()
    assert (len(batch), batch.num_steps) == (3, 6)
    assert batch.offsets.tolist() == [0, 2, 3, 6]
    assert batch.lengths.tolist() == [2, 1, 3]
    assert batch.row_of_last.tolist() == [1, 2, 5]
    assert batch.trajectory_of_row.tolist() == [0, 0, 1, 2, 2, 2]
    assert batch.ticks.tolist() == [4, 5, 0, 0, 1, 2]


@given(st.lists(trajectories(), min_size=1, max_size=5))
def test_trajectory_inverts_from_trajectories(items: list[Trajectory]) -> None:
    batch = TrajectoryBatch.from_trajectories(items)
    for index, item in enumerate(items):
        assert_same_trajectory(batch.trajectory(index), item)


@given(batches(), st.data())
def test_select_then_concatenate_is_the_identity(batch: TrajectoryBatch, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(batch)))
    parts = [batch.select(np.arange(cut)), batch.select(np.arange(cut, len(batch)))]
    assert_same_batch(TrajectoryBatch.concatenate(parts), batch)


@given(batches(), st.data())
def test_select_takes_in_order_and_repeats(batch: TrajectoryBatch, data: st.DataObject) -> None:
    indices = data.draw(st.lists(st.integers(0, len(batch) - 1), max_size=6))
    selected = batch.select(np.array(indices, np.int64))
    for position, index in enumerate(indices):
        assert_same_trajectory(selected.trajectory(position), batch.trajectory(index))


@given(batches(), st.floats(0, 1), st.integers(0, 2**64 - 1))
def test_split_keeps_episodes_whole_and_loses_nothing(batch: TrajectoryBatch, fraction: float, seed: int) -> None:
    train, held_out = batch.split_by_episode(fraction, seed=seed)
    assert len(train) + len(held_out) == len(batch)
    assert not {*zip(train.worlds, train.episodes, strict=True)} & {
        *zip(held_out.worlds, held_out.episodes, strict=True)
    }
    # Whatever else is there, an episode stays on its side.
    for index in range(len(batch)):
        alone, _ = batch.select(np.array([index])).split_by_episode(fraction, seed=seed)
        on_train = (batch.worlds[index], batch.episodes[index]) in {*zip(train.worlds, train.episodes, strict=True)}
        assert (len(alone) == 1) == on_train


def test_split_holds_out_about_the_fraction() -> None:
    batch = TrajectoryBatch.from_trajectories(
        [make_trajectory(0, 1, world=world, episode=episode) for world in range(20) for episode in range(50)]
    )
    held_out = batch.split_by_episode(0.2, seed=3)[1]
    assert 160 <= len(held_out) <= 240  # binomial(1000, 0.2): three standard deviations are 38
    assert len(batch.split_by_episode(0.0, seed=3)[1]) == 0
    assert len(batch.split_by_episode(1.0, seed=3)[0]) == 0
    other = batch.split_by_episode(0.2, seed=4)[1]
    assert {*zip(other.worlds, other.episodes, strict=True)} != {*zip(held_out.worlds, held_out.episodes, strict=True)}
    with pytest.raises(ShapeError, match=r"`fraction` must be in \[0, 1\], got 1.5"):
        batch.split_by_episode(1.5, seed=0)


def test_an_empty_selection_is_a_batch() -> None:
    empty = make_batch().select(np.empty(0, np.int64))
    assert (len(empty), empty.num_steps) == (0, 0)


def test_schemas_must_be_equal() -> None:
    other = TrajectorySchema(observations=SCHEMA.observations, decisions=SCHEMA.decisions, vocabulary=("x", "y", "z"))
    stranger = replace(make_trajectory(0, 1), schema=other)
    with pytest.raises(SchemaError, match="vocabularies differ"):
        TrajectoryBatch.from_trajectories([make_trajectory(0, 1), stranger])
    with pytest.raises(SchemaError, match="vocabularies differ"):
        TrajectoryBatch.concatenate([make_batch(), TrajectoryBatch.from_trajectories([stranger])])
    with pytest.raises(SchemaError, match="at least one trajectory"):
        TrajectoryBatch.from_trajectories([])
    with pytest.raises(SchemaError, match="at least one batch"):
        TrajectoryBatch.concatenate([])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"offsets": np.array([1, 2, 3, 6])}, ShapeError, "begin with 0"),
        ({"offsets": np.array([0, 2, 2, 6])}, ShapeError, "ascend strictly"),
        ({"offsets": np.array([0, 2, 3, 7])}, ShapeError, r"`map` must have shape \(7,"),
        ({"ticks": np.array([4, 5, 0, 0, 1, 3])}, ContinuityError, r"consecutive, got \[1 3\]"),
        ({"rewards": np.array([0, 0, 0, 0, np.nan, 0], np.float32)}, NonFiniteError, "got nan at tick 1, row 4"),
        ({"terminated": np.zeros(2, bool)}, ShapeError, "`terminated` must have shape"),
        ({"worlds": np.zeros(3, np.int32)}, SchemaError, "`worlds` must have dtype int64, got int32"),
        ({"agent_ids": np.array(["a", "b", "c"])}, ShapeError, "`agent_ids` must be object"),
    ],
)
def test_a_batch_cannot_be_wrong(changes: dict[str, np.ndarray], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        replace(make_batch(), **changes)


def test_bad_arguments() -> None:
    batch = make_batch()
    with pytest.raises(IndexError, match="trajectory 3 of 3"):
        batch.trajectory(3)


def test_no_trajectories() -> None:
    empty = TrajectoryBatch.empty(SCHEMA)
    assert (len(empty), empty.num_steps, list(empty)) == (0, 0, [])
    assert_same_batch(TrajectoryBatch.concatenate([empty, make_batch(), empty]), make_batch())
    assert_same_batch(empty.select(np.empty(0, np.int64)), empty)
    assert_same_batch(empty.filter_trajectories(np.empty(0, np.bool_)), empty)
    assert_same_batch(empty[0:3], empty)
    assert [len(side) for side in empty.split_by_episode(0.5, seed=0)] == [0, 0]
    with pytest.raises(IndexError, match="trajectory 0 of 0"):
        empty.trajectory(0)


def arrays_of(batch: TrajectoryBatch) -> dict[str, np.ndarray]:
    plain = ("offsets", "rewards", "ticks", "terminated", "truncated", "agent_ids", "worlds", "episodes")
    groups = {"observations": batch.observations, "final": batch.final_observations, "columns": batch.columns}
    return {name: getattr(batch, name) for name in plain} | {
        f"{group}.{name}": array for group, arrays in groups.items() for name, array in arrays.items()
    }


@pytest.mark.parametrize("made", ["from_trajectories", "concatenate", "select", "slice", "empty", "replace"])
def test_nothing_can_be_written(made: str) -> None:
    batch = {
        "from_trajectories": make_batch,
        "concatenate": lambda: TrajectoryBatch.concatenate([make_batch(), make_batch()]),
        "select": lambda: make_batch().select(np.array([2, 0])),
        "slice": lambda: make_batch()[1:],
        "empty": lambda: TrajectoryBatch.empty(SCHEMA),
        "replace": lambda: replace(make_batch(), rewards=np.zeros(6, np.float32)),
    }[made]()
    for name, array in arrays_of(batch).items():
        assert not array.flags.writeable, name
        assert array.base is None or not isinstance(array.base, np.ndarray) or not array.base.flags.writeable, name
    with pytest.raises(ValueError, match="read-only"):
        batch.rewards[:] = 0


def test_an_array_handed_over_whole_is_taken_over() -> None:
    rewards = np.zeros(6, np.float32)
    reshaped = np.zeros((2, 3), np.float32).reshape(6)
    for given_array in (rewards, reshaped):
        batch = replace(make_batch(), rewards=given_array)
        assert np.shares_memory(batch.rewards, given_array)
        with pytest.raises(ValueError, match="read-only"):
            given_array[0] = 1


def test_a_part_of_a_writable_array_is_copied() -> None:
    for buffer in (np.zeros(10, np.float32), np.frombuffer(bytearray(40), np.float32)):
        batch = replace(make_batch(), rewards=buffer[2:8])
        buffer[:] = 1
        assert batch.rewards.tolist() == [0] * 6


def test_nothing_is_taken_over_by_a_batch_that_is_refused() -> None:
    rewards = np.full(6, np.nan, np.float32)
    with pytest.raises(NonFiniteError):
        replace(make_batch(), rewards=rewards)
    rewards[:] = 0


def test_adding_to_the_mapping_that_was_given_adds_nothing() -> None:
    columns = dict(make_batch().columns)
    batch = replace(make_batch(), columns=columns)
    columns["more"] = np.zeros(6)
    assert "more" not in batch.columns


@given(batches(), st.integers(-7, 7), st.integers(-7, 7), st.sampled_from([None, 1, 2, -1]))
def test_slices_are_those_of_a_list(batch: TrajectoryBatch, first: int, stop: int, stride: int | None) -> None:
    part, expected = batch[first:stop:stride], list(batch)[first:stop:stride]
    assert len(part) == len(expected)
    for one, other in zip(part, expected, strict=True):
        assert_same_trajectory(one, other)


def test_numbers_are_those_of_a_list() -> None:
    batch = make_batch()
    assert [batch[number].agent_id for number in (0, 1, -2, np.int64(2))] == ["alice", "bob", "bob", "alice"]
    for number in (3, -4):
        with pytest.raises(IndexError, match="of 3"):
            batch[number]


def test_a_slice_is_a_view() -> None:
    batch = make_batch()
    part = batch[1:3]
    assert part.offsets.tolist() == [0, 1, 4]
    for name, array in arrays_of(part).items():
        assert name == "offsets" or np.shares_memory(array, arrays_of(batch)[name]), name


@given(batches(), st.data())
def test_filter_is_that_of_a_list(batch: TrajectoryBatch, data: st.DataObject) -> None:
    keep = data.draw(st.lists(st.booleans(), min_size=len(batch), max_size=len(batch)))
    kept = batch.filter_trajectories(np.array(keep, np.bool_))
    expected = [trajectory for trajectory, kept_one in zip(batch, keep, strict=True) if kept_one]
    assert len(kept) == len(expected)
    for one, other in zip(kept, expected, strict=True):
        assert_same_trajectory(one, other)


def test_masks_and_numbers_are_not_mistaken_for_each_other() -> None:
    batch = make_batch()
    with pytest.raises(ShapeError, match="`indices` must be integers"):
        batch.select(np.array([True, False, True]))
    with pytest.raises(SchemaError, match="`keep` must have dtype bool, got int64"):
        batch.filter_trajectories(np.array([0, 1, 2]))
    with pytest.raises(ShapeError, match="`keep` must have shape"):
        batch.filter_trajectories(np.array([True]))


def test_agent_ids_are_strings() -> None:
    with pytest.raises(SchemaError, match=r"`agent_ids` must be str, got \['int'\]"):
        replace(make_batch(), agent_ids=np.array(["a", 1, "b"], object))


def test_numbers_whose_squares_overflow_are_finite() -> None:
    most = np.finfo(np.float32).max
    rewards = np.array([most, -most, 1e-45, 0, -0.0, 1], np.float32)
    batch = replace(make_batch(), rewards=rewards)
    assert batch.rewards.tolist() == rewards.tolist()
    with pytest.raises(NonFiniteError, match="got -inf at tick 1, row 4"):
        replace(batch, rewards=np.array([most, -most, 0, 0, -np.inf, 1], np.float32))
    strided = np.zeros((6, 2), np.float32)
    strided[3] = np.nan
    with pytest.raises(NonFiniteError, match="got nan at tick 0, row 3"):
        replace(batch, rewards=strided[:, 0])


def test_a_copy_is_as_read_only() -> None:
    batch = make_batch()
    for other in (pickle.loads(pickle.dumps(batch)), deepcopy(batch)):
        assert_same_batch(other, batch)
        with pytest.raises(ValueError, match="read-only"):
            other.rewards[0] = 0
        with pytest.raises(ValueError, match="read-only"):
            pickle.loads(pickle.dumps(other[1])).rewards[0] = 0


def test_a_batch_is_printed_in_one_line() -> None:
    assert repr(make_batch()) == "<TrajectoryBatch: 3 trajectories, 6 steps>"
    assert repr(make_batch()[1]) == "<Trajectory: 'bob', world 0, episode 0, 1 steps>"
