"""Consecutive steps of one agent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.errors import ContinuityError, NonFiniteError, SchemaError, ShapeError
from townlet_trajectory.schema import ArraySpec, TrajectorySchema

Array = NDArray[np.generic]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trajectory:
    """T >= 1 consecutive steps of one agent, none of them beyond its end. The arrays are read-only views."""

    schema: TrajectorySchema
    observations: Mapping[str, Array]
    """Each [T + 1, ...]; row t is what decision t was made from, the last is what the last action led to."""
    columns: Mapping[str, Array]
    """The decision columns, each [T, ...]."""
    rewards: NDArray[np.float32]
    """[T]; what the action of the row earned."""
    ticks: NDArray[np.int64]
    """[T]; consecutive."""
    terminated: bool
    """A true end: the state after the last step is worth 0."""
    truncated: bool
    """Cut off from outside: the state after the last step is worth what its observation says. Neither: it goes on."""
    agent_id: str
    world: int
    episode: int
    """Number of the world's episode."""

    def __post_init__(self) -> None:
        steps = len(self)
        if steps == 0:
            raise ShapeError("a trajectory has at least one step")
        check_columns("observations", self.observations, self.schema.observations, steps + 1)
        check_columns("columns", self.columns, self.schema.decisions, steps)
        check_array("rewards", self.rewards, ArraySpec("float32"), steps)
        check_array("ticks", self.ticks, ArraySpec("int64"), steps)
        if np.any(np.diff(self.ticks) != 1):
            raise ContinuityError(f"`ticks` of {self.agent_id!r} must be consecutive, got {self.ticks}")
        ticks = np.append(self.ticks, self.ticks[-1] + 1)
        check_finite("rewards", self.rewards, ticks)
        for name, observation in self.observations.items():
            check_finite(name, observation, ticks)
        object.__setattr__(self, "observations", {name: read_only(array) for name, array in self.observations.items()})
        object.__setattr__(self, "columns", {name: read_only(array) for name, array in self.columns.items()})
        object.__setattr__(self, "rewards", read_only(self.rewards))
        object.__setattr__(self, "ticks", read_only(self.ticks))

    def __len__(self) -> int:
        """Steps (T)."""
        return len(self.rewards)


def read_only(array: Array) -> Array:
    """A view of `array` through which nothing can be written."""
    view = array.view()
    view.flags.writeable = False
    return view


def check_array(name: str, array: Array, spec: ArraySpec, length: int) -> None:
    """Raise `SchemaError` or `ShapeError` unless `array` is `length` rows of `spec`."""
    if array.dtype != spec.numpy_dtype:
        raise SchemaError(f"`{name}` must have dtype {spec.dtype}, got {array.dtype}")
    if array.shape != (length, *spec.shape):
        raise ShapeError(f"`{name}` must have shape {(length, *spec.shape)}, got {array.shape}")


def check_columns(what: str, columns: Mapping[str, Array], specs: Mapping[str, ArraySpec], length: int) -> None:
    """Raise `SchemaError` or `ShapeError` unless there is one array of `length` rows for each of `specs`."""
    if columns.keys() != specs.keys():
        missing, unknown = sorted(specs.keys() - columns.keys()), sorted(columns.keys() - specs.keys())
        raise SchemaError(f"{what}: missing {missing}, unknown {unknown}")
    for name, spec in specs.items():
        check_array(name, columns[name], spec, length)


def check_finite(name: str, array: Array, ticks: NDArray[np.int64]) -> None:
    """Raise `NonFiniteError` unless every element is finite; `ticks[row]` names the tick of a row."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        first = np.argwhere(~np.isfinite(array))[0]
        raise NonFiniteError(name, int(ticks[first[0]]), int(first[0]), float(array[tuple(first)]))
