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
from townlet_trajectory.data.schema import ArraySpec, TrajectorySchema
from townlet_trajectory.data.trajectory import Array, Trajectory
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
from townlet_trajectory.formats.captures.directory import UnnamedActionsWarning
from townlet_trajectory.formats.captures.manifest import CaptureEntry, read_capture_manifest
from townlet_trajectory.formats.captures.sample import ReplaySample
from townlet_trajectory.storage.json import Fields


class CaptureSource:
    """The accepted samples of a manifest; each is a block of one trajectory.

    Samples of the original are read as `trajectory_of` says, the number of the sample being its episode. The original
    counted the actions of each agent for itself: a vocabulary that is the beginning of another's is completed to it.
    Other than that all schemas must be equal.
    """

    def __init__(self, manifest: str | Path, *, data_root: str | Path | None = None) -> None:
        """Read every sample once, one at a time, for the table and for what later readings are compared with.

        Takes and raises what `read_captures` does; `CaptureError` also if there is no sample, or two contradict.
        """
        self._entries = read_capture_manifest(manifest, data_root=data_root).accepted
        if not self._entries:
            raise CaptureError(manifest, "parse", "there is no accepted sample")
        self._samples = [_look_at(entry, number) for number, entry in enumerate(self._entries)]
        self.schema: TrajectorySchema = _common_schema(self._entries, self._samples)
        self.table: TrajectoryTable = joined_tables([sample.table for sample in self._samples])
        self.block_offsets = np.arange(len(self._samples) + 1)
        self.encoded_bytes: NDArray[np.int64] = self.table.lengths * step_bytes(self.schema)  # as if not compressed
        self.fingerprint = hashlib.sha256(" ".join(one.fingerprint for one in self._samples).encode()).hexdigest()
        if unnamed := sum(not sample.has_named_actions for sample in self._samples):
            message = f"{manifest}: {unnamed} of {len(self._samples)} samples do not say what their action ids mean"
            message += ": the same id may be another action elsewhere"
            warnings.warn(message, UnnamedActionsWarning, stacklevel=2)

    def load_block(self, block: int) -> TrajectoryBatch:
        block_bounds(self, block)
        entry = self._entries[block]
        batch = TrajectoryBatch.from_trajectories([trajectory_of(entry.load(), episode=block)])
        if BatchSource(batch).fingerprint != self._samples[block].fingerprint:
            raise CaptureError(entry.where, "verify", "the sample is not what it was when the manifest was opened")
        return replace(batch, schema=self.schema)

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


_DECISIONS = {"action": ArraySpec("int64"), "old_log_probs": ArraySpec("float32"), "value_preds": ArraySpec("float32")}


def trajectory_of(sample: ReplaySample, *, episode: int) -> Trajectory:
    """The trajectory of a sample, ours or the original's.

    The original stored beside an action what was seen *after* it. So its row t - 1 holds the observation that action t
    was decided from: T rows make T - 1 steps, and the last row is their final observation. A step's decision columns
    are `action`, and `old_log_probs` and `value_preds` of a network that did not act. `dones` do not tell a true end
    from a cut; they are taken for true ends. World and ticks are not known: 0, and counted from 1, as row 0 is lost.

    Args:
        sample: as it was read.
        episode: number to give a sample that does not know its own.

    Raises:
        CaptureError: if a sample of the original is too short, or goes on after a `done`.
    """
    if sample.trajectory is not None:
        return sample.trajectory
    num_steps = len(sample) - 1
    if num_steps == 0:
        raise CaptureError(sample.path, "restore", "one row of the original's holds no observation before an action")
    if sample.dones[:-1].any():
        row = int(np.flatnonzero(sample.dones)[0])
        raise CaptureError(sample.path, "restore", f"`dones` may be true in the last row alone, got row {row}")
    return Trajectory(
        schema=TrajectorySchema(
            observations={
                "map": ArraySpec("float32", sample.map.shape[1:]),
                "features": ArraySpec("float32", sample.features.shape[1:]),
            },
            decisions=_DECISIONS,
            vocabulary=sample.vocabulary,
        ),
        observations={"map": sample.map, "features": sample.features},
        columns={
            "action": sample.actions[1:].copy(),
            "old_log_probs": sample.old_log_probs[1:].copy(),
            "value_preds": sample.value_preds[1 : num_steps + 1].copy(),
        },
        rewards=sample.rewards[1:].copy(),
        ticks=np.arange(1, num_steps + 1),
        terminated=bool(sample.dones[-1]),
        truncated=False,
        agent_id=str(sample.metadata.get("agent_id", "")),
        world=0,
        episode=episode,
    )
