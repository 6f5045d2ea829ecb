"""Casts arrays of other people's code where nothing is lost, and names the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.errors import SimulationError

Array: TypeAlias = NDArray[Any]
Shape: TypeAlias = tuple[int, ...]
Column: TypeAlias = "tuple[np.dtype[Any], Shape]"
INT64, UINT64, BOOL, OBJECT = map(np.dtype, (np.int64, np.uint64, np.bool_, np.object_))
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


class Form(NamedTuple):
    """Dtypes and shapes of several arrays; lists, because comparing two lists is faster than comparing one by one."""

    types: list[type]
    dtypes: list[np.dtype[Any]]
    shapes: list[Shape]

    @classmethod
    def of(cls, columns: Sequence[Column]) -> Form:
        """Make the form of arrays of these dtypes and shapes."""
        return cls([np.ndarray] * len(columns), [dtype for dtype, _ in columns], [shape for _, shape in columns])

    def fits(self, arrays: Sequence[Array]) -> bool:
        """Whether all arrays are of their dtypes and shapes already."""
        return (
            [type(one) for one in arrays] == self.types
            and [one.dtype for one in arrays] == self.dtypes
            and [one.shape for one in arrays] == self.shapes
        )


class Agents(NamedTuple):
    """The agents that rows are of, each [N]."""

    agent_ids: NDArray[np.object_]
    worlds: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> Agents:
        """Those in `rows` [K]."""
        return Agents(self.agent_ids[rows], self.worlds[rows])


class Caster:
    """Casts the arrays of one simulation, and names simulation, world, agent and tick where something would be lost."""

    def __init__(self, simulation: str) -> None:
        self._simulation = simulation
        self.tick = 0
        """For messages."""

    def cast(self, name: str, value: Array, dtype: np.dtype[Any], shape: Shape, agents: Agents | None) -> Array:
        """Return `value` with this dtype and shape, if nothing is lost; a rounded float is no loss.

        Args:
            name: for the message.
            value: an array or nested lists.
            dtype: to cast to; `object`: texts.
            shape: that it must have.
            agents: of its rows; None where rows are not agents, or not known yet.

        Raises:
            SimulationError: if the shape is another, or a value changes.
        """
        try:
            array = np.asarray(value, OBJECT if dtype == OBJECT else None)
        except ValueError as error:
            raise SimulationError(f"{self.where()}: expected {dtype} {list(shape)} `{name}`, got {error}") from error
        if array.shape == (0,) and 0 in shape:
            return np.empty(shape, dtype)
        if array.shape != shape or array.dtype.kind not in "biufO" or (array.dtype == OBJECT) != (dtype == OBJECT):
            self.refuse(f"{dtype} {list(shape)} `{name}`", f"{array.dtype} {list(array.shape)}")
        if array.dtype == dtype:
            return array
        kept, cast = _lossless(array, dtype)
        if not kept.all():
            place = np.unravel_index(kept.argmin(), shape)
            row = None if agents is None else agents.take(np.array(place[:1]))
            self.refuse(f"{dtype} `{name}`", array[place], row)
        return cast

    def cast_named(
        self, group: str, given: Mapping[str, Array], shapes: Mapping[str, Shape], agents: Agents
    ) -> dict[str, Array]:
        """Cast float32 arrays that are given by name.

        Args:
            group: their common name, for the message.
            given: by name.
            shapes: of a row, by name; in this order.
            agents: of the rows.

        Raises:
            SimulationError: if the names are others, and as `cast`.
        """
        if given.keys() != shapes.keys():
            self.refuse(f"`{group}` named {sorted(shapes)}", sorted(given))
        rows = len(agents.worlds)
        return {name: self.cast(name, given[name], FLOAT32, (rows, *shapes[name]), agents) for name in shapes}

    def require_rows(self, kept: NDArray[np.bool_], promise: str, agents: Agents, column: Array) -> None:
        """Refuse a column for its first row that breaks a promise.

        Args:
            kept: [N]; rows that keep it.
            promise: for the message.
            agents: of the rows.
            column: [N, ...].

        Raises:
            SimulationError: unless all rows keep it.
        """
        if np.count_nonzero(kept) < len(kept):
            row = kept.argmin()
            got = repr(column[row]) if column.dtype == OBJECT else column[row]
            self.refuse(promise, got, agents.take(np.array([row])))

    def refuse(self, promise: str, got: object, agents: Agents | None = None) -> NoReturn:
        """Raise the error of a broken promise.

        Args:
            promise: what was expected.
            got: what came.
            agents: the first of them is named; None: no agent is.

        Raises:
            SimulationError: always.
        """
        raise SimulationError(f"{self.where(agents)}: expected {promise}, got {got}")

    def where(self, agents: Agents | None = None) -> str:
        """Name simulation and tick, and world and id of the first of some agents."""
        agent = ""
        if agents is not None and len(agents.worlds):
            agent = f", world {agents.worlds[0]}, agent {agents.agent_ids[0]!r}"
        return f"`{self._simulation}`{agent}, tick {self.tick}"


def _lossless(array: Array, dtype: np.dtype[Any]) -> tuple[NDArray[np.bool_], Array]:
    """Cast, and say where nothing was lost; a float is lost where it overflows."""
    with np.errstate(all="ignore"):
        cast: Array = array.astype(dtype)
        if dtype.kind == "f" and array.dtype.kind == "f":
            return np.isfinite(cast), cast
        return (cast.astype(array.dtype) == array) & ((cast < 0) == (array < 0)), cast
