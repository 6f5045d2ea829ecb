"""How trajectories ended, and what their last actions led to."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.checks import expected_columns, is_finite, refuse_column, refuse_infinite, refuse_names
from townlet_trajectory.data.schema import ACTION_MASK, TrajectorySchema
from townlet_trajectory.data.trajectory import Array
from townlet_trajectory.errors import ShapeError


class Ended(NamedTuple):
    """Trajectories [E] that ended, at one tick or at several."""

    tick: int
    """The last one."""
    numbers: NDArray[np.int64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    final_observations: Mapping[str, Array]


class Endings:
    """The trajectories that ended, tick by tick."""

    def __init__(self, schema: TrajectorySchema) -> None:
        self._specs = schema.observations
        self._expected = expected_columns(schema.observations, finite=True)
        self._ticks: deque[Ended] = deque()

    def add(self, ended: Ended) -> None:
        """Add what ended at a tick, the latest one."""
        self._ticks.append(ended)

    def drop_before(self, tick: int) -> None:
        """Forget what ended before `tick`."""
        while self._ticks and self._ticks[0].tick < tick:
            self._ticks.popleft()

    def clear(self) -> None:
        """Forget everything."""
        self._ticks.clear()

    def all(self) -> Ended:
        """Everything, in the order it was added."""
        none = {name: np.empty((0, *spec.shape), spec.dtype) for name, spec in self._specs.items()}
        nobody = Ended(-1, np.empty(0, np.int64), np.empty(0, np.bool_), np.empty(0, np.bool_), none)
        ticks, numbers, terminated, truncated, finals = zip(nobody, *self._ticks, strict=True)
        return Ended(
            ticks[-1],
            np.concatenate(numbers),
            np.concatenate(terminated),
            np.concatenate(truncated),
            {name: np.concatenate([final[name] for final in finals]) for name in self._specs},
        )

    def checked(
        self,
        tick: int,
        numbers: NDArray[np.int64],
        terminated: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
        final_rows: NDArray[np.int64],
        final_observations: Mapping[str, Array],
    ) -> Ended:
        """Return what ended of the trajectories `numbers` [N], not added yet; see `record_outcome` of the recorder."""
        rows = (terminated | truncated).nonzero()[0]
        if rows.tobytes() != final_rows.tobytes():
            raise ShapeError(f"`final_rows` must be the rows that ended, {rows}, got {final_rows}")
        mask = self._specs.get(ACTION_MASK)
        if mask is not None and ACTION_MASK not in final_observations:
            final_observations = {**final_observations, ACTION_MASK: np.ones((len(rows), *mask.shape), np.bool_)}
        if final_observations.keys() != self._specs.keys():
            refuse_names("final_observations", final_observations, self._specs)
        for name, dtype, row_shape, must_be_finite in self._expected:
            column, shape = final_observations[name], (len(rows), *row_shape)
            if column.dtype != dtype or column.shape != shape:
                refuse_column(name, column, dtype, shape)
            if must_be_finite and not is_finite(column):
                refuse_infinite(name, column, tick)
        copies = {name: column.copy() for name, column in final_observations.items()}
        return Ended(tick, numbers[rows], terminated[rows], truncated[rows], copies)
