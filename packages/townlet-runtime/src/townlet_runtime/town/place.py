"""The arrays of a town that never change: its cells, objects, ways and shifts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from townlet_runtime.town.actions import DIRECTIONS, ActionTable, action_table
from townlet_runtime.town.arrays import Bools, Floats, Ints
from townlet_runtime.town.config import AffordanceSpec, AgentSpec, Effects, JobSpec, ObjectSpec, TownConfig
from townlet_runtime.town.objects import OBJECT_TYPES

PLAIN_USE = AffordanceSpec(id="use", duration=10, effects=Effects())
"""Of a plain object; where a schedule holds one for longer, every use of it lasts until that schedule's release."""


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
    margin: int
    """Cells between the first of a window and its middle."""
    spots: Ints
    """The cells that agents can stand on, and `nowhere`."""
    spot_of: Ints
    """[cells]; index into `spots`."""
    is_crowded: bool
    """There are more agents than `spots`: what depends on the cell alone is worked out for these."""

    def cells(self, worlds: Ints, x: Ints, y: Ints) -> Ints:
        """Number cells.

        Args:
            worlds: of any shape, as the others.
            x: in [0, width).
            y: in [0, height).
        """
        cells: Ints = self.origin[worlds] + y * self.cells_per_row + x
        return cells

    def inner(self) -> tuple[Ints, Ints, Ints]:
        """Return the cells of a world without its margin, one after the other: their numbers in their world, x, y."""
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
    nowhere = num_worlds * per_world + margin
    spots = np.append(np.tile(inside, num_worlds).nonzero()[0], nowhere)
    spot_of = np.zeros(nowhere + margin + 1, dtype=np.int64)
    spot_of[spots] = np.arange(len(spots))
    return Grid(
        width=width,
        height=height,
        cells_per_row=np.array(cells_per_row),
        origin=np.arange(num_worlds) * per_world + margin,
        own=np.append(np.tile(np.arange(per_world), num_worlds), patch),
        x=np.append(np.tile(x * inside, num_worlds), patch),
        y=np.append(np.tile(y * inside, num_worlds), patch),
        steps=np.array([dx + dy * cells_per_row for dx, dy in DIRECTIONS.values()]),
        num_cells=len(spot_of),
        nowhere=nowhere,
        margin=margin,
        spots=spots,
        spot_of=spot_of,
        is_crowded=num_worlds * config.population > len(spots),
    )


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


def build_ways(grid: Grid, objects: tuple[ObjectSpec, ...], jobs: tuple[JobSpec, ...], actions: ActionTable) -> Ways:
    """Work out every step from every cell; see `Ways`.

    Args:
        grid: of all worlds.
        objects: of one world.
        jobs: of one world.
        actions: of the town.
    """
    inner, x, y = grid.inner()
    targets = [*(item.position for item in objects), *(job.location for job in jobs)]
    steps = [_towards(grid, x, y, to_x, to_y) for to_x, to_y in targets]
    steps.insert(len(objects), np.zeros_like(x))
    for dx, dy in DIRECTIONS.values():
        inside = (x + dx >= 0) & (x + dx < grid.width) & (y + dy >= 0) & (y + dy < grid.height)
        steps.append(inside * (dy * grid.cells_per_row + dx))
    table = np.zeros((int(grid.own.max()) + 1, len(steps)), dtype=np.int64)
    table[inner] = np.stack(steps, axis=1)
    of_action = np.zeros(len(actions.vocabulary), dtype=np.int64)
    of_action[actions.moves] = len(jobs) + 1 + np.arange(len(DIRECTIONS))
    return Ways(steps=table.ravel(), count=np.array(len(steps)), of_action=of_action)


def _towards(grid: Grid, x: Ints, y: Ints, to_x: int, to_y: int) -> Ints:
    dx = np.sign(to_x - x)
    dy = np.sign(to_y - y) * (dx == 0)
    steps: Ints = dy * grid.cells_per_row + dx
    return steps


@dataclass(frozen=True, kw_only=True, eq=False)
class Timetable:
    """Columns by job with a spare one at the end (no job); ticks are those of the day."""

    x: Ints
    y: Ints
    """[J + 1]; of the workplaces."""
    start: Ints
    end: Ints
    """[J + 1]; -1 without a job; the end is the first tick after the shift."""
    wage: Floats
    lateness_penalty: Floats
    """[J + 1]."""
    on: Bools
    """[ticks, J + 1]; whether the shift is on."""
    elapsed: Ints
    """[ticks, J + 1]; ticks since the shift began, -1 when it is not on."""
    takeover_elapsed: int
    """Of a shift when colleagues take over from who has not come yet."""
    takeover_due: tuple[bool, ...]
    """[ticks]; whether that is now for some shift."""
    some_on: tuple[bool, ...]
    some_begins: tuple[bool, ...]
    """[ticks]; whether some shift is on, or begins."""


def build_timetable(jobs: tuple[JobSpec, ...], *, ticks_per_day: int, takeover_ticks: int) -> Timetable:
    """Work out the tables of a day; see `Timetable`."""

    def with_spare(values: list[float], spare: float) -> Floats:
        return np.array([*values, spare], dtype=np.float64)

    def whole(values: list[int]) -> Ints:
        return np.array([*values, -1], dtype=np.int64)

    day = np.arange(ticks_per_day)[:, None]
    start, end = whole([j.start_tick for j in jobs]), whole([j.end_tick for j in jobs])
    on = (start <= day) & (day < end)
    elapsed = np.where(on, day - start, -1)
    return Timetable(
        x=whole([j.location[0] for j in jobs]),
        y=whole([j.location[1] for j in jobs]),
        start=start,
        end=end,
        wage=with_spare([j.wage_rate for j in jobs], 0.0),
        lateness_penalty=with_spare([j.lateness_penalty for j in jobs], 0.0),
        on=on,
        elapsed=elapsed,
        takeover_elapsed=takeover_ticks - 1,
        takeover_due=_any_job(elapsed == takeover_ticks - 1),
        some_on=_any_job(on),
        some_begins=_any_job(start == day),
    )


def _any_job(table: Bools) -> tuple[bool, ...]:
    """[ticks]; whether `table` [ticks, J + 1] is true of some job."""
    return tuple(bool(row.any()) for row in table)


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
            ObjectSpec(id=f"{kind}_{sum(k == kind for k, _ in cells[: i + 1])}", type=kind, position=xy, places=places)
            for i, (kind, xy) in enumerate(cells)
        )
    types = (*OBJECT_TYPES, *config.plain_types)
    return tuple(sorted(objects, key=lambda o: types.index(o.type)))


def use_ticks(item: ObjectSpec, config: TownConfig) -> int:
    """Return how long a use of an object lasts that nobody releases earlier."""
    if item.type in OBJECT_TYPES:
        return config.affordances[item.type].duration
    return max((PLAIN_USE.duration, *(_held(item.id, agent) + 1 for agent in config.agents)))


def _held(object_id: str, agent: AgentSpec) -> int:
    """Ticks from a `start` of a schedule to its `release` of the same object, at most; 0 for no release.

    In between are only intents that go on during a use.
    """
    most, since = 0, None
    # Twice, as it begins anew after its end.
    for tick, intent in enumerate(agent.schedule * 2):
        if intent.blocked or intent.kind not in ("start", "wait", "release"):
            since = None
        elif intent.kind == "start":
            since = tick if intent.object_id == object_id else None
        elif intent.kind == "release" and since is not None and intent.object_id in (None, object_id):
            most, since = max(most, tick - since), None
    return most


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
    actions: ActionTable
    num_worlds: int
    num_objects: int
    """O, per world."""
    segments: Ints
    """[P]; first object of each type that is present."""
    present: Ints
    """[P]; the types that are present."""
    object_type: Ints
    """[W * O + 1]; index into `actions.types`."""
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
    row_of_targets: Ints
    """[S]; where each agent's row of `Targets` begins, its rows one after the other."""
    knows_chats: bool
    """Whether there are relationships."""
    local_x: Ints
    local_y: Ints
    """[O]; of one world."""
    local_type: Ints
    timetable: Timetable
    duration: Ints
    """[W * O + 1]; ticks of a use."""
    cost: Floats
    uses_stock: Bools
    meals_made: Ints
    """[K], by type."""
    effects: Floats
    """[K, 3]."""


def _goals(num_worlds: int, count: int) -> Ints:
    goals = np.full((num_worlds, count + 1), -1)
    goals[:, :-1] = np.arange(num_worlds * count).reshape(num_worlds, count)
    return goals.ravel()


def build_place(config: TownConfig, num_worlds: int) -> Place:
    """Lay out `num_worlds` copies of the town that `config` describes."""
    objects, jobs = objects_of(config), jobs_of(config)
    actions = action_table(config.plain_types)
    types = np.array([actions.types.index(o.type) for o in objects], dtype=np.int64)
    present, segments = np.unique(types, return_index=True)
    local_x = np.array([o.position[0] for o in objects], dtype=np.int64)
    local_y = np.array([o.position[1] for o in objects], dtype=np.int64)

    def all_worlds(column: Ints) -> Ints:
        return np.append(np.tile(column, num_worlds), 0)

    kinds = [*(config.affordances[kind] for kind in OBJECT_TYPES), *(PLAIN_USE for _ in config.plain_types)]
    uses_stock = np.array([k.uses_stock for k in kinds], dtype=np.bool_)
    world_of_slot = np.repeat(np.arange(num_worlds), config.population)
    grid = build_grid(config, num_worlds)
    object_worlds = np.repeat(np.arange(num_worlds), len(objects))
    return Place(
        objects=objects,
        jobs=jobs,
        actions=actions,
        num_worlds=num_worlds,
        num_objects=len(objects),
        segments=segments.astype(np.int64),
        present=present,
        object_type=all_worlds(types),
        capacity=all_worlds(np.array([o.places for o in objects], dtype=np.int64)),
        needs_stock=np.tile(uses_stock[types], num_worlds),
        ways=build_ways(grid, objects, jobs, actions),
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
        row_of_targets=np.arange(len(world_of_slot)) * actions.num_targets,
        knows_chats=config.social.relationships,
        local_x=local_x,
        local_y=local_y,
        local_type=types,
        timetable=build_timetable(
            jobs, ticks_per_day=config.ticks_per_day, takeover_ticks=config.social.takeover_ticks
        ),
        duration=all_worlds(np.array([use_ticks(o, config) for o in objects], dtype=np.int64)),
        cost=np.array([k.cost for k in kinds], dtype=np.float64),
        uses_stock=uses_stock,
        meals_made=np.array([k.meals_made for k in kinds], dtype=np.int64),
        effects=np.array([k.effects for k in kinds], dtype=np.float64),
    )
