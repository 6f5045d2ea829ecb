"""Classic captures, one sample in memory at a time."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.schema import TrajectorySchema
from townlet_trajectory.data.trajectory import Array
from townlet_trajectory.dataset.memory import step_bytes
from townlet_trajectory.dataset.source import (
    BatchSource,
    TrajectoryTable,
    block_bounds,
    joined_tables,
    require_decision,
    table_of,
)
from townlet_trajectory.errors import CaptureError, SchemaError
from townlet_trajectory.formats.captures.classic_trajectory import trajectory_of
from townlet_trajectory.formats.captures.directory import UnnamedActionsWarning
from townlet_trajectory.formats.captures.manifest import CaptureEntry, read_capture_manifest
from townlet_trajectory.storage.json import Fields


class CaptureSource:
    """The accepted samples of a manifest; each is a block of one trajectory.

    Samples of the original are read as `trajectory_of` says, the number of the sample being its episode. The original
    counted the actions of each agent for itself: a vocabulary that is the beginning of another's is completed to it.
    Other than that all schemas must be equal.
    """

    def __init__(self, manifest: str | Path, *, data_root: str | Path | None = None) -> None:
        """Read every sample once, one at a time, for the table and for what later readings are compared with.

        Args:
            manifest: a JSON or YAML file, as `read_captures` takes it.
            data_root: where files that are not below the manifest's own folder are looked for. None: nowhere.

        Raises:
            ArtifactError: if a file is missing or damaged; `CaptureError` if there is no sample, or two contradict.
            MissingExtraError: for YAML, where the extra `yaml` is not installed.
        """
        self._entries = read_capture_manifest(manifest, data_root=data_root).accepted
        if not self._entries:
            raise CaptureError(manifest, "parse", "there is no accepted sample")
        self._samples = [_look_at(entry, number) for number, entry in enumerate(self._entries)]
        self._schema = _common_schema(self._entries, self._samples)
        self._table = joined_tables([sample.table for sample in self._samples])
        if unnamed := sum(not sample.has_named_actions for sample in self._samples):
            message = f"{manifest}: {unnamed} of {len(self._samples)} samples do not say what their action ids mean"
            warnings.warn(
                f"{message}: the same id may be another action elsewhere", UnnamedActionsWarning, stacklevel=2
            )

    @property
    def schema(self) -> TrajectorySchema:
        return self._schema

    @property
    def table(self) -> TrajectoryTable:
        return self._table

    @property
    def block_offsets(self) -> NDArray[np.int64]:
        return np.arange(len(self._samples) + 1)

    @property
    def encoded_bytes(self) -> NDArray[np.int64]:
        """[K]; as if nothing were compressed."""
        return self._table.lengths * step_bytes(self.schema)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(" ".join(sample.fingerprint for sample in self._samples).encode()).hexdigest()

    def load_block(self, block: int) -> TrajectoryBatch:
        block_bounds(self, block)
        entry = self._entries[block]
        batch = TrajectoryBatch.from_trajectories([trajectory_of(entry.load(), episode=block)])
        if BatchSource(batch).fingerprint != self._samples[block].fingerprint:
            raise CaptureError(entry.where, "verify", "the sample is not what it was when the manifest was opened")
        return replace(batch, schema=self._schema)

    def decision_column(self, block: int, name: str) -> Array:
        require_decision(self.schema, name)
        return self.load_block(block).columns[name]


@dataclass(frozen=True, kw_only=True)
class _Sample:
    """What is kept of a sample."""

    schema: TrajectorySchema
    table: TrajectoryTable
    fingerprint: str
    is_ours: bool
    has_named_actions: bool


def _look_at(entry: CaptureEntry, number: int) -> _Sample:
    sample = entry.load()
    trajectory = trajectory_of(sample, episode=number)
    tags = Fields(sample.metadata, entry.where).texts("tags") if "tags" in sample.metadata else ()
    batch = TrajectoryBatch.from_trajectories([trajectory])
    return _Sample(
        schema=trajectory.schema,
        table=table_of(batch, tags=frozenset(tags)),
        fingerprint=BatchSource(batch).fingerprint,
        is_ours=sample.trajectory is not None,
        has_named_actions=bool(sample.metadata.get("action_lookup")),
    )


def _common_schema(entries: Sequence[CaptureEntry], samples: Sequence[_Sample]) -> TrajectorySchema:
    common = max((sample.schema for sample in samples), key=lambda schema: len(schema.vocabulary))
    for entry, sample in zip(entries, samples, strict=True):
        known = sample.schema.vocabulary
        is_completed = not sample.is_ours and known == common.vocabulary[: len(known)]
        try:
            own = replace(sample.schema, vocabulary=common.vocabulary) if is_completed else sample.schema
            common.require_equal(own)
        except SchemaError as error:
            raise CaptureError(entry.where, "check", f"not as other samples are: {error}") from error
    return common
