"""Bytes of blocks and batches, before anything is read."""

import numpy as np
import pytest
from strategies import SCHEMA, make_trajectory

from townlet_trajectory import ArraySpec, TrajectoryBatch, TrajectorySchema
from townlet_trajectory.dataset.memory import (
    BlockMemory,
    LoadedBlock,
    LoadedBlocks,
    block_memory,
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
    # Beside the observations a row holds 58 bytes of decisions, 4 of reward and 8 of tick, and 32 of index.
    assert memory.held.tolist() == [decoded[0] + 3 * (70 + 32), 100_000 + 4 * (70 + 32)]
    assert memory.loading.tolist() == [2 * (10 + decoded[0]), 2 * (100_000 + decoded[1])]


def test_what_is_left_for_a_window_by_hand() -> None:
    memory = BlockMemory(held=np.array([10, 50, 20]), loading=np.array([5, 90, 7]))
    blocks = np.array([0, 2])  # block 1 is not read
    assert window_bytes(100, memory, blocks, 4) == 100 - 7 - 3 * 4
    assert window_bytes(39, memory, blocks, 4) == 20
    with pytest.raises(
        MemoryBudgetError, match="must be at least 39, got 38: one block takes 20 bytes, loading it 7 more"
    ):
        window_bytes(38, memory, blocks, 4)
