"""Count, mean, spread and range of numbers, so kept that those of two parts give those of the whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.trajectory import Array, frozen
from townlet_trajectory.errors import ShapeError

_CHUNK_ELEMENTS = 1 << 16
"""Numbers that are looked at together, as float64."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Moments of `count` rows [...], each place of a row by itself; all float64. Plain numbers have shape ().

    Combined by the pairwise update of Chan, Golub & LeVeque 1979, which keeps the spread of numbers far from 0. Squares
    of numbers beyond 1e150 are infinite.
    """

    count: int
    """Rows."""
    mean: NDArray[np.float64]
    """[...]; 0 of no rows."""
    squares: NDArray[np.float64]
    """[...]; sum of the squared distances from the mean."""
    minimum: NDArray[np.float64]
    """[...]; infinity of no rows."""
    maximum: NDArray[np.float64]
    """[...]; minus infinity of no rows."""

    def __post_init__(self) -> None:
        shapes = {array.shape for array in (self.mean, self.squares, self.minimum, self.maximum)}
        if len(shapes) != 1 or self.count < 0:
            raise ShapeError(f"moments must be of one shape and of no less than 0 rows, got {shapes} and {self.count}")
        for name in ("mean", "squares", "minimum", "maximum"):
            # numpy makes scalars of what has shape ().
            object.__setattr__(self, name, frozen(np.asarray(getattr(self, name), np.float64)))

    @classmethod
    def of(cls, values: Array) -> Moments:
        """The moments of `values` [N, ...], which are finite numbers, or bools (0 and 1)."""
        row_shape = values.shape[1:]
        moments = cls.of_nothing(row_shape)
        rows = max(1, _CHUNK_ELEMENTS // max(1, int(np.prod(row_shape, dtype=np.int64))))
        for begin in range(0, len(values), rows):
            moments = moments.merged(_of_chunk(values[begin : begin + rows].astype(np.float64)))
        return moments

    @classmethod
    def of_nothing(cls, shape: tuple[int, ...] = ()) -> Moments:
        """Of no rows: what changes nothing when it is merged."""
        zeros = np.zeros(shape)
        return cls(count=0, mean=zeros, squares=zeros, minimum=np.full(shape, np.inf), maximum=np.full(shape, -np.inf))

    @property
    def total(self) -> NDArray[np.float64]:
        """[...]; sum of the rows."""
        return self.mean * self.count

    @property
    def std(self) -> NDArray[np.float64]:
        """[...]; root of the mean squared distance from the mean; 0 of no rows."""
        return np.sqrt(self.squares / max(1, self.count))

    def merged(self, other: Moments) -> Moments:
        """The moments of both sets of rows together.

        Raises:
            ShapeError: if their rows are of different shape.
        """
        if self.mean.shape != other.mean.shape:
            raise ShapeError(f"moments must be of one shape, got {self.mean.shape} and {other.mean.shape}")
        if not (self.count and other.count):
            return self if self.count else other
        count = self.count + other.count
        with np.errstate(over="ignore", invalid="ignore"):
            # Both sides alike, so that a + b is b + a to the last bit.
            mean = (self.mean * self.count + other.mean * other.count) / count
            apart = np.square(other.mean - self.mean) * (self.count * other.count / count)
            return Moments(
                count=count,
                mean=mean,
                squares=self.squares + other.squares + apart,
                minimum=np.minimum(self.minimum, other.minimum),
                maximum=np.maximum(self.maximum, other.maximum),
            )


def _of_chunk(values: NDArray[np.float64]) -> Moments:
    with np.errstate(over="ignore", invalid="ignore"):
        mean = values.mean(axis=0)
        return Moments(
            count=len(values),
            mean=mean,
            squares=np.square(values - mean).sum(axis=0),
            minimum=values.min(axis=0),
            maximum=values.max(axis=0),
        )
