"""Rows gathered out of several blocks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import assert_same_batch, batches, make_trajectory

from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.dataset.memory import LoadedBlock, LoadedBlocks


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


@pytest.mark.property
@given(st.lists(batches(), min_size=1, max_size=4), st.data())
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
