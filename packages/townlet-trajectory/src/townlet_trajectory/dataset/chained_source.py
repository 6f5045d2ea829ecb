"""Several sources as one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.ragged import offsets_of
from townlet_trajectory.data.schema import TrajectorySchema
from townlet_trajectory.data.trajectory import Array
from townlet_trajectory.dataset.source import TrajectorySource, TrajectoryTable, block_bounds, joined_tables
from townlet_trajectory.errors import DatasetError


class ChainedSource:
    """The trajectories of sources with equal schemas, one source after the other.

    Raises:
        DatasetError: if there is no source.
        SchemaError: if schemas differ.
    """

    def __init__(self, sources: Sequence[TrajectorySource]) -> None:
        if not sources:
            raise DatasetError("at least one source is needed, to know the schema")
        for source in sources:
            sources[0].schema.require_equal(source.schema)
        self._sources = tuple(sources)
        self._first_blocks = np.cumsum([0, *(len(source.block_offsets) - 1 for source in sources)])
        self._table = joined_tables([source.table for source in sources])
        lengths = np.concatenate([np.diff(source.block_offsets) for source in sources])
        self._block_offsets = offsets_of(lengths)

    @property
    def schema(self) -> TrajectorySchema:
        return self._sources[0].schema

    @property
    def table(self) -> TrajectoryTable:
        return self._table

    @property
    def block_offsets(self) -> NDArray[np.int64]:
        return self._block_offsets

    @property
    def encoded_bytes(self) -> NDArray[np.int64]:
        return np.concatenate([source.encoded_bytes for source in self._sources])

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(" ".join(source.fingerprint for source in self._sources).encode()).hexdigest()

    def load_block(self, block: int) -> TrajectoryBatch:
        source, inside = self._place(block)
        return source.load_block(inside)

    def decision_column(self, block: int, name: str) -> Array:
        source, inside = self._place(block)
        return source.decision_column(inside, name)

    def _place(self, block: int) -> tuple[TrajectorySource, int]:
        block_bounds(self, block)
        number = int(np.searchsorted(self._first_blocks, block, side="right")) - 1
        return self._sources[number], block - int(self._first_blocks[number])
