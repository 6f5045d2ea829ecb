"""Steps of many trajectories, mixed: what a learner that needs no sequences is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.checks import check_columns
from townlet_trajectory.data.schema import Array, ArraySpec, TrajectorySchema
from townlet_trajectory.data.trajectory import ROW_SPECS
from townlet_trajectory.errors import ShapeError

_ROW_SPECS = {
    **ROW_SPECS,
    **dict.fromkeys(("terminated", "truncated"), ArraySpec("bool")),
    **dict.fromkeys(("steps", "trajectories"), ArraySpec("int64")),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class StepBatch:
    """N steps. The arrays are copies that belong to the caller."""

    schema: TrajectorySchema
    observations: Mapping[str, Array]
    """Each [N, ...]; what the decision was made from."""
    next_observations: Mapping[str, Array]
    """Each [N, ...]; what the action led to: the next step's observation, or the trajectory's final one. Empty unless
    they were asked for."""
    columns: Mapping[str, Array]
    """The decision columns, each [N, ...]."""
    rewards: NDArray[np.float32]
    """[N]."""
    ticks: NDArray[np.int64]
    """[N]."""
    terminated: NDArray[np.bool_]
    """[N]; the step was the last, and the end a true one."""
    truncated: NDArray[np.bool_]
    """[N]; the step was the last before a cut from outside."""
    steps: NDArray[np.int64]
    """[N]; number of the step among all steps of the source, selected or not: what tells one from another."""
    trajectories: NDArray[np.int64]
    """[N]; row of its trajectory in the source's table, which knows agent, world and episode."""

    def __post_init__(self) -> None:
        size = len(self)
        check_columns("observations", self.observations, self.schema.observations, size)
        if self.next_observations:
            check_columns("next_observations", self.next_observations, self.schema.observations, size)
        check_columns("columns", self.columns, self.schema.decisions, size)
        check_columns("rows", self.rows(), _ROW_SPECS, size)

    def __len__(self) -> int:
        """Steps (N)."""
        return len(self.steps)

    def take(self, indices: NDArray[np.int64]) -> StepBatch:
        """The steps `indices` [M], in that order; copies."""
        return StepBatch(
            schema=self.schema,
            observations=_taken(self.observations, indices),
            next_observations=_taken(self.next_observations, indices),
            columns=_taken(self.columns, indices),
            **_taken(self.rows(), indices),
        )

    @classmethod
    def concatenate(cls, batches: Sequence[StepBatch]) -> StepBatch:
        """The steps of batches of one dataset, one batch after the other. Raises `ShapeError` if there is none;
        `SchemaError` if schemas differ."""
        if not batches:
            raise ShapeError("at least one batch is needed")
        first = batches[0]
        for batch in batches:
            first.schema.require_equal(batch.schema)
        return cls(
            schema=first.schema,
            observations=_joined([batch.observations for batch in batches]),
            next_observations=_joined([batch.next_observations for batch in batches]),
            columns=_joined([batch.columns for batch in batches]),
            **_joined([batch.rows() for batch in batches]),
        )

    def rows(self) -> dict[str, Any]:
        """The arrays that every step batch has, whatever its schema, by name."""
        return {name: vars(self)[name] for name in _ROW_SPECS}


def _taken(arrays: Mapping[str, Array], indices: NDArray[np.int64]) -> dict[str, Any]:
    return {name: np.take(array, indices, axis=0) for name, array in arrays.items()}


def _joined(parts: Sequence[Mapping[str, Array]]) -> dict[str, Any]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
