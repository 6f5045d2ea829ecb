"""The cells of all worlds, numbered, and what follows from a cell alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from townlet_runtime.town.actions import DIRECTIONS
from townlet_runtime.town.arrays import Ints
from townlet_runtime.town.config import TownConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """Every world's grid has a margin of half a window, so that a window never leaves its world. After the last world
    comes an empty patch as large as a window; absent agents are in its middle."""

    width: int
    height: int
    cells_per_row: Ints
    """Of a grid with its margin, as an array without axes."""
    origin: Ints
    """[W]; cell (0, 0) of each world."""
    own: Ints
    """[cells]; the number of each cell in its world, 0 for the empty patch."""
    x: Ints
    y: Ints
    """[cells]; 0 outside the grid."""
    steps: Ints
    """[4]; from a cell to its neighbor in each of `DIRECTIONS`."""
    num_cells: int
    nowhere: int
    """The middle of the empty patch."""

    def cells(self, worlds: Ints, x: Ints, y: Ints) -> Ints:
        """Number the cells (x, y) of worlds; all of the same shape."""
        cells: Ints = self.origin[worlds] + y * self.cells_per_row + x
        return cells

    def inner(self) -> tuple[Ints, Ints, Ints]:
        """The cells of a world without its margin, one after the other: their numbers in their world, x, y."""
        y, x = (axis.ravel() for axis in np.mgrid[: self.height, : self.width])
        return self.origin[0] + y * self.cells_per_row + x, x, y


def build_grid(config: TownConfig, num_worlds: int) -> Grid:
    """Number the cells of `num_worlds` towns."""
    width, height = config.grid_size
    radius = config.local_window // 2
    cells_per_row = width + 2 * radius
    per_world = cells_per_row * (height + 2 * radius)
    margin = radius * (cells_per_row + 1)
    patch = np.zeros(2 * margin + 1, dtype=np.int64)
    row, column = np.divmod(np.arange(per_world), cells_per_row)
    x, y = column - radius, row - radius
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return Grid(
        width=width,
        height=height,
        cells_per_row=np.array(cells_per_row),
        origin=np.arange(num_worlds) * per_world + margin,
        own=np.append(np.tile(np.arange(per_world), num_worlds), patch),
        x=np.append(np.tile(x * inside, num_worlds), patch),
        y=np.append(np.tile(y * inside, num_worlds), patch),
        steps=np.array([dx + dy * cells_per_row for dx, dy in DIRECTIONS.values()]),
        num_cells=num_worlds * per_world + len(patch),
        nowhere=num_worlds * per_world + margin,
    )
