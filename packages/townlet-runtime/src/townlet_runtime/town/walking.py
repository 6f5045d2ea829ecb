"""One step towards something: first along x, then along y."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from townlet_runtime.town.actions import DIRECTIONS, TABLE
from townlet_runtime.town.arrays import Ints
from townlet_runtime.town.config import JobSpec, ObjectSpec
from townlet_runtime.town.grid import Grid


@dataclass(frozen=True, kw_only=True, eq=False)
class Ways:
    """What to add to a cell's number to walk one of C ways: to an object (0 to O - 1), nowhere (O), to a workplace
    (O + 1 on), or a step to a side; a step that would leave the grid leads nowhere."""

    steps: Ints
    """[cells of a world * C], by cell."""
    count: Ints
    """C, as an array without axes."""
    of_action: Ints
    """[A]; added to the object that an action asks for (O for none) it gives the action's way; of walking to work, that
    of nowhere."""


def build_ways(grid: Grid, objects: tuple[ObjectSpec, ...], jobs: tuple[JobSpec, ...]) -> Ways:
    """Work out every step from every cell."""
    inner, x, y = grid.inner()
    targets = [*(item.position for item in objects), *(job.location for job in jobs)]
    steps = [_towards(grid, x, y, to_x, to_y) for to_x, to_y in targets]
    steps.insert(len(objects), np.zeros_like(x))
    for dx, dy in DIRECTIONS.values():
        inside = (x + dx >= 0) & (x + dx < grid.width) & (y + dy >= 0) & (y + dy < grid.height)
        steps.append(inside * (dy * grid.cells_per_row + dx))
    table = np.zeros((int(grid.own.max()) + 1, len(steps)), dtype=np.int64)
    table[inner] = np.stack(steps, axis=1)
    of_action = np.zeros(len(TABLE.vocabulary), dtype=np.int64)
    of_action[TABLE.moves] = len(jobs) + 1 + np.arange(len(DIRECTIONS))
    return Ways(steps=table.ravel(), count=np.array(len(steps)), of_action=of_action)


def _towards(grid: Grid, x: Ints, y: Ints, to_x: int, to_y: int) -> Ints:
    dx = np.sign(to_x - x)
    dy = np.sign(to_y - y) * (dx == 0)
    steps: Ints = dy * grid.cells_per_row + dx
    return steps
