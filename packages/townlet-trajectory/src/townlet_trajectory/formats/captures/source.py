"""Classic captures, one sample in memory at a time."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.ragged import offsets_of
from townlet_trajectory.data.schema import ArraySpec, TrajectorySchema, common_schema
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


class LeftOutRowsWarning(UserWarning):
    """Rows of a capture of the original are in no trajectory."""


class CaptureSource:
    """The accepted samples of a manifest; each is a block of its trajectories.

    Ours hold one trajectory; samples of the original are read as `trajectories_of` says, the number of the sample being
    its episode. The original counted the actions of each agent for itself: equal texts are one action here, in the
    order in which the samples first name them. Other than that all schemas must be equal, and names of features.
    """

    def __init__(self, manifest: str | Path, *, data_root: str | Path = ".") -> None:
        """Read every sample once, one at a time, for the table and for what later readings are compared with.

        Takes and raises what `read_captures` does; `CaptureError` also if no sample holds a trajectory, or two
        contradict. Warns of samples that do not name their actions (`UnnamedActionsWarning`), and of rows that are in
        no trajectory (`LeftOutRowsWarning`).
        """
        entries = read_capture_manifest(manifest, data_root=data_root).accepted
        if not entries:
            raise CaptureError(manifest, "parse", "there is no accepted sample")
        found = [_look_at(entry, number) for number, entry in enumerate(entries)]
        self._samples = [sample for sample in found if len(sample.table)]
        if not self._samples:
            reason = "no trajectory: a piece of one row holds no observation before an action"
            raise CaptureError(manifest, "restore", f"{reason}, and the {len(found)} samples hold no other")
        self.schema: TrajectorySchema = _common_schema(self._samples)
        self.table: TrajectoryTable = joined_tables([sample.table for sample in self._samples])
        self.block_offsets = offsets_of(np.array([len(sample.table) for sample in self._samples]))
        num_rows = np.array([sample.num_rows for sample in self._samples])
        self.encoded_bytes: NDArray[np.int64] = num_rows * step_bytes(self.schema)  # as if not compressed
        self.fingerprint = hashlib.sha256(" ".join(one.fingerprint for one in self._samples).encode()).hexdigest()
        _warn_of_losses(manifest, found)

    def load_block(self, block: int) -> TrajectoryBatch:
        block_bounds(self, block)
        known = self._samples[block]
        batch = TrajectoryBatch.from_trajectories(trajectories_of(known.entry.load(), episode=known.episode))
        if BatchSource(batch).fingerprint != known.fingerprint:
            raise CaptureError(
                known.entry.where, "verify", "the sample is not what it was when the manifest was opened"
            )
        if batch.schema == self.schema:
            return batch
        number_of = {text: number for number, text in enumerate(self.schema.vocabulary)}
        numbers = np.array([number_of[text] for text in batch.schema.vocabulary], np.int64)
        columns = {**batch.columns, "action": numbers[batch.columns["action"]]}
        return replace(batch, schema=self.schema, columns=columns)

    def decision_column(self, block: int, name: str) -> Array:
        require_decision(self.schema, name)
        return self.load_block(block).columns[name]


@dataclass(frozen=True, kw_only=True)
class _Sample:
    """What is kept of a sample."""

    entry: CaptureEntry
    episode: int
    schema: TrajectorySchema
    table: TrajectoryTable
    num_rows: int
    num_pieces: int
    """How many there would be, if every one held a step."""
    feature_names: tuple[str, ...]
    fingerprint: str
    is_ours: bool
    names_all_actions: bool


def _look_at(entry: CaptureEntry, number: int) -> _Sample:
    sample = entry.load()
    is_ours = sample.trajectory is not None
    trajectories = trajectories_of(sample, episode=number)
    schema = sample.trajectory.schema if sample.trajectory is not None else _classic_schema(sample)
    batch = TrajectoryBatch.concatenate(
        [TrajectoryBatch.empty(schema), *(TrajectoryBatch.from_trajectories([each]) for each in trajectories)]
    )
    tags = Fields(sample.metadata, entry.where).texts("tags") if "tags" in sample.metadata else ()
    return _Sample(
        entry=entry,
        episode=number,
        schema=schema,
        table=table_of(batch, tags=frozenset(tags)),
        num_rows=len(sample),
        num_pieces=1 if is_ours else 1 + int(np.count_nonzero(sample.dones[:-1])),
        feature_names=sample.feature_names,
        fingerprint=BatchSource(batch).fingerprint,
        is_ours=is_ours,
        names_all_actions=sample.names_all_actions,
    )


def _common_schema(samples: Sequence[_Sample]) -> TrajectorySchema:
    texts = tuple(dict.fromkeys(text for sample in samples for text in sample.schema.vocabulary))
    schemas = [sample.schema if sample.is_ours else replace(sample.schema, vocabulary=texts) for sample in samples]
    for sample, schema in zip(samples, schemas, strict=True):
        try:
            schemas[0].require_equal(schema)
        except SchemaError as error:
            raise CaptureError(sample.entry.where, "check", f"not as other samples are: {error}") from error
        if sample.feature_names != samples[0].feature_names:
            message = f"`feature_names` are not those of {samples[0].entry.sample}"
            raise CaptureError(sample.entry.where, "check", f"not as other samples are: {message}")
    return common_schema(schemas)


def _warn_of_losses(manifest: str | Path, samples: Sequence[_Sample]) -> None:
    if unnamed := sum(not sample.names_all_actions for sample in samples):
        message = f"{manifest}: {unnamed} of {len(samples)} samples do not say what their action ids mean"
        message += ": the same id may be another action elsewhere"
        warnings.warn(message, UnnamedActionsWarning, stacklevel=3)
    num_pieces = sum(sample.num_pieces for sample in samples)
    if left_out := num_pieces - sum(len(sample.table) for sample in samples):
        message = f"{manifest}: {left_out} of {num_pieces} pieces, cut where `dones` are true, are one row each, which "
        message += "holds no observation before an action: they are left out"
        warnings.warn(message, LeftOutRowsWarning, stacklevel=3)


_DECISIONS = {"action": ArraySpec("int64"), "old_log_probs": ArraySpec("float32"), "value_preds": ArraySpec("float32")}


def _classic_schema(sample: ReplaySample) -> TrajectorySchema:
    try:
        observations = {
            "map": ArraySpec("float32", sample.map.shape[1:]),
            "features": ArraySpec("float32", sample.features.shape[1:]),
        }
        return TrajectorySchema(observations=observations, decisions=_DECISIONS, vocabulary=sample.vocabulary)
    except SchemaError as error:
        raise CaptureError(sample.path, "restore", str(error)) from error


def trajectories_of(sample: ReplaySample, *, episode: int) -> tuple[Trajectory, ...]:
    """The trajectories of a sample: one of ours, of the original's one for each piece that holds a step.

    The original went on after a `done`: its samples are cut there. It stored beside an action what was seen *after* it.
    So row t - 1 holds the observation that action t was decided from, unless the agent was done then: R rows of a piece
    make R - 1 steps, and the last row is their final observation. A piece of one row makes none.

    A step's decision columns are `action`, `value_preds`, the value of the observation it was decided from, and
    `old_log_probs`, of a network that did not act and saw what came after. The last value of a piece is that of its
    final observation, the one behind it a copy: both are left out. `dones` do not tell a true end from a cut; they are
    taken for true ends. Pieces share agent, world (0) and episode; ticks are the numbers of the rows.

    Args:
        sample: as it was read.
        episode: number to give a sample that does not know its own.

    Raises:
        CaptureError: if the arrays of a sample of the original have no schema.
    """
    if sample.trajectory is not None:
        return (sample.trajectory,)
    cuts = np.flatnonzero(sample.dones[:-1]) + 1
    schema = _classic_schema(sample)
    return tuple(
        _piece(sample, schema, first, stop, episode)
        for first, stop in pairwise([0, *cuts.tolist(), len(sample)])
        if stop - first > 1
    )


def _piece(sample: ReplaySample, schema: TrajectorySchema, first: int, stop: int, episode: int) -> Trajectory:
    """Rows `first : stop`, without the step of the first."""
    return Trajectory(
        schema=schema,
        observations={"map": sample.map[first:stop], "features": sample.features[first:stop]},
        columns={
            "action": sample.actions[first + 1 : stop],
            "old_log_probs": sample.old_log_probs[first + 1 : stop],
            # A recorded value is a smooth function of the observation in its own row, and not of the one before: by
            # leave-one-out ridge regression of captures of the original (R² 0.998 and 0.10 where observations change).
            "value_preds": sample.value_preds[first : stop - 1],
        },
        rewards=sample.rewards[first + 1 : stop],
        ticks=np.arange(first + 1, stop),
        terminated=bool(sample.dones[stop - 1]),
        truncated=False,
        agent_id=str(sample.metadata.get("agent_id", "")),
        world=0,
        episode=episode,
    )
