"""Preallocated columns of rows in the order they came, tick by tick."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.checks import (
    expected_columns,
    is_finite,
    refuse_column,
    refuse_infinite,
    refuse_names,
    with_rows,
)
from townlet_trajectory.data.schema import REWARD_TERM, ArraySpec, TrajectorySchema
from townlet_trajectory.data.trajectory import Array
from townlet_trajectory.errors import ShapeError
from townlet_trajectory.recording.roster import Presence
from townlet_trajectory.recording.segment import Kept, Segment, TickRows, scalar_layout_of

_FLOAT32 = np.dtype(np.float32)
NO_TERMS: Mapping[str, NDArray[np.float32]] = {}
"""A reward without named parts."""

# The stubs of numpy call an array a buffer from Python 3.12 on only.
_bytes_of: Callable[[tuple[Array, ...]], bytes] = b"".join  # type: ignore[assignment]


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Complete rows [R] of a buffer, copied."""

    observations: Mapping[str, Array]
    decisions: Mapping[str, Array]
    rewards: NDArray[np.float32]
    ticks: NDArray[np.int64]


class _Lent(NamedTuple):
    """Rows that the observations of the next tick may be written to."""

    segment: Segment
    first: int
    num_rows: int
    arrays: Mapping[str, Array]
    """Of the observations, each [num_rows, ...]."""


_NOTHING: Mapping[str, Array] = {}


class RolloutBuffer:
    """The rows of all ticks, in segments: room is added, never copied over, and used again after `clear`.

    A tick is written in three moves, each of which refuses what is not as the schema says: `begin` takes the
    observations, `decide` the decisions, `finish` the rewards, and only then the rows count. After a refusal the same
    move can be repeated, or another tick begun. All arrays are copied.
    """

    def __init__(self, schema: TrajectorySchema, *, chunk_rows: int) -> None:
        """Begin empty, with room for `chunk_rows` rows, and add about as much again whenever it is used up."""
        if chunk_rows < 1:
            raise ShapeError(f"`chunk_rows` must be at least 1, got {chunk_rows}")
        self._schema = schema
        self._layout = scalar_layout_of(schema)
        self._row_bytes = self._layout.row_bytes
        self._scalars_of = _getter(tuple(self._layout.columns))
        self._scalar_dtypes = [dtype for _, dtype in self._layout.columns.values()]
        self._terms = [(name, name.removeprefix(REWARD_TERM)) for name in self._layout.terms]
        self._decisions = {name: spec for name, spec in schema.decisions.items() if name not in self._layout.terms}
        tensors = {name: spec for name, spec in self._decisions.items() if spec.shape}
        self._rows_of_observations = expected_columns(schema.observations, finite=True)
        self._rows_of_tensors = expected_columns(tensors, finite=False)
        self._chunk_rows = chunk_rows
        self._segment = Segment(schema, self._layout, chunk_rows)
        self._segments: deque[Segment] = deque([self._segment])
        self._free: list[Segment] = []
        self._num_rows = 0
        self._tick = -1
        self._start = self._end = 0
        """First row of the tick in progress, and the first one behind it; equal between two ticks."""
        self._lent: _Lent | None = None
        self._expect(0)

    @property
    def num_rows(self) -> int:
        """Complete rows."""
        return self._num_rows

    @property
    def first_tick(self) -> int | None:
        """Tick of the oldest complete row, None when there is no row."""
        return next((segment.ticks[0][0] for segment in self._segments if segment.ticks), None)

    def lend(self, num_rows: int) -> Mapping[str, Array]:
        """Return arrays [num_rows, ...] for the observations of the next tick, which `begin` then keeps uncopied."""
        segment, first = self._segment, self._end
        if first + num_rows > segment.capacity:
            segment, first = self._spare(num_rows), 0
        rows = slice(first, first + num_rows)
        arrays = {name: segment.tensors[name][rows] for name in self._schema.observations}
        self._lent = _Lent(segment, first, num_rows, arrays)
        return arrays

    def begin(self, tick: int, num_rows: int, observations: Mapping[str, Array]) -> None:
        """Begin a tick of `num_rows` rows with its observations; see `TrajectoryService.begin_tick`."""
        if num_rows != self._size:
            self._expect(num_rows)
        self._tick = tick
        if len(observations) != len(self._observations):
            refuse_names("observations", observations, self._schema.observations)
        there = _NOTHING if self._lent is None else self._take_back(self._lent, observations)
        if there is _NOTHING and self._start + num_rows > self._segment.capacity:
            self._go_to(self._spare(num_rows))
        self._end = self._start
        rows, stores = slice(self._start, self._start + num_rows), self._segment.tensors
        try:
            for name, dtype, shape, must_be_finite in self._observations:
                column = observations[name]
                if column.dtype != dtype or column.shape != shape:
                    refuse_column(name, column, dtype, shape)
                if name not in there:
                    stores[name][rows] = column
                if must_be_finite and not is_finite(column):
                    refuse_infinite(name, column, tick)
        except KeyError:
            refuse_names("observations", observations, self._schema.observations)
        self._end = rows.stop

    def decide(self, columns: Mapping[str, Array]) -> None:
        """Take the decision columns of the tick, each [N, ...]; `SchemaError`, `ShapeError` as in `begin`."""
        if len(columns) != len(self._decisions):
            refuse_names("decisions", columns, self._decisions)
        try:
            scalars = self._scalars_of(columns)
            if self._tensors:
                self._write_tensors(columns)
        except KeyError:
            refuse_names("decisions", columns, self._decisions)
        try:
            block = _bytes_of(scalars)
        except TypeError:  # a column is not contiguous
            block = b"".join([column.tobytes() for column in scalars])
        # There are many: comparing lists is faster than comparing one by one.
        if [column.dtype for column in scalars] != self._scalar_dtypes:
            self._refuse_scalars(scalars)
        if [column.shape for column in scalars] != self._scalar_shapes:
            self._refuse_scalars(scalars)
        first = self._start * self._row_bytes
        self._segment.scalars[first : first + len(block)] = block

    def finish(
        self,
        rewards: NDArray[np.float32],
        presence: Presence,
        reward_terms: Mapping[str, NDArray[np.float32]] = NO_TERMS,
    ) -> None:
        """Take the rewards, and count the rows of the tick as complete.

        Args:
            rewards: [N].
            presence: whose the rows are.
            reward_terms: each [N], by the names of the schema.

        Raises:
            SchemaError, ShapeError, NonFiniteError: as in `begin`.
        """
        size, start = self._size, self._start
        self._check_finite("rewards", rewards)
        block = rewards.tobytes()
        if self._terms or reward_terms:
            block += self._checked_terms(reward_terms)
        if size:
            first = start * self._row_bytes + size * self._layout.reward
            self._segment.scalars[first : first + len(block)] = block
            self._segment.ticks.append((self._tick, size, start, presence))
            self._num_rows += size
            self._start = self._end

    def drop(self, num_rows: int) -> int:
        """Forget the oldest ticks that have together at least `num_rows` rows, and return how many they have."""
        before = self._num_rows
        while before - self._num_rows < num_rows and self._num_rows:
            segment = self._segments[0]
            if segment.ticks:
                self._num_rows -= segment.ticks.popleft()[1]
            else:
                self._free.append(self._segments.popleft())
        return before - self._num_rows

    def clear(self) -> None:
        """Forget all complete rows; the observations of a tick in progress stay."""
        for segment in self._segments:
            segment.ticks.clear()
        self._segments.pop()
        self._free += self._segments
        self._segments = deque([self._segment])
        self._num_rows = 0

    def blocks(self) -> list[TickRows]:
        """The complete ticks, oldest first."""
        return [block for segment in self._segments for block in segment.ticks]

    def in_progress(self, name: str) -> Array:
        """A view of an observation of the tick in progress, [N, ...]."""
        return self._segment.tensors[name][self._start : self._start + self._size]

    def rows(self, places: NDArray[np.int64] | None = None) -> Rows:
        """A copy of the complete rows; where `places` [R] is given, the i-th oldest goes to row `places[i]`."""
        blocks = np.array([block[:2] for block in self.blocks()], np.int64).reshape(-1, 2)
        if places is None:
            places = np.arange(self._num_rows)
        ticks, rewards = np.empty_like(places), np.empty(len(places), np.float32)
        ticks[places] = np.repeat(blocks[:, 0], blocks[:, 1])
        kept = [segment.kept() for segment in self._segments]
        rewards[places] = np.concatenate([part.rewards() for part in kept])
        return Rows(
            observations={name: _column(name, spec, kept, places) for name, spec in self._schema.observations.items()},
            decisions={name: _column(name, spec, kept, places) for name, spec in self._schema.decisions.items()},
            rewards=rewards,
            ticks=ticks,
        )

    def _check_finite(self, name: str, column: Array) -> None:
        if column.dtype != _FLOAT32 or column.shape != self._shape:
            refuse_column(name, column, _FLOAT32, self._shape)
        if not is_finite(column):
            refuse_infinite(name, column, self._tick)

    def _checked_terms(self, reward_terms: Mapping[str, NDArray[np.float32]]) -> bytes:
        if len(reward_terms) != len(self._terms) or any(term not in reward_terms for _, term in self._terms):
            refuse_names("reward_terms", reward_terms, {term: ArraySpec("float32") for _, term in self._terms})
        for name, term in self._terms:
            self._check_finite(name, reward_terms[term])
        return b"".join([reward_terms[term].tobytes() for _, term in self._terms])

    def _write_tensors(self, columns: Mapping[str, Array]) -> None:
        rows = slice(self._start, self._start + self._size)
        for name, dtype, shape, _ in self._tensors:
            column = columns[name]
            if column.dtype != dtype or column.shape != shape:
                refuse_column(name, column, dtype, shape)
            self._segment.tensors[name][rows] = column

    def _take_back(self, lent: _Lent, observations: Mapping[str, Array]) -> Mapping[str, Array]:
        """Let the tick begin where its observations are already; return those that are."""
        self._lent = None
        there = {name: array for name, array in lent.arrays.items() if observations.get(name) is array}
        # Rows of a segment are consecutive: after a tick that was begun in vain there would be a gap.
        if not there or (lent.segment is self._segment and lent.first != self._start):
            return _NOTHING
        if lent.segment is not self._segment:
            self._go_to(lent.segment)
        return there

    def _spare(self, num_rows: int) -> Segment:
        """Return a free segment that has room for `num_rows`."""
        self._free = [segment for segment in self._free if segment.capacity >= num_rows]
        if not self._free:
            # A multiple of the rows of a tick: while these stay as many, no row is left over.
            capacity = num_rows * max(1, self._chunk_rows // num_rows)
            self._free.append(Segment(self._schema, self._layout, capacity))
        return self._free[-1]

    def _go_to(self, segment: Segment) -> None:
        """Let the next rows be the first of a free segment."""
        self._free.remove(segment)
        if not self._segment.ticks:
            self._free.append(self._segments.pop())
        self._segment = segment
        self._segments.append(segment)
        self._start = 0

    def _expect(self, num_rows: int) -> None:
        """Prepare what the columns of a tick of `num_rows` rows are compared with."""
        self._size = num_rows
        self._shape = (num_rows,)
        self._scalar_shapes = [self._shape] * len(self._scalar_dtypes)
        self._observations = with_rows(self._rows_of_observations, num_rows)
        self._tensors = with_rows(self._rows_of_tensors, num_rows)

    def _refuse_scalars(self, scalars: tuple[Array, ...]) -> NoReturn:
        columns = zip(self._layout.columns, scalars, self._scalar_dtypes, strict=True)
        name, column, dtype = next(
            (name, column, dtype)
            for name, column, dtype in columns
            if column.dtype != dtype or column.shape != self._shape
        )
        refuse_column(name, column, dtype, self._shape)


def _getter(names: tuple[str, ...]) -> Callable[[Mapping[str, Array]], tuple[Array, ...]]:
    """Return a function that takes the values of `names` out of a mapping, in that order."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda columns: tuple(columns[name] for name in names)


def _column(name: str, spec: ArraySpec, kept: list[Kept], places: NDArray[np.int64]) -> Array:
    column: Array = np.empty((len(places), *spec.shape), spec.dtype)
    first = 0
    for rows in kept:
        part = rows.column(name)
        column[places[first : first + len(part)]] = part
        first += len(part)
    return column
