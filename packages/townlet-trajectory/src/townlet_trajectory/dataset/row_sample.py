"""An even sample of the rows of a stream of blocks, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.trajectory import Array
from townlet_trajectory.errors import ShapeError

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2^64 divided by the golden ratio."""


class RowSample:
    """At most `max_rows` rows of all that were added, evenly spread over them.

    Row i has the key frac(i / golden ratio), and the rows with the smallest keys are kept. These keys are equally
    distributed over all rows and over every n-th of them (Weyl 1916), so that the sample is in step with no period of
    the data, and the same rows give the same sample. At most twice as many rows are held at a time.
    """

    def __init__(self, max_rows: int) -> None:
        if max_rows < 1:
            raise ShapeError(f"`max_rows` must be at least 1, got {max_rows}")
        self._max_rows = max_rows
        self._num_seen = 0
        self._limit = np.uint64(np.iinfo(np.uint64).max)
        self._keys: list[NDArray[np.uint64]] = []
        self._blocks: list[dict[str, Array]] = []

    def add(self, columns: Mapping[str, Array]) -> None:
        """Take the rows of a block into account.

        Args:
            columns: each [R, ...]; always the same names, dtypes and row shapes.
        """
        num_rows = len(next(iter(columns.values())))
        keys = np.arange(self._num_seen, self._num_seen + num_rows, dtype=np.uint64) * _GOLDEN
        self._num_seen += num_rows
        chosen = np.flatnonzero(keys <= self._limit)
        if len(chosen) > self._max_rows:
            chosen = chosen[_smallest(keys[chosen], self._max_rows)]
        self._keys.append(keys[chosen])
        self._blocks.append({name: array[chosen] for name, array in columns.items()})
        if sum(map(len, self._keys)) > 2 * self._max_rows:
            self._shrink()

    def columns(self) -> dict[str, Array]:
        """The sampled rows, in the order in which they came; no column at all before the first block."""
        self._shrink()
        return dict(self._blocks[0]) if self._blocks else {}

    def _shrink(self) -> None:
        if not self._blocks:
            return
        keys = np.concatenate(self._keys)
        kept = np.arange(len(keys))
        if len(keys) > self._max_rows:
            kept = _smallest(keys, self._max_rows)
            self._limit = keys[kept].max()
        columns = {name: np.concatenate([block[name] for block in self._blocks])[kept] for name in self._blocks[0]}
        self._keys, self._blocks = [keys[kept]], [columns]


def _smallest(keys: NDArray[np.uint64], count: int) -> NDArray[np.int64]:
    """The places of the `count` smallest keys, ascending."""
    return np.sort(np.argpartition(keys, count)[:count])
