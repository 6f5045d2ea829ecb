"""The two kinds of batches of a dataset: of steps, mixed, and of whole trajectories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.steps import StepBatch
from townlet_trajectory.data.trajectory import Array
from townlet_trajectory.dataset.memory import LoadedBlocks, step_batch_bytes, step_bytes, trajectory_bytes
from townlet_trajectory.dataset.selection import Selected
from townlet_trajectory.dataset.source import TrajectorySource

UnitName = Literal["steps", "trajectories"]

BatchT = TypeVar("BatchT")
"""`StepBatch` or `TrajectoryBatch`."""

Arrays = dict[str, Array | dict[str, Array]]
"""A batch as a mapping of arrays, and of mappings of arrays."""


class Unit(Protocol[BatchT]):
    """One of the two kinds of batches."""

    def per_trajectory(self, selected: Selected) -> NDArray[np.int64]:
        """[B]; units of each trajectory."""
        ...

    def numbers(self, window: LoadedBlocks, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The units of a window, given which of its rows are selected."""
        ...

    def weights(self, window: LoadedBlocks, row_weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """The weights of these units, given those of the selected rows, 0 elsewhere."""
        ...

    def gather(self, window: LoadedBlocks, numbers: NDArray[np.int64]) -> BatchT:
        """A batch of units of a window."""
        ...

    def concatenate(self, batches: Sequence[BatchT]) -> BatchT:
        """One batch of several."""
        ...

    def arrays(self, batch: BatchT) -> Arrays:
        """Return the content of a batch as arrays by name."""
        ...

    def batch_bytes(self, source: TrajectorySource, selected: Selected, batch_size: int) -> int:
        """Compute the most bytes that a batch takes.

        Args:
            source: with the lengths of the trajectories.
            selected: what may be in a batch.
            batch_size: units of a batch.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class StepUnit:
    """Steps of any trajectories, mixed."""

    with_next: bool

    def per_trajectory(self, selected: Selected) -> NDArray[np.int64]:
        return selected.steps

    def numbers(self, window: LoadedBlocks, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.flatnonzero(chosen)

    def weights(self, window: LoadedBlocks, row_weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return row_weights

    def gather(self, window: LoadedBlocks, numbers: NDArray[np.int64]) -> StepBatch:
        return window.steps(numbers, with_next=self.with_next)

    def concatenate(self, batches: Sequence[StepBatch]) -> StepBatch:
        return StepBatch.concatenate(batches)

    def arrays(self, batch: StepBatch) -> Arrays:
        """The fields of a `StepBatch` by name."""
        following: Arrays = {"next_observations": dict(batch.next_observations)} if self.with_next else {}
        return {
            "observations": dict(batch.observations),
            **following,
            "columns": dict(batch.columns),
            "rewards": batch.rewards,
            "ticks": batch.ticks,
            "terminated": batch.terminated,
            "truncated": batch.truncated,
            "steps": batch.steps,
            "trajectories": batch.trajectories,
        }

    def batch_bytes(self, source: TrajectorySource, selected: Selected, batch_size: int) -> int:
        """See `Unit`."""
        num_steps = min(batch_size, int(selected.steps.sum()))
        return num_steps * step_batch_bytes(source.schema, with_next=self.with_next)


@dataclass(frozen=True, kw_only=True)
class TrajectoryUnit:
    """Whole trajectories: those with at least one selected step."""

    with_replacement: bool
    """Whether a batch may hold a trajectory more than once."""

    def per_trajectory(self, selected: Selected) -> NDArray[np.int64]:
        return (selected.steps > 0).astype(np.int64)

    def numbers(self, window: LoadedBlocks, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.flatnonzero(np.logical_or.reduceat(chosen, window.starts))

    def weights(self, window: LoadedBlocks, row_weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.add.reduceat(row_weights, window.starts)

    def gather(self, window: LoadedBlocks, numbers: NDArray[np.int64]) -> TrajectoryBatch:
        return window.trajectories(numbers)

    def concatenate(self, batches: Sequence[TrajectoryBatch]) -> TrajectoryBatch:
        return TrajectoryBatch.concatenate(batches)

    def arrays(self, batch: TrajectoryBatch) -> Arrays:
        """Rows padded with zeros to [B, T, ...], and `mask` [B, T], true where there is a step; all writable."""
        rewards, mask = batch.padded(batch.rewards)
        return {
            "observations": {name: batch.padded(array)[0] for name, array in batch.observations.items()},
            "final_observations": {name: array.copy() for name, array in batch.final_observations.items()},
            "columns": {name: batch.padded(array)[0] for name, array in batch.columns.items()},
            "rewards": rewards,
            "ticks": batch.padded(batch.ticks)[0],
            "mask": mask,
            "lengths": batch.lengths,
            "terminated": batch.terminated.copy(),
            "truncated": batch.truncated.copy(),
            "worlds": batch.worlds.copy(),
            "episodes": batch.episodes.copy(),
        }

    def batch_bytes(self, source: TrajectorySource, selected: Selected, batch_size: int) -> int:
        """See `Unit`."""
        longest = np.sort(source.table.lengths[selected.steps > 0])[::-1][:batch_size]
        if self.with_replacement:
            longest = np.repeat(longest[:1], len(longest))
        return int(longest.sum()) * step_bytes(source.schema) + len(longest) * trajectory_bytes(source.schema)
