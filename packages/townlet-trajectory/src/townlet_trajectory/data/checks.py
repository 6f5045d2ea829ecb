"""Checks of columns: of those that a tick brings, cheap where there is nothing to refuse, and of whole arrays."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.errors import ContinuityError, NonFiniteError, SchemaError, ShapeError

if TYPE_CHECKING:
    from townlet_trajectory.data.schema import Array, ArraySpec

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
    """Raise `SchemaError` for the names that are missing or unknown; see `check_columns`."""
    missing, unknown = sorted(specs.keys() - columns.keys()), sorted(columns.keys() - specs.keys())
    raise SchemaError(f"{group}: missing {missing}, unknown {unknown}")


def refuse_column(name: str, column: Array, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> NoReturn:
    """Raise `SchemaError` if the dtype of `column` differs, else `ShapeError`; see `check_array`."""
    if column.dtype != dtype:
        raise SchemaError(f"`{name}` must have dtype {dtype}, got {column.dtype}")
    raise ShapeError(f"`{name}` must have shape {shape}, got {column.shape}")


def refuse_infinite(name: str, column: Array, ticks: int | NDArray[np.int64]) -> NoReturn:
    """Raise `NonFiniteError` for the first element that is not finite; see `check_finite`."""
    first = np.argwhere(~np.isfinite(column))[0]
    row = int(first[0])
    tick = int(ticks[row]) if isinstance(ticks, np.ndarray) else ticks
    raise NonFiniteError(name, tick, row, float(column[tuple(first)]))


def check_array(name: str, array: Array, spec: ArraySpec, length: int) -> None:
    """Require an array of `length` rows of `spec`; raise `SchemaError` if the dtype differs, else `ShapeError`.

    Args:
        name: of the array, for the error.
        array: must be [length, ...].
        spec: dtype, and shape of a row.
        length: rows.
    """
    shape = (length, *spec.shape)
    if array.dtype != spec.numpy_dtype or array.shape != shape:
        refuse_column(name, array, spec.numpy_dtype, shape)


def check_columns(group: str, columns: Mapping[str, Array], specs: Mapping[str, ArraySpec], length: int) -> None:
    """Require one array of `length` rows for each of `specs`.

    Args:
        group: what the columns are, for the error.
        columns, specs: by name.
        length: rows of each.

    Raises:
        SchemaError: if names or dtypes differ; `ShapeError` if a shape does.
    """
    if columns.keys() != specs.keys():
        refuse_names(group, columns, specs)
    for name, spec in specs.items():
        check_array(name, columns[name], spec, length)


def check_offsets(offsets: NDArray[np.int64]) -> None:
    """Raise `ShapeError` unless `offsets` [B + 1] begin with 0 and leave every trajectory a row."""
    if offsets.dtype != np.int64 or offsets.ndim != 1 or offsets.size == 0 or offsets[0] != 0:
        raise ShapeError(f"`offsets` must be int64 [B + 1] and begin with 0, got {offsets.dtype} {offsets[:5]}")
    if np.any(offsets[1:] <= offsets[:-1]):
        raise ShapeError(f"`offsets` must ascend strictly, got {offsets}")


def check_agent_ids(agent_ids: NDArray[np.object_], length: int) -> None:
    """Raise `SchemaError` or `ShapeError` unless `agent_ids` are `length` objects of type str."""
    if agent_ids.dtype != np.object_ or agent_ids.shape != (length,):
        raise ShapeError(f"`agent_ids` must be object of shape {(length,)}, got {agent_ids.dtype} {agent_ids.shape}")
    strangers = [kind.__name__ for kind in set(map(type, agent_ids.tolist())) if not issubclass(kind, str)]
    if strangers:
        raise SchemaError(f"`agent_ids` must be str, got {sorted(strangers)}")


def check_ticks(ticks: NDArray[np.int64], offsets: NDArray[np.int64]) -> None:
    """Raise `ContinuityError` unless `ticks` are consecutive within each trajectory."""
    jumps = ticks[1:] != ticks[:-1] + 1
    jumps[offsets[1:-1] - 1] = False
    if np.any(jumps):
        row = int(np.flatnonzero(jumps)[0])
        raise ContinuityError(f"`ticks` of a trajectory must be consecutive, got {ticks[row : row + 2]}")


def check_finite(name: str, array: Array, ticks: NDArray[np.int64]) -> None:
    """Require every element of a floating-point array to be finite.

    Args:
        name: of the array, for the error.
        array: [N, ...]; other dtypes pass.
        ticks: [N] or longer; the tick of each row, for the error.

    Raises:
        NonFiniteError: names the first element that is NaN or infinite.
    """
    if array.dtype.kind != "f":
        return
    with np.errstate(over="ignore", invalid="ignore"):
        finite = is_finite(array) if array.flags.c_contiguous else bool(np.isfinite(array).all())
    if not finite:
        refuse_infinite(name, array, ticks)
