"""Preallocated columns of rows in the order they came, tick by tick, bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from math import isfinite
from typing import Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.errors import BufferFullError, NonFiniteError, SchemaError, ShapeError
from townlet_trajectory.schema import ArraySpec
from townlet_trajectory.trajectory import Array

OnFull = Literal["raise", "drop_oldest"]
"""What a full buffer does with one more tick: refuse it, or forget whole oldest ticks."""

_BOUND_SIZES = 256
"""Numbers of rows per tick for which the bound columns are remembered."""


_Bound = tuple[str, Array, "np.dtype[np.generic]", tuple[int, ...], Array | None]
"""One column, bound to the rows of a tick: name, store, dtype, shape [N, ...] of the values to come, and as many zeros
as there are values where these must be finite. A plain tuple, for it is unpacked for every column at every tick."""


class RolloutBuffer:
    """Groups of flat columns; the N rows of a tick are consecutive and cost one slice assignment per column.

    A tick is written in three moves: `reserve` makes room behind the complete rows, `write` fills the columns of one
    group, in any order and as often as wanted, `commit` makes the rows count. Rows are kept in a ring, so neither
    dropping the oldest ticks nor taking all complete rows out moves a row.
    """

    def __init__(
        self,
        groups: Mapping[str, Mapping[str, ArraySpec]],
        *,
        finite: frozenset[str],
        chunk_rows: int,
        max_rows: int,
        on_full: OnFull,
    ) -> None:
        """Allocate `chunk_rows` rows.

        Args:
            groups: columns by group; a group is written as a whole.
            finite: groups whose floating-point columns refuse NaN and infinity.
            chunk_rows: rows to begin with; doubled until they suffice.
            max_rows: complete rows that are kept at most; rows reserved for the tick in progress come on top.
            on_full: what to do when a tick does not fit.
        """
        if not 1 <= chunk_rows <= max_rows:
            raise ShapeError(f"`chunk_rows` must be in [1, max_rows={max_rows}], got {chunk_rows}")
        if on_full not in ("raise", "drop_oldest"):
            raise SchemaError(f"`on_full` must be 'raise' or 'drop_oldest', got {on_full!r}")
        self._groups = {group: dict(specs) for group, specs in groups.items()}
        self._finite = finite
        self._max_rows = max_rows
        self._drops = on_full == "drop_oldest"
        self._capacity = chunk_rows
        self._stores = {
            group: {name: np.empty((chunk_rows, *spec.shape), spec.dtype) for name, spec in specs.items()}
            for group, specs in self._groups.items()
        }
        self._ticks: deque[tuple[int, int]] = deque()
        self._first = 0
        self._num_rows = 0
        self._dropped_rows = 0
        self._tick = -1
        self._reserved = -1
        self._bound: dict[str, list[_Bound]] = {}
        self._bound_by_size: dict[int, dict[str, list[_Bound]]] = {}
        self._zeros: dict[str, Array] = {"float32": np.zeros(0, np.float32), "float64": np.zeros(0, np.float64)}
        self._rows = slice(0, 0)
        self._rest = slice(0, 0)
        self._cut = 0

    @property
    def num_rows(self) -> int:
        """Complete rows."""
        return self._num_rows

    @property
    def dropped_rows(self) -> int:
        """Complete rows forgotten so far to keep within `max_rows`."""
        return self._dropped_rows

    @property
    def first_tick(self) -> int | None:
        """Tick of the oldest complete row, None when there is no row."""
        return self._ticks[0][0] if self._ticks else None

    def reserve(self, tick: int, num_rows: int) -> None:
        """Make room for the `num_rows` rows of `tick` behind the complete ones."""
        if self._num_rows + num_rows > self._capacity:
            self._grow(self._num_rows + num_rows)
        if num_rows != self._reserved:
            self._bind(num_rows)
        start = (self._first + self._num_rows) % self._capacity
        stop = start + num_rows
        self._tick = tick
        if stop <= self._capacity:
            self._rows, self._cut = slice(start, stop), 0
        else:
            self._rows, self._cut = slice(start, self._capacity), self._capacity - start
            self._rest = slice(0, stop - self._capacity)

    def write(self, group: str, values: Mapping[str, Array]) -> None:
        """Fill the columns of `group` for the reserved rows.

        Raises:
            SchemaError: if a column is missing, unknown or of another dtype.
            ShapeError: if a column is not [N, ...].
            NonFiniteError: if the group must be finite and a value is not.
        """
        bound = self._bound[group]
        if len(values) != len(bound):
            self._refuse_names(group, values)
        rows, cut = self._rows, self._cut
        try:
            for name, store, dtype, shape, zeros in bound:
                column = values[name]
                if column.shape != shape or column.dtype != dtype:
                    _refuse_column(name, column, shape, dtype)
                if zeros is not None and not _all_finite(column, zeros):
                    _refuse_non_finite(name, column, self._tick)
                if cut:
                    store[rows] = column[:cut]
                    store[self._rest] = column[cut:]
                else:
                    store[rows] = column
        except KeyError:
            self._refuse_names(group, values)

    def admit(self) -> None:
        """Make the reserved rows fit into `max_rows`, dropping whole oldest ticks where that is allowed.

        Raises:
            BufferFullError: if they do not fit.
        """
        excess = self._num_rows + self._reserved - self._max_rows
        if excess <= 0:
            return
        if not self._drops or self._reserved > self._max_rows:
            raise BufferFullError(
                f"tick {self._tick} has {self._reserved} rows and {self._num_rows} are kept, "
                f"`max_rows` is {self._max_rows}"
            )
        before = self._num_rows
        while before - self._num_rows < excess:
            self._discard(self._ticks.popleft()[1])
        self._dropped_rows += before - self._num_rows

    def commit(self) -> None:
        """Count the reserved rows as complete."""
        if self._reserved:
            self._ticks.append((self._tick, self._reserved))
            self._num_rows += self._reserved

    def drop_before(self, tick: int) -> None:
        """Forget the rows of ticks before `tick`, without counting them as dropped."""
        while self._ticks and self._ticks[0][0] < tick:
            self._discard(self._ticks.popleft()[1])

    def clear(self) -> None:
        """Forget all complete rows; reserved ones stay where they are."""
        self._discard(self._num_rows)
        self._ticks.clear()

    def ticks(self) -> NDArray[np.int64]:
        """Tick of each complete row, [R]."""
        pairs = np.array(self._ticks, np.int64).reshape(-1, 2)
        return np.repeat(pairs[:, 0], pairs[:, 1])

    def take(self, group: str, name: str, rows: NDArray[np.int64] | None = None) -> Array:
        """A copy of the complete rows of a column; in the order of `rows` (indices from 0, the oldest) where given."""
        store = self._stores[group][name]
        if rows is not None:
            return store[(rows + self._first) % self._capacity] if self._wrapped else store[rows + self._first]
        parts = [store[part] for part in self._complete()]
        return np.concatenate(parts)

    def take_reserved(self, group: str, name: str, rows: NDArray[np.int64]) -> Array:
        """A copy of some rows of the tick in progress (indices from 0, its first)."""
        start = self._first + self._num_rows
        return self._stores[group][name][(rows + start) % self._capacity]

    def relabel(self, group: str, name: str, labels: NDArray[np.int64]) -> None:
        """Replace every value v of an int64 column by `labels[v]`, in the complete rows."""
        store = self._stores[group][name]
        for part in self._complete():
            store[part] = labels[store[part]]

    @property
    def _wrapped(self) -> bool:
        return self._first + self._num_rows > self._capacity

    def _complete(self) -> list[slice]:
        stop = self._first + self._num_rows
        if not self._wrapped:
            return [slice(self._first, stop)]
        return [slice(self._first, self._capacity), slice(0, stop - self._capacity)]

    def _discard(self, num_rows: int) -> None:
        self._first = (self._first + num_rows) % self._capacity
        self._num_rows -= num_rows

    def _grow(self, needed: int) -> None:
        # Doubling makes the copying a constant per row; the last step goes no further than the bound asks.
        capacity = max(needed, min(2 * self._capacity, self._max_rows))
        parts = self._complete()
        for stores in self._stores.values():
            for name, store in stores.items():
                grown = np.empty((capacity, *store.shape[1:]), store.dtype)
                filled = 0
                for part in parts:
                    size = part.stop - part.start
                    grown[filled : filled + size] = store[part]
                    filled += size
                stores[name] = grown
        self._capacity = capacity
        self._first = 0
        self._reserved = -1
        self._bound_by_size.clear()

    def _bind(self, num_rows: int) -> None:
        if num_rows not in self._bound_by_size:
            if len(self._bound_by_size) >= _BOUND_SIZES:
                self._bound_by_size.clear()
            self._bound_by_size[num_rows] = {group: self._bind_group(group, num_rows) for group in self._groups}
        self._reserved = num_rows
        self._bound = self._bound_by_size[num_rows]

    def _bind_group(self, group: str, num_rows: int) -> list[_Bound]:
        bound: list[_Bound] = []
        for name, spec in self._groups[group].items():
            shape = (num_rows, *spec.shape)
            zeros = None
            if group in self._finite and spec.dtype in self._zeros:
                size = int(np.prod(shape))
                if len(self._zeros[spec.dtype]) < size:
                    self._zeros[spec.dtype] = np.zeros(size, spec.dtype)
                zeros = self._zeros[spec.dtype][:size]
            bound.append((name, self._stores[group][name], spec.numpy_dtype, shape, zeros))
        return bound

    def _refuse_names(self, group: str, values: Mapping[str, Array]) -> NoReturn:
        expected = self._groups[group].keys()
        raise SchemaError(
            f"{group}: missing {sorted(expected - values.keys())}, unknown {sorted(values.keys() - expected)}"
        )


def _all_finite(column: Array, zeros: Array) -> bool:
    """Whether every element is finite: 0 · x is 0 for these and NaN for the others, and a dot product is one pass."""
    try:
        return isfinite(column.reshape(-1).dot(zeros))
    except RuntimeWarning:  # raised for infinity where the caller turns warnings into errors
        return False


def _refuse_column(name: str, column: Array, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> NoReturn:
    if column.dtype != dtype:
        raise SchemaError(f"`{name}` must have dtype {dtype}, got {column.dtype}")
    raise ShapeError(f"`{name}` must have shape {shape}, got {column.shape}")


def _refuse_non_finite(name: str, column: Array, tick: int) -> NoReturn:
    first = np.argwhere(~np.isfinite(column))[0]
    raise NonFiniteError(name, tick, int(first[0]), float(column[tuple(first)]))
