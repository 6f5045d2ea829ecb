"""Two layouts of unequal trajectories, each made from the other: flat with offsets, and padded with a mask.

Flat is what a batch holds: [R, ...], the rows of a trajectory consecutive, `offsets` [B + 1] saying where each begins.
It wastes nothing, and suits code that looks at single steps. Padded is [B, T, ...] with a mask [B, T], true where
there is a step, and zeros behind: what a sequence model wants. It takes the memory of B · T rows.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.errors import ShapeError

_Scalar = TypeVar("_Scalar", bound=np.generic)


def offsets_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each of B runs of `lengths` [B] rows begins, and where the last ends: [B + 1]."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def step_mask(offsets: NDArray[np.int64], num_steps: int | None = None) -> NDArray[np.bool_]:
    """[B, T]; true where there is a step, given `offsets` [B + 1] and T (None: the greatest length).

    Raises `ShapeError` if a trajectory is longer than `num_steps`.
    """
    lengths = np.diff(offsets)
    longest = int(lengths.max(initial=0))
    if num_steps is not None and num_steps < longest:
        raise ShapeError(f"`num_steps` must be at least {longest}, the greatest length, got {num_steps}")
    mask: NDArray[np.bool_] = np.arange(longest if num_steps is None else num_steps) < lengths[:, None]
    return mask


def padded_rows(flat: NDArray[_Scalar], mask: NDArray[np.bool_]) -> NDArray[_Scalar]:
    """[R, ...] -> [B, T, ...], zeros where `mask` [B, T] is false."""
    num_rows = int(np.count_nonzero(mask))
    if len(flat) != num_rows:
        raise ShapeError(f"`flat` must have {num_rows} rows, got {len(flat)}")
    padded = np.zeros((*mask.shape, *flat.shape[1:]), flat.dtype)
    padded[mask] = flat
    return padded


def flat_rows(padded: NDArray[_Scalar], mask: NDArray[np.bool_]) -> NDArray[_Scalar]:
    """The inverse: [B, T, ...] -> [R, ...], those where `mask` [B, T] is true."""
    if padded.shape[:2] != mask.shape:
        raise ShapeError(f"`padded` must have shape {(*mask.shape, ...)}, got {padded.shape}")
    return padded[mask]
