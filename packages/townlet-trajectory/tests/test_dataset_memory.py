"""Bytes of blocks and batches, before anything is read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SCHEMA, assert_same_batch, batches, lists_of_batches, make_trajectory

from townlet_trajectory import ArraySpec, TrajectoryBatch, TrajectorySchema
from townlet_trajectory.dataset.memory import (
    BlockMemory,
    LoadedBlock,
    LoadedBlocks,
    StepUnit,
    TrajectoryUnit,
    block_memory,
    peak_bytes,
    step_batch_bytes,
    step_bytes,
    trajectory_bytes,
    window_bytes,
)
from townlet_trajectory.dataset.source import BatchSource
from townlet_trajectory.errors import MemoryBudgetError

TINY = TrajectorySchema(
    observations={"seen": ArraySpec("float32", (5,))}, decisions={"action": ArraySpec("int64")}, vocabulary=("a",)
)


def test_bytes_by_hand() -> None:
    assert step_bytes(TINY) == 20 + 8 + 4 + 8  # observation, action, reward, tick
    assert trajectory_bytes(TINY) == 20 + 5 * 8 + 2
    assert step_batch_bytes(TINY, with_next=False) == (40 + 8 + 8 + 2)
    assert step_batch_bytes(TINY, with_next=True) == (40 + 20 + 8 + 8 + 2)


def test_bytes_are_those_of_the_arrays() -> None:
    batch = TrajectoryBatch.from_trajectories([make_trajectory(1, 3), make_trajectory(2, 4)])
    columns = [*batch.observations.values(), *batch.columns.values(), batch.rewards, batch.ticks]
    assert sum(array.nbytes for array in columns) == 7 * step_bytes(SCHEMA)
    window = LoadedBlocks([LoadedBlock(batch=batch, first_step=0, first_trajectory=0)])
    steps = window.steps(np.arange(5), with_next=True)
    arrays = [*steps.observations.values(), *steps.next_observations.values(), *steps.columns.values()]
    own = [steps.rewards, steps.ticks, steps.terminated, steps.truncated, steps.steps, steps.trajectories]
    assert sum(array.nbytes for array in [*arrays, *own]) == 5 * step_batch_bytes(SCHEMA, with_next=True)


def test_blocks_that_are_stored_larger_than_decoded_count_as_stored() -> None:
    batch = TrajectoryBatch.from_trajectories([make_trajectory(1, 3), make_trajectory(2, 4)])
    source = BatchSource(batch, rows_per_block=3)
    source.encoded_bytes = np.array([10, 100_000])
    memory = block_memory(source)
    decoded = [3 * step_bytes(SCHEMA) + trajectory_bytes(SCHEMA), 4 * step_bytes(SCHEMA) + trajectory_bytes(SCHEMA)]
    # Beside the observations a row holds 79 bytes of decisions, 4 of reward and 8 of tick, and 32 of index.
    assert memory.held.tolist() == [decoded[0] + 3 * (91 + 32), 100_000 + 4 * (91 + 32)]
    assert memory.loading.tolist() == [2 * (10 + decoded[0]), 2 * (100_000 + decoded[1])]


def test_the_peak_by_hand() -> None:
    memory = BlockMemory(held=np.array([10, 50, 20]), loading=np.array([5, 90, 7]))
    assert peak_bytes(None, memory, np.array([0, 2]), 100) == (10 + 20) + 7 + 3 * 100
    assert peak_bytes(25, memory, np.array([0, 2]), 100) == 25 + 7 + 3 * 100
    assert peak_bytes(60, memory, np.array([0, 2]), 100) == (10 + 20) + 7 + 3 * 100  # a window with all of them
    assert peak_bytes(None, memory, np.array([], np.int64), 100) == 3 * 100


def test_what_is_left_for_a_window_by_hand() -> None:
    memory = BlockMemory(held=np.array([10, 50, 20]), loading=np.array([5, 90, 7]))
    blocks = np.array([0, 2])  # block 1 is not read
    assert window_bytes(100, memory, blocks, 4) == 100 - 7 - 3 * 4
    assert window_bytes(39, memory, blocks, 4) == 20
    with pytest.raises(
        MemoryBudgetError, match="must be at least 39, got 38: one block takes 20 bytes, loading it 7 more"
    ):
        window_bytes(38, memory, blocks, 4)


def make_window(parts: list[TrajectoryBatch]) -> LoadedBlocks:
    """The parts as blocks of a source that holds 100 steps and 50 trajectories before them."""
    blocks, step, trajectory = [], 100, 50
    for part in parts:
        blocks.append(LoadedBlock(batch=part, first_step=step, first_trajectory=trajectory))
        step, trajectory = step + part.num_steps, trajectory + len(part)
    return LoadedBlocks(blocks)


def test_steps_by_hand() -> None:
    # Rows 0 1 2 | 3 4 of the first block and 5 | 6 7 of the second.
    lengths = ((3, False), (2, True)), ((1, True), (2, False))
    parts = [
        TrajectoryBatch.from_trajectories(
            [make_trajectory(length, length, terminated=ended, truncated=not ended) for length, ended in block]
        )
        for block in lengths
    ]
    steps = make_window(parts).steps(np.array([4, 7, 0, 5, 2]), with_next=True)
    assert steps.steps.tolist() == [104, 107, 100, 105, 102]
    assert steps.trajectories.tolist() == [51, 53, 50, 52, 50]
    assert steps.terminated.tolist() == [True, False, False, True, False]
    assert steps.truncated.tolist() == [False, True, False, False, True]
    assert steps.ticks.tolist() == [1, 1, 0, 0, 2]
    expected = [
        parts[0].final_observations["features"][1],
        parts[1].final_observations["features"][1],
        parts[0].observations["features"][1],
        parts[1].final_observations["features"][0],
        parts[0].final_observations["features"][0],
    ]
    np.testing.assert_array_equal(steps.next_observations["features"], expected)


@given(lists_of_batches(), st.data())
def test_what_is_gathered_is_what_was_joined(parts: list[TrajectoryBatch], data: st.DataObject) -> None:
    whole, window = TrajectoryBatch.concatenate(parts), make_window(parts)
    numbers = data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=8))
    assert_same_batch(window.trajectories(np.array(numbers)), whole.select(np.array(numbers)))
    rows = np.array(data.draw(st.lists(st.integers(0, whole.num_steps - 1), min_size=1, max_size=8)))
    steps = window.steps(rows, with_next=False)
    for name, array in whole.observations.items():
        np.testing.assert_array_equal(steps.observations[name], array[rows], strict=True)
    for name, array in whole.columns.items():
        np.testing.assert_array_equal(steps.columns[name], array[rows], strict=True)


def test_what_is_gathered_is_a_copy() -> None:
    batch = TrajectoryBatch.from_trajectories([make_trajectory(1, 3)])
    steps = make_window([batch]).steps(np.arange(3), with_next=True)
    for array in [*steps.observations.values(), *steps.next_observations.values(), *steps.columns.values()]:
        assert array.flags.writeable
        assert not any(np.shares_memory(array, stored) for stored in batch.observations.values())


# Trajectories of 2, 3 and 1 rows; rows 1, 2, 3 are selected.
BATCH = TrajectoryBatch.from_trajectories([make_trajectory(n, length) for n, length in enumerate((2, 3, 1))])
CHOSEN = np.array([False, True, True, True, False, False])
SELECTED = np.array([1, 2, 0])
STEPS, TRAJECTORIES = StepUnit(with_next=True), TrajectoryUnit(with_replacement=False)


def one_block() -> LoadedBlocks:
    return LoadedBlocks([LoadedBlock(batch=BATCH, first_step=0, first_trajectory=0)])


def test_units_by_hand() -> None:
    window, weights = one_block(), np.array([0.0, 5.0, 1.0, 2.0, 0.0, 0.0])
    assert STEPS.per_trajectory(SELECTED).tolist() == [1, 2, 0]
    assert STEPS.numbers(window, CHOSEN).tolist() == [1, 2, 3]
    assert STEPS.weights(window, weights).tolist() == weights.tolist()
    assert TRAJECTORIES.per_trajectory(SELECTED).tolist() == [1, 1, 0]
    assert TRAJECTORIES.numbers(window, CHOSEN).tolist() == [0, 1]
    assert TRAJECTORIES.weights(window, weights).tolist() == [5.0, 3.0, 0.0]


def test_the_bytes_of_a_batch_by_hand() -> None:
    source = BatchSource(BATCH)
    step, once = step_bytes(BATCH.schema), trajectory_bytes(BATCH.schema)
    one = STEPS.batch_bytes(source, SELECTED, 1)
    assert [STEPS.batch_bytes(source, SELECTED, size) for size in (2, 3, 99)] == [2 * one, 3 * one, 3 * one]
    assert TRAJECTORIES.batch_bytes(source, SELECTED, 1) == 3 * step + once
    assert TRAJECTORIES.batch_bytes(source, SELECTED, 9) == 5 * step + 2 * once
    drawn = TrajectoryUnit(with_replacement=True)  # the longer one twice
    assert drawn.batch_bytes(source, SELECTED, 9) == 6 * step + 2 * once


@given(batches(), st.integers(1, 6))
def test_no_batch_of_trajectories_is_larger_than_was_counted(batch: TrajectoryBatch, size: int) -> None:
    source = BatchSource(batch)
    every = batch.lengths
    longest = batch.select(np.argsort(batch.lengths)[::-1][:size])
    rows = [*longest.observations.values(), *longest.columns.values(), longest.rewards, longest.ticks]
    once = [*longest.final_observations.values(), longest.worlds, longest.episodes, longest.terminated]
    held = sum(array.nbytes for array in rows + once)
    assert held <= TRAJECTORIES.batch_bytes(source, every, size)


def test_arrays_are_named_as_the_fields_are() -> None:
    steps = STEPS.arrays(one_block().steps(np.arange(3), with_next=True))
    assert list(steps) == [
        "observations",
        "next_observations",
        "columns",
        "rewards",
        "ticks",
        "terminated",
        "truncated",
        "steps",
        "trajectories",
    ]
    padded = TRAJECTORIES.arrays(BATCH)
    assert all(array.flags.writeable for array in padded.values() if isinstance(array, np.ndarray))
    assert padded["mask"].tolist() == [[True, True, False], [True, True, True], [True, False, False]]
