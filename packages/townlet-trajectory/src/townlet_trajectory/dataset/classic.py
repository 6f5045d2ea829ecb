"""What every form of a record holds alike: executed actions, what they were decided from, and what they earned."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.schema import ACTION_MASK, Array, ArraySpec, TrajectorySchema
from townlet_trajectory.data.table import TrajectoryTable
from townlet_trajectory.dataset.canonical import CanonicalOrder
from townlet_trajectory.dataset.memory import BLOCK_BYTES, decoded_bytes
from townlet_trajectory.dataset.source import ChainedSource, TrajectorySource, require_decision
from townlet_trajectory.errors import SchemaError

ACTION = "action"
"""The decision column of executed actions."""


class ClassicColumns:
    """A source restricted to the columns of the classic form, block by block.

    Observations are float32, by ascending name, without the mask of legal actions. The only decision column is
    `action`, int64, or as the schema has it where actions are arrays: who decided, proposals and probabilities are left
    out.

    Raises:
        SchemaError: if there is no decision column `action` of integers or array actions, or no observation but a mask.
    """

    def __init__(self, source: TrajectorySource) -> None:
        schema = source.schema
        spec = schema.decisions.get(ACTION)
        is_index = spec is not None and spec.shape == () and spec.numpy_dtype.kind in "iu"
        if spec is None or not (is_index or schema.actions is not None):
            raise SchemaError(f"the classic form has one action a step, integers of shape (): `{ACTION}` is {spec}")
        names = sorted(schema.observations.keys() - {ACTION_MASK})
        self._source = source
        self.schema = TrajectorySchema(
            observations={name: ArraySpec("float32", schema.observations[name].shape) for name in names},
            decisions={ACTION: ArraySpec("int64") if schema.actions is None else spec},
            vocabulary=schema.vocabulary,
            actions=schema.actions,
        )
        self._dtype = self.schema.decisions[ACTION].numpy_dtype
        self.table: TrajectoryTable = source.table
        self.block_offsets = source.block_offsets
        beyond = np.maximum(0, decoded_bytes(source) - decoded_bytes(self))
        stored = source.encoded_bytes
        self.encoded_bytes = np.where(stored > 0, stored + beyond, 0)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"classic {self._source.fingerprint}".encode()).hexdigest()

    def load_block(self, block: int) -> TrajectoryBatch:
        batch = self._source.load_block(block)
        names = self.schema.observations
        return replace(
            batch,
            schema=self.schema,
            observations={name: _as_float32(batch.observations[name]) for name in names},
            final_observations={name: _as_float32(batch.final_observations[name]) for name in names},
            columns={ACTION: batch.columns[ACTION].astype(self._dtype, copy=False)},
        )

    def decision_column(self, block: int, name: str) -> Array:
        require_decision(self.schema, name)
        return self._source.decision_column(block, name).astype(self._dtype, copy=False)


def classic_view(*sources: TrajectorySource, block_bytes: int = BLOCK_BYTES) -> CanonicalOrder:
    """Show the trajectories of sources as the classic form holds them: the same steps from any form give the same bits.

    Captures, shards, Minari and npz of the same trajectories make equal blocks, so equal batches of every epoch of a
    `TrajectoryDataset` without a memory budget. One with a budget reads within it.

    Args:
        sources: at least one. Their observations, without masks, have equal names and shapes, and their vocabularies
            are equal; other columns may differ. A world of one number is one world in all of them: recordings of
            different runs need numbers of their own (`merge_datasets(renumber_worlds=True)`).
        block_bytes: decoded columns of a block, about.

    Raises:
        DatasetError: if there is no source.
        SchemaError: if a source has no classic form, or two differ.
    """
    classic = [ClassicColumns(source) for source in sources]
    return CanonicalOrder(ChainedSource(classic) if len(classic) != 1 else classic[0], block_bytes=block_bytes)


def _as_float32(array: Array) -> Array:
    with np.errstate(over="ignore"):  # an infinity is refused where the batch is made
        narrow: Array = array.astype(np.float32, copy=False)
    return narrow
