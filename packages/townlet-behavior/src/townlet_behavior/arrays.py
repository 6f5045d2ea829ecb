"""The one indexing step that every tick repeats."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_T = TypeVar("_T", bound=np.generic)


def gather(table: NDArray[_T], columns: NDArray[np.int64]) -> NDArray[_T]:
    """`table[i, columns[i]]` for every row i.

    Flat, because `take` on one axis costs a third of indexing on two.

    Args:
        table: [N, A].
        columns: [N], in [0, A).

    Returns:
        [N].
    """
    num_rows, num_columns = table.shape
    starts = np.arange(0, num_rows * num_columns, num_columns)
    return table.reshape(-1).take(starts + columns)
