"""How much memory blocks and batches take: worked out from the schema and the table, before anything is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.ragged import offsets_of
from townlet_trajectory.data.schema import ArraySpec, TrajectorySchema
from townlet_trajectory.dataset.source import TrajectorySource
from townlet_trajectory.errors import MemoryBudgetError

INDEX_BYTES = 32
"""Per row of a window: its number, its place in the order, its weight and their sums (8 bytes each)."""

BATCHES_HELD = 3
"""The batch that is handed out, the one before it, and the parts that it is put together from."""

_REWARD_AND_TICK = 4 + 8
_TABLE_ENTRY = 5 * 8 + 2
"""Offset, agent id, world, episode, length, and how it ended."""
_STEP_NUMBERS = 2 * 8 + 2
"""`steps`, `trajectories`, `terminated`, `truncated` of a step batch."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockMemory:
    """Bytes of K blocks."""

    held: NDArray[np.int64]
    """[K]; while a block is in a window: decoded, or as it is stored where that is more (what is not compressed is
    used in place), its columns joined with those of other blocks, and the index of its rows."""
    loading: NDArray[np.int64]
    """[K]; beyond that while it is loaded: what is stored, and as much again as is decoded. Counted twice, because
    allocators keep about as much of what was freed before (1 GB of lz4 shards of 16 MB through 256 MB: 281 MB above
    the imports when it was counted once)."""

    def most(self, blocks: NDArray[np.int64]) -> tuple[int, int]:
        """The greatest `held` and the greatest `loading` of some blocks."""
        return int(self.held[blocks].max(initial=0)), int(self.loading[blocks].max(initial=0))


def block_memory(source: TrajectorySource) -> BlockMemory:
    """What each block of `source` takes."""
    rows = np.diff(offsets_of(source.table.lengths)[source.block_offsets])
    decoded = rows * step_bytes(source.schema) + np.diff(source.block_offsets) * trajectory_bytes(source.schema)
    encoded = source.encoded_bytes
    joined = rows * (step_bytes(source.schema) - _row_bytes(source.schema.observations) + INDEX_BYTES)
    return BlockMemory(held=np.maximum(decoded, encoded) + joined, loading=2 * (encoded + decoded))


def step_bytes(schema: TrajectorySchema) -> int:
    """Bytes of one decoded step: observations, decision columns, reward and tick."""
    return _row_bytes(schema.observations) + _row_bytes(schema.decisions) + _REWARD_AND_TICK


def trajectory_bytes(schema: TrajectorySchema) -> int:
    """Bytes of what a batch holds once per trajectory."""
    return _row_bytes(schema.observations) + _TABLE_ENTRY


def step_batch_bytes(schema: TrajectorySchema, num_steps: int, *, with_next: bool) -> int:
    """Bytes of a batch of `num_steps` steps."""
    following = _row_bytes(schema.observations) if with_next else 0
    return num_steps * (step_bytes(schema) + following + _STEP_NUMBERS)


def window_bytes(budget_bytes: int, memory: BlockMemory, blocks: NDArray[np.int64], batch_bytes: int) -> int:
    """What the blocks of one window may take together, so that everything that is held stays within the budget.

    Args:
        budget_bytes: for blocks in memory, the one that is being loaded, and batches.
        memory: of all blocks.
        blocks: the blocks that are read.
        batch_bytes: of the largest batch.

    Raises:
        MemoryBudgetError: if one block at a time is too much.
    """
    held, loading = memory.most(blocks)
    needed = held + loading + BATCHES_HELD * batch_bytes
    if needed > budget_bytes:
        raise MemoryBudgetError(
            budget_bytes,
            needed,
            f"one block takes {held} bytes, loading it {loading} more, and {BATCHES_HELD} batches are held, "
            f"{batch_bytes} bytes each",
        )
    return budget_bytes - loading - BATCHES_HELD * batch_bytes


def _row_bytes(specs: Mapping[str, ArraySpec]) -> int:
    return sum(spec.row_bytes for spec in specs.values())
