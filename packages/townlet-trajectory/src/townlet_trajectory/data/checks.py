"""Checks of the columns that a tick brings, made to be cheap where there is nothing to refuse."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import NoReturn

import numpy as np

from townlet_trajectory.data.schema import ArraySpec
from townlet_trajectory.data.trajectory import Array
from townlet_trajectory.errors import NonFiniteError, SchemaError, ShapeError

Expected = tuple[str, "np.dtype[np.generic]", tuple[int, ...], bool]
"""One column: name, dtype, shape, whether it must be finite. A plain tuple, for it is unpacked at every tick."""


def expected_columns(specs: Mapping[str, ArraySpec], *, finite: bool) -> list[Expected]:
    """The columns of `specs` with the shape of one row; `finite`: floating-point ones refuse NaN and infinity."""
    return [
        (name, spec.numpy_dtype, spec.shape, finite and spec.numpy_dtype.kind == "f") for name, spec in specs.items()
    ]


def with_rows(expected: list[Expected], num_rows: int) -> list[Expected]:
    """The same columns with the shape [N, ...] of `num_rows` rows."""
    return [(name, dtype, (num_rows, *shape), finite) for name, dtype, shape, finite in expected]


def is_finite(column: Array) -> bool:
    """Whether every element is finite."""
    flat = column.ravel()
    # The sum of squares is finite if all elements are, unless they are so great that it overflows; it is one pass, and
    # three times as fast as looking at them one by one.
    try:
        return isfinite(flat.dot(flat)) or bool(np.isfinite(flat).all())
    except RuntimeWarning:  # of an overflow or an infinity, where the caller turns warnings into errors
        return bool(np.isfinite(flat).all())


def refuse_names(group: str, columns: Mapping[str, Array], specs: Mapping[str, ArraySpec]) -> NoReturn:
    """Raise `SchemaError` for names that differ."""
    missing, unknown = sorted(specs.keys() - columns.keys()), sorted(columns.keys() - specs.keys())
    raise SchemaError(f"{group}: missing {missing}, unknown {unknown}")


def refuse_column(name: str, column: Array, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> NoReturn:
    """Raise `SchemaError` for another dtype, else `ShapeError`."""
    if column.dtype != dtype:
        raise SchemaError(f"`{name}` must have dtype {dtype}, got {column.dtype}")
    raise ShapeError(f"`{name}` must have shape {shape}, got {column.shape}")


def refuse_infinite(name: str, column: Array, tick: int) -> NoReturn:
    """Raise `NonFiniteError` for the first element that is not finite."""
    first = np.argwhere(~np.isfinite(column))[0]
    raise NonFiniteError(name, tick, int(first[0]), float(column[tuple(first)]))
