"""Steps and trajectories as units."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import batches, make_trajectory

from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.dataset.memory import LoadedBlock, LoadedBlocks, step_bytes, trajectory_bytes
from townlet_trajectory.dataset.selection import Selected
from townlet_trajectory.dataset.source import BatchSource
from townlet_trajectory.dataset.units import StepUnit, TrajectoryUnit

# Trajectories of 2, 3 and 1 rows; rows 1, 2, 3 are selected.
BATCH = TrajectoryBatch.from_trajectories([make_trajectory(n, length) for n, length in enumerate((2, 3, 1))])
CHOSEN = np.array([False, True, True, True, False, False])
SELECTED = Selected(steps=np.array([1, 2, 0]), weights=np.array([1.0, 2.0, 0.0]))
STEPS, TRAJECTORIES = StepUnit(with_next=True), TrajectoryUnit(with_replacement=False)


def make_window() -> LoadedBlocks:
    return LoadedBlocks([LoadedBlock(batch=BATCH, first_step=0, first_trajectory=0)])


def test_units_by_hand() -> None:
    window, weights = make_window(), np.array([0.0, 5.0, 1.0, 2.0, 0.0, 0.0])
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


@pytest.mark.property
@given(batches(), st.integers(1, 6))
def test_no_batch_of_trajectories_is_larger_than_was_counted(batch: TrajectoryBatch, size: int) -> None:
    source = BatchSource(batch)
    every = Selected(steps=batch.lengths, weights=batch.lengths.astype(float))
    longest = batch.select(np.argsort(batch.lengths)[::-1][:size])
    rows = [*longest.observations.values(), *longest.columns.values(), longest.rewards, longest.ticks]
    once = [*longest.final_observations.values(), longest.worlds, longest.episodes, longest.terminated]
    held = sum(array.nbytes for array in rows + once)
    assert held <= TRAJECTORIES.batch_bytes(source, every, size)


def test_arrays_are_named_as_the_fields_are() -> None:
    steps = STEPS.arrays(make_window().steps(np.arange(3), with_next=True))
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
