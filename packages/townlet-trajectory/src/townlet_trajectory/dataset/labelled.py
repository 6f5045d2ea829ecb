"""Sources chosen by the labels of their episodes, and sources with other labels; nothing is written."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.checks import check_array
from townlet_trajectory.data.labels import LEARNED_FROM
from townlet_trajectory.data.ragged import offsets_of
from townlet_trajectory.data.schema import Array, ArraySpec, EpisodeLabel, TrajectorySchema
from townlet_trajectory.data.table import TrajectoryTable, labels_of_wholes, rows_of_table
from townlet_trajectory.dataset.memory import decoded_bytes
from townlet_trajectory.dataset.source import TrajectorySource, block_bounds


def with_labels(source: TrajectorySource, labels: Collection[EpisodeLabel] = LEARNED_FROM) -> TrajectorySource:
    """Leave out the trajectories of a source that have none of these labels; `source` itself where that is none.

    A piece has the label of its whole trajectory. Raises `ArtifactError` if the table cannot be read.
    """
    keep = np.isin(labels_of_wholes(source.table), [int(label) for label in labels])
    return source if keep.all() else KeptTrajectories(source, keep)


class KeptTrajectories:
    """The trajectories of a source where a mask [B] is true, in their order; blocks without any are left out.

    Raises:
        SchemaError, ShapeError: if the mask is not bool [B].
    """

    def __init__(self, source: TrajectorySource, keep: NDArray[np.bool_]) -> None:
        check_array("keep", keep, ArraySpec("bool"), len(source.table))
        self._source, self._keep = source, keep
        counts = np.diff(np.concatenate(([0], np.cumsum(keep)))[source.block_offsets])
        self._blocks = np.flatnonzero(counts)
        self.schema: TrajectorySchema = source.schema
        self.table: TrajectoryTable = rows_of_table(source.table, np.flatnonzero(keep))
        self.block_offsets: NDArray[np.int64] = offsets_of(counts[self._blocks])
        # What is left out is read as well.
        stored = source.encoded_bytes[self._blocks]
        beyond = decoded_bytes(source)[self._blocks] - decoded_bytes(self)
        self.encoded_bytes = np.where(stored > 0, stored + beyond, 0)

    @property
    def fingerprint(self) -> str:
        """Digest of the source and of what is kept of it."""
        mask = hashlib.sha256(np.packbits(self._keep).tobytes()).hexdigest()
        return hashlib.sha256(f"kept {mask} {self._source.fingerprint}".encode()).hexdigest()

    def load_block(self, block: int) -> TrajectoryBatch:
        """Read the kept trajectories of a block."""
        number, keep = self._place(block)
        batch = self._source.load_block(number)
        return batch if keep.all() else batch.filter_trajectories(keep)

    def decision_column(self, block: int, name: str) -> Array:
        """Read a decision column of the kept trajectories of a block."""
        number, keep = self._place(block)
        lengths = self._source.table.lengths[slice(*block_bounds(self._source, number))]
        column: Array = self._source.decision_column(number, name)[np.repeat(keep, lengths)]
        return column

    def _place(self, block: int) -> tuple[int, NDArray[np.bool_]]:
        """The block of the source, and which of its trajectories are kept."""
        block_bounds(self, block)
        number = int(self._blocks[block])
        return number, self._keep[slice(*block_bounds(self._source, number))]


class Relabelled:
    """The trajectories of a source with these labels [B] in place of theirs.

    Raises:
        SchemaError, ShapeError: if the labels are not int8 [B] of `EpisodeLabel`.
    """

    def __init__(self, source: TrajectorySource, labels: NDArray[np.int8]) -> None:
        check_array("labels", labels, ArraySpec("int8"), len(source.table))
        self._source = source
        self.schema: TrajectorySchema = source.schema
        self.table: TrajectoryTable = replace(source.table, episode_labels=labels)
        self.block_offsets, self.encoded_bytes = source.block_offsets, source.encoded_bytes

    @property
    def fingerprint(self) -> str:
        """Digest of the source and of the labels."""
        labels = hashlib.sha256(self.table.episode_labels.tobytes()).hexdigest()
        return hashlib.sha256(f"labels {labels} {self._source.fingerprint}".encode()).hexdigest()

    def load_block(self, block: int) -> TrajectoryBatch:
        """Read a block, with the other labels."""
        first, stop = block_bounds(self, block)
        return replace(self._source.load_block(block), episode_labels=self.table.episode_labels[first:stop])

    def decision_column(self, block: int, name: str) -> Array:
        """Read a decision column of a block, which labels do not change."""
        return self._source.decision_column(block, name)
