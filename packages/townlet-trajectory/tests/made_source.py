"""A source whose blocks exist only while somebody holds them, and the least budget of a dataset."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from strategies import SCHEMA, rows_of

from townlet_trajectory import TrajectoryBatch, TrajectorySchema
from townlet_trajectory.data.trajectory import Array
from townlet_trajectory.dataset.dataset import TrajectoryDataset
from townlet_trajectory.dataset.source import TrajectorySource, TrajectoryTable, table_of
from townlet_trajectory.errors import MemoryBudgetError


class MadeSource:
    """Blocks that are made when they are asked for; `encoded` bytes are held meanwhile. Counts what is read."""

    def __init__(self, num_blocks: int, *, encoded: int) -> None:
        self._encoded = encoded
        self._num_blocks = num_blocks
        self._template = table_of(self._make(0))
        self.loads: list[int] = []

    def _make(self, block: int) -> TrajectoryBatch:
        rng = np.random.default_rng(block)
        return TrajectoryBatch(
            schema=SCHEMA,
            offsets=np.arange(0, 401, 100),
            observations=rows_of(SCHEMA.observations, 400, rng),
            final_observations=rows_of(SCHEMA.observations, 4, rng),
            columns=rows_of(SCHEMA.decisions, 400, rng),
            rewards=np.zeros(400, np.float32),
            ticks=np.tile(np.arange(100), 4),
            terminated=np.zeros(4, np.bool_),
            truncated=np.ones(4, np.bool_),
            agent_ids=np.array(["a", "b", "c", "d"], object),
            worlds=np.full(4, block),
            episodes=np.zeros(4, np.int64),
        )

    @property
    def schema(self) -> TrajectorySchema:
        return SCHEMA

    @property
    def table(self) -> TrajectoryTable:
        one = self._template
        return TrajectoryTable(
            agent_ids=np.tile(one.agent_ids, self._num_blocks),
            worlds=np.repeat(np.arange(self._num_blocks), 4),
            episodes=np.tile(one.episodes, self._num_blocks),
            first_ticks=np.tile(one.first_ticks, self._num_blocks),
            lengths=np.tile(one.lengths, self._num_blocks),
            terminated=np.tile(one.terminated, self._num_blocks),
            truncated=np.tile(one.truncated, self._num_blocks),
        )

    @property
    def block_offsets(self) -> NDArray[np.int64]:
        return np.arange(self._num_blocks + 1) * 4

    @property
    def encoded_bytes(self) -> NDArray[np.int64]:
        return np.full(self._num_blocks, self._encoded)

    @property
    def fingerprint(self) -> str:
        return "0" * 64

    def load_block(self, block: int) -> TrajectoryBatch:
        self.loads.append(block)
        file = np.ones(self._encoded, np.uint8)
        made = self._make(block)
        assert file.all()
        return made

    def decision_column(self, block: int, name: str) -> Array:
        return self.load_block(block).columns[name]


def least_budget(sources: Sequence[TrajectorySource], *, batch_size: int, **options: Any) -> int:
    with pytest.raises(MemoryBudgetError) as caught:
        TrajectoryDataset(*sources, batch_size=batch_size, seed=0, memory_budget_bytes=1, **options)
    return caught.value.needed_bytes
