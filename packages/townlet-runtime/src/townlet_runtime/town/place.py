"""What stands where: the arrays of a town that never change while it lives."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from townlet_runtime.town.actions import CHOICES, NUM_CHOICES
from townlet_runtime.town.arrays import Bools, Floats, Ints
from townlet_runtime.town.config import OBJECT_TYPES, JobSpec, ObjectSpec, TownConfig
from townlet_runtime.town.grid import Grid, build_grid
from townlet_runtime.town.timetable import Timetable, build_timetable
from townlet_runtime.town.walking import Ways, build_ways

_DEFAULT_OBJECTS: tuple[tuple[str, tuple[float, float]], ...] = (
    ("fridge", (0.15, 0.15)),
    ("fridge", (0.8, 0.2)),
    ("fridge", (0.5, 0.85)),
    ("stove", (0.25, 0.15)),
    ("stove", (0.6, 0.85)),
    ("shower", (0.15, 0.5)),
    ("shower", (0.85, 0.6)),
    ("bed", (0.1, 0.85)),
    ("bed", (0.85, 0.85)),
    ("bed", (0.5, 0.35)),
)
"""Type and place as a share of the grid; the first of a type is not where everybody is."""

_DEFAULT_JOBS: tuple[tuple[str, float, float, tuple[float, float]], ...] = (
    ("grocer", 0.12, 0.38, (0.35, 0.3)),
    ("barista", 0.4, 0.66, (0.7, 0.4)),
    ("gardener", 0.68, 0.94, (0.35, 0.7)),
)
"""Name, shift as a share of the day, place as a share of the grid."""


def objects_of(config: TownConfig) -> tuple[ObjectSpec, ...]:
    """Return the config's objects by type, or the default ones with a place per ten agents."""
    width, height = config.grid_size
    objects = config.objects
    if not objects:
        places = math.ceil(config.population / 10)
        cells = [(kind, (int(fx * width), int(fy * height))) for kind, (fx, fy) in _DEFAULT_OBJECTS]
        objects = tuple(
            ObjectSpec(id=f"{kind}_{sum(k == kind for k, _ in cells[: i + 1])}", type=kind, position=xy, places=places)  # type: ignore[arg-type]
            for i, (kind, xy) in enumerate(cells)
        )
    return tuple(sorted(objects, key=lambda o: OBJECT_TYPES.index(o.type)))


def jobs_of(config: TownConfig) -> tuple[JobSpec, ...]:
    """Return the config's jobs, or three default shifts."""
    if config.jobs:
        return config.jobs
    width, height = config.grid_size
    day = config.ticks_per_day
    return tuple(
        JobSpec(name=name, start_tick=int(a * day), end_tick=int(b * day), location=(int(fx * width), int(fy * height)))
        for name, a, b, (fx, fy) in _DEFAULT_JOBS
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """Static arrays. Object arrays are over all worlds, object o of world w at w * O + o, with a spare row at the end
    (index -1: no object)."""

    objects: tuple[ObjectSpec, ...]
    jobs: tuple[JobSpec, ...]
    num_worlds: int
    num_objects: int
    """O, per world."""
    segments: Ints
    """[P]; first object of each type that is present."""
    present: Ints
    """[P]; the types that are present."""
    object_type: Ints
    """[W * O + 1]; index into `OBJECT_TYPES`."""
    column_of_type: Ints
    """[W * O + 1]; first of the columns of the choices that belong to that type."""
    capacity: Ints
    """[W * O + 1]; agents that can use it at the same time."""
    object_cell: Ints
    """[W * O + 1]; -1 for the spare one."""
    object_index: Ints
    """[W * O + 1]; index of each object in its world."""
    needs_stock: Bools
    """[W * O]; whether a use takes from its stock."""
    ways: Ways
    grid: Grid
    farthest: int
    """Width + height: more steps than any way takes."""
    world_of_slot: Ints
    """[S]."""
    cost_present: Floats
    """[P]; money that the use of each type present costs."""
    count: Ints
    """O, as an array without axes; also the index of the spare column that stands for no object of a world."""
    goal_of: Ints
    """[W (O + 1)]; index over all worlds of each world's objects, then its spare entry, which is -1."""
    goal_base: Ints
    """[S]; where the agent's world begins in `goal_of`."""
    row_of_choices: Ints
    """[S]; where each agent's row of `Choices` begins, its rows one after the other."""
    knows_chats: bool
    """Whether there are relationships."""
    local_x: Ints
    local_y: Ints
    """[O]; of one world."""
    local_type: Ints
    timetable: Timetable
    duration: Ints
    cost: Floats
    uses_stock: Bools
    meals_made: Ints
    """[4], by type."""
    effects: Floats
    """[4, 3]."""


def _goals(num_worlds: int, count: int) -> Ints:
    goals = np.full((num_worlds, count + 1), -1)
    goals[:, :-1] = np.arange(num_worlds * count).reshape(num_worlds, count)
    return goals.ravel()


def build_place(config: TownConfig, num_worlds: int) -> Place:
    """Lay out `num_worlds` copies of the town that `config` describes."""
    objects, jobs = objects_of(config), jobs_of(config)
    types = np.array([OBJECT_TYPES.index(o.type) for o in objects], dtype=np.int64)
    present, segments = np.unique(types, return_index=True)
    local_x = np.array([o.position[0] for o in objects], dtype=np.int64)
    local_y = np.array([o.position[1] for o in objects], dtype=np.int64)

    def all_worlds(column: Ints) -> Ints:
        return np.append(np.tile(column, num_worlds), 0)

    kinds = [config.affordances[kind] for kind in OBJECT_TYPES]
    uses_stock = np.array([k.uses_stock for k in kinds], dtype=np.bool_)
    world_of_slot = np.repeat(np.arange(num_worlds), config.population)
    grid = build_grid(config, num_worlds)
    object_worlds = np.repeat(np.arange(num_worlds), len(objects))
    return Place(
        objects=objects,
        jobs=jobs,
        num_worlds=num_worlds,
        num_objects=len(objects),
        segments=segments.astype(np.int64),
        present=present,
        object_type=all_worlds(types),
        column_of_type=all_worlds(types * len(CHOICES)),
        capacity=all_worlds(np.array([o.places for o in objects], dtype=np.int64)),
        needs_stock=np.tile(uses_stock[types], num_worlds),
        ways=build_ways(grid, objects, jobs),
        object_cell=np.append(
            grid.cells(object_worlds, np.tile(local_x, num_worlds), np.tile(local_y, num_worlds)), -1
        ),
        object_index=all_worlds(np.arange(len(objects))),
        grid=grid,
        farthest=sum(config.grid_size),
        world_of_slot=world_of_slot,
        cost_present=np.array([k.cost for k in kinds], dtype=np.float64)[present],
        count=np.array(len(objects)),
        goal_of=_goals(num_worlds, len(objects)),
        goal_base=world_of_slot * (len(objects) + 1),
        row_of_choices=np.arange(len(world_of_slot)) * NUM_CHOICES,
        knows_chats=config.social.relationships,
        local_x=local_x,
        local_y=local_y,
        local_type=types,
        timetable=build_timetable(
            jobs, ticks_per_day=config.ticks_per_day, takeover_ticks=config.social.takeover_ticks
        ),
        duration=np.array([k.duration for k in kinds], dtype=np.int64),
        cost=np.array([k.cost for k in kinds], dtype=np.float64),
        uses_stock=uses_stock,
        meals_made=np.array([k.meals_made for k in kinds], dtype=np.int64),
        effects=np.array([k.effects for k in kinds], dtype=np.float64),
    )
