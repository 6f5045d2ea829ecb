"""A fixed number of rows, filled tick by tick from the front."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from townlet_trajectory.data.schema import TrajectorySchema
from townlet_trajectory.data.trajectory import Array
from townlet_trajectory.recording.roster import Presence

_FLOAT32 = np.dtype(np.float32)
_ALIGNMENT = 8

TickRows = tuple[int, int, int, Presence]
"""The complete rows of one tick: the tick, how many, the first one's place in the segment, whose they are. A plain
tuple, for one is made at every tick."""


@dataclass(frozen=True, kw_only=True)
class ScalarLayout:
    """Where the decisions without a shape, and the reward, lie in memory.

    They are bytes: of a tick of N rows there are first N values of one column, then N of the next, so that one call
    writes them all, however many columns there are. The widest dtypes come first, so that every value is aligned.
    """

    columns: Mapping[str, tuple[int, np.dtype[np.generic]]]
    """Bytes of a row before it, and dtype, by name, in the order they are kept; the rewards come behind them."""
    reward: int
    """Bytes of a row before the reward."""
    row_bytes: int
    """Bytes of a row, a multiple of 8."""


def scalar_layout_of(schema: TrajectorySchema) -> ScalarLayout:
    """The layout for the decisions of `schema`."""
    dtypes = {name: spec.numpy_dtype for name, spec in schema.decisions.items() if not spec.shape}
    columns, end = {}, 0
    for name in sorted(dtypes, key=lambda name: -dtypes[name].itemsize):
        columns[name] = (end, dtypes[name])
        end += dtypes[name].itemsize
    reward = _aligned(end, _FLOAT32.itemsize)
    return ScalarLayout(columns=columns, reward=reward, row_bytes=_aligned(reward + _FLOAT32.itemsize, _ALIGNMENT))


class Segment:
    """Room for `capacity` rows; memory is taken once, and never moved."""

    def __init__(self, schema: TrajectorySchema, layout: ScalarLayout, capacity: int) -> None:
        self.capacity = capacity
        self.ticks: deque[TickRows] = deque()
        """The ticks that are kept, oldest first; their rows are consecutive."""
        self.tensors: dict[str, Array] = {
            name: np.empty((capacity, *spec.shape), spec.dtype)
            for name, spec in {**schema.observations, **schema.decisions}.items()
            if name not in layout.columns
        }
        """The observations, and the decisions with a shape, each [capacity, ...]."""
        self._layout = layout
        self._bytes = np.empty(capacity * layout.row_bytes, np.uint8)
        self.scalars = self._bytes.data
        """The other columns, as the layout says."""

    def column(self, name: str) -> Array:
        """The kept rows of an observation or a decision; not to be written to."""
        if name in self.tensors:
            return self.tensors[name][self._rows]
        return self._scalar(*self._layout.columns[name])

    def rewards(self) -> Array:
        """The rewards of the kept rows."""
        return self._scalar(self._layout.reward, _FLOAT32)

    @property
    def _rows(self) -> slice:
        if not self.ticks:
            return slice(0, 0)
        last = self.ticks[-1]
        return slice(self.ticks[0][2], last[2] + last[1])

    def _scalar(self, before: int, dtype: np.dtype[np.generic]) -> Array:
        rows, itemsize = self._rows, dtype.itemsize
        sizes, firsts = np.array([tick[1:3] for tick in self.ticks], np.int64).reshape(-1, 2).T
        # Row r of the N rows of a tick that begin at row f is at byte f · row_bytes + N · before + (r - f) · itemsize.
        shifts = firsts * (self._layout.row_bytes // itemsize - 1) + sizes * (before // itemsize)
        values: Array = self._bytes.view(dtype)[np.arange(rows.start, rows.stop) + np.repeat(shifts, sizes)]
        return values


def _aligned(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
