"""Memory of rows: observations side by side, and the scalars of a tick column after column."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.schema import REWARD_TERM, TrajectorySchema
from townlet_trajectory.data.trajectory import Array
from townlet_trajectory.recording.roster import Presence

_FLOAT32 = np.dtype(np.float32)
_ALIGNMENT = 8

TickRows = tuple[int, int, int, Presence]
"""The complete rows of one tick: the tick, how many, the first one's place in the segment, whose they are. A plain
tuple, for one is made at every tick."""


@dataclass(frozen=True, kw_only=True)
class ScalarLayout:
    """Places in memory of the decisions without a shape, of the reward and of its parts.

    They are bytes: of a tick of N rows there are first N values of one column, then N of the next, so that one call
    writes them all, however many columns there are. The widest dtypes come first, so that every value is aligned.
    """

    columns: Mapping[str, tuple[int, np.dtype[np.generic]]]
    """Bytes of a row before it, and dtype, by name, in the order they are kept."""
    reward: int
    """Bytes of a row before the reward, which comes behind the decisions."""
    terms: Mapping[str, tuple[int, np.dtype[np.generic]]]
    """Of the parts of the reward, which come behind it."""
    row_bytes: int
    """Bytes of a row, a multiple of 8."""


def scalar_layout_of(schema: TrajectorySchema) -> ScalarLayout:
    """The layout for the decisions of `schema`."""
    parts = [REWARD_TERM + term for term in schema.reward_terms]
    dtypes = {name: spec.numpy_dtype for name, spec in schema.decisions.items() if not spec.shape and name not in parts}
    columns, end = {}, 0
    for name in sorted(dtypes, key=lambda name: -dtypes[name].itemsize):
        columns[name] = (end, dtypes[name])
        end += dtypes[name].itemsize
    reward = _aligned(end, _FLOAT32.itemsize)
    terms = {name: (reward + (index + 1) * _FLOAT32.itemsize, _FLOAT32) for index, name in enumerate(parts)}
    size = reward + (len(parts) + 1) * _FLOAT32.itemsize
    return ScalarLayout(columns=columns, reward=reward, terms=terms, row_bytes=_aligned(size, _ALIGNMENT))


class Segment:
    """Room for `capacity` rows; memory is taken once, and never moved."""

    def __init__(self, schema: TrajectorySchema, layout: ScalarLayout, capacity: int) -> None:
        self.capacity = capacity
        self.ticks: deque[TickRows] = deque()
        """The ticks that are kept, oldest first; their rows are consecutive."""
        self.tensors: dict[str, Array] = {
            name: np.empty((capacity, *spec.shape), spec.dtype)
            for name, spec in {**schema.observations, **schema.decisions}.items()
            if name not in layout.columns and name not in layout.terms
        }
        """The observations, and the decisions with a shape, each [capacity, ...]."""
        self._layout = layout
        self._bytes = np.empty(capacity * layout.row_bytes, np.uint8)
        self.scalars = self._bytes.data
        """The other columns, as the layout says."""

    def kept(self) -> Kept:
        """The kept rows, to be read column by column."""
        return Kept(self, self._layout)


class Kept:
    """Reads the kept rows of a segment; where they are is worked out once for all columns."""

    def __init__(self, segment: Segment, layout: ScalarLayout) -> None:
        self._layout, self._tensors, self._bytes = layout, segment.tensors, np.frombuffer(segment.scalars, np.uint8)
        sizes, firsts = np.array([tick[1:3] for tick in segment.ticks], np.int64).reshape(-1, 2).T
        self._rows = slice(int(firsts[0]), int(firsts[-1] + sizes[-1])) if len(sizes) else slice(0, 0)
        self._sizes, self._firsts = np.repeat(sizes, sizes), np.repeat(firsts, sizes)
        self._begins: dict[int, NDArray[np.int64]] = {}
        """By the size of an item, where each row of a column without others before it would be."""

    def column(self, name: str) -> Array:
        """An observation or a decision; not to be written to."""
        if name in self._tensors:
            return self._tensors[name][self._rows]
        return self._scalar(*(self._layout.columns[name] if name in self._layout.columns else self._layout.terms[name]))

    def rewards(self) -> Array:
        """The rewards."""
        return self._scalar(self._layout.reward, _FLOAT32)

    def _scalar(self, before: int, dtype: np.dtype[np.generic]) -> Array:
        itemsize = dtype.itemsize
        if itemsize not in self._begins:
            rows = np.arange(self._rows.start, self._rows.stop)
            self._begins[itemsize] = rows + self._firsts * (self._layout.row_bytes // itemsize - 1)
        # Row r of the N rows of a tick that begin at row f is at byte f · row_bytes + N · before + (r - f) · itemsize.
        values: Array = self._bytes.view(dtype)[self._begins[itemsize] + self._sizes * (before // itemsize)]
        return values


def _aligned(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
