"""Names of the arrays that the town is made of, and rows of them."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
_T = TypeVar("_T", bound=np.generic)


def rows_of(column: NDArray[_T], rows: Ints | None) -> NDArray[_T]:
    """The rows of a column by slot; None: all of them, the column itself."""
    if rows is None:
        return column
    # Whole rows are taken five times as fast as they are indexed.
    return column[rows] if column.ndim == 1 else column.take(rows, axis=0)


def of_worlds(table: NDArray[_T], worlds: Ints) -> NDArray[_T]:
    """The rows of a table by world, [N, ...] for `worlds` [N]; where there is one world its row, [1, ...]."""
    return table if len(table) == 1 else table.take(worlds, axis=0)
