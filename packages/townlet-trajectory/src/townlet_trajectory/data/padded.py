"""A batch as rectangles with a mask: what a sequence model wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.checks import refuse_names
from townlet_trajectory.data.ragged import flat_rows, offsets_of, padded_rows, step_mask
from townlet_trajectory.data.schema import ArraySpec, TrajectorySchema
from townlet_trajectory.data.trajectory import ROW_SPECS, TRAJECTORY_FIELDS, Array, Frozen, ManyTrajectories
from townlet_trajectory.errors import ShapeError


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PaddedBatch(ManyTrajectories, Frozen):
    """B trajectories of at most T steps. Everything behind the end of one is zero, also its action masks.

    The flat form is `TrajectoryBatch`: rows [R, ...] with `offsets`. Here it is rows [B, T, ...] with `mask`. The
    arrays are taken over and read-only, as those of a batch.
    """

    schema: TrajectorySchema
    mask: NDArray[np.bool_]
    """[B, T]; true where there is a step: at the first `length` places of each row, at least one."""
    observations: Mapping[str, Array]
    """Each [B, T + 1, ...]; behind the last step of a trajectory comes its final observation."""
    columns: Mapping[str, Array]
    """The decision columns, each [B, T, ...]."""
    rewards: NDArray[np.float32]
    """[B, T]."""
    ticks: NDArray[np.int64]
    """[B, T]; consecutive within a trajectory."""

    def __post_init__(self) -> None:
        mask = self.mask
        if mask.dtype != np.bool_ or mask.ndim != 2:
            raise ShapeError(f"`mask` must be bool [B, T], got {mask.dtype} of shape {mask.shape}")
        size, num_steps = mask.shape
        if (size and not (num_steps and mask[:, 0].all())) or np.any(mask[:, 1:] > mask[:, :-1]):
            raise ShapeError("`mask` must be true at the first places of each row, at least one, and false behind")
        _check_rectangles("observations", self.observations, self.schema.observations, (size, num_steps + 1))
        _check_rectangles("columns", self.columns, self.schema.decisions, (size, num_steps))
        _check_rectangles("rows", {"rewards": self.rewards, "ticks": self.ticks}, ROW_SPECS, (size, num_steps))
        self.check_trajectories(size)
        self.freeze()

    def __len__(self) -> int:
        """Trajectories (B)."""
        return len(self.mask)

    def __repr__(self) -> str:
        return f"<PaddedBatch: {len(self)} trajectories of at most {self.mask.shape[1]} steps>"

    @property
    def lengths(self) -> NDArray[np.int64]:
        """[B]; steps of each trajectory."""
        lengths: NDArray[np.int64] = self.mask.sum(axis=1, dtype=np.int64)
        return lengths

    @classmethod
    def of(cls, batch: TrajectoryBatch, *, num_steps: int | None = None) -> PaddedBatch:
        """Lay `batch` out; `num_steps` is T, where one shape is wanted for all batches (None: the greatest length).

        Raises `ShapeError` if a trajectory is longer than `num_steps`.
        """
        mask = step_mask(batch.offsets, num_steps)
        every = np.arange(len(batch))
        observations: dict[str, Array] = {}
        for name, array in batch.observations.items():
            padded = np.zeros((len(batch), mask.shape[1] + 1, *array.shape[1:]), array.dtype)
            padded[:, :-1][mask] = array
            padded[every, batch.lengths] = batch.final_observations[name]
            observations[name] = padded
        return cls(
            schema=batch.schema,
            mask=mask,
            observations=observations,
            columns={name: padded_rows(array, mask) for name, array in batch.columns.items()},
            **{name: padded_rows(vars(batch)[name], mask) for name in ROW_SPECS},
            **{name: vars(batch)[name] for name in TRAJECTORY_FIELDS},
        )

    def flat(self) -> TrajectoryBatch:
        """The inverse of `of`; what stands behind the ends is left out. Raises `ContinuityError`, `NonFiniteError` if
        the steps are not those of trajectories."""
        every, lengths = np.arange(len(self)), self.lengths
        return TrajectoryBatch(
            schema=self.schema,
            offsets=offsets_of(lengths),
            observations={name: flat_rows(array[:, :-1], self.mask) for name, array in self.observations.items()},
            final_observations={name: array[every, lengths] for name, array in self.observations.items()},
            columns={name: flat_rows(array, self.mask) for name, array in self.columns.items()},
            **{name: flat_rows(vars(self)[name], self.mask) for name in ROW_SPECS},
            **{name: vars(self)[name] for name in TRAJECTORY_FIELDS},
        )


def _check_rectangles(
    what: str, arrays: Mapping[str, Array], specs: Mapping[str, ArraySpec], shape: tuple[int, int]
) -> None:
    if arrays.keys() != specs.keys():
        refuse_names(what, arrays, specs)
    for name, spec in specs.items():
        array = arrays[name]
        if array.dtype != spec.numpy_dtype or array.shape != (*shape, *spec.shape):
            raise ShapeError(
                f"`{name}` must be {spec.dtype} {(*shape, *spec.shape)}, got {array.dtype.name} {array.shape}"
            )
