"""What is seen of a town: the view of its scripted behaviors, and the observations of its policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from townlet_behavior.guardrails import CHAT_RIVAL
from townlet_runtime.simulation.interface import Observed
from townlet_runtime.town.actions import SELECTORS, TABLE, ActionTable
from townlet_runtime.town.arrays import Bools, Floats, Ints, of_worlds, rows_of
from townlet_runtime.town.config import NEEDS, TownConfig
from townlet_runtime.town.objects import OBJECT_TYPES
from townlet_runtime.town.place import Place
from townlet_runtime.town.relations import SHUNNED
from townlet_runtime.town.state import HOLDS_TURN, USING, Company, Targets, TownState

_EAT, _COOK, _WASH, _SLEEP = (TABLE.index(f"request:{kind}:first") for kind in OBJECT_TYPES)
_CHAT, _START = TABLE.index("chat"), TABLE.index("start")
_SHUNS = 0.5 * SHUNNED
"""Scores of chats below this are with somebody to avoid."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TownObserved(Observed):
    """An `Observed` that scripted behaviors can read (`townlet_behavior.ScriptedView`). It shows the state as it is,
    so it holds only until the next step."""

    action_mask: Bools
    state: TownState
    place: Place
    targets: Targets
    company: Company
    may_chat: Bools
    """[S]."""
    chats_possible: bool
    """Somebody may chat."""
    chat_scores: Floats
    """[S]; of `townlet_runtime.town.rules.social.chat_scores`."""
    rows: Ints | None
    """[N] slots of the rows; None where every slot is taken."""

    @property
    def using(self) -> Bools:
        """[N]; in the middle of a use."""
        return rows_of(self.state.phase == USING, self.rows)

    @property
    def holds_turn(self) -> Bools:
        """[N]; its turn at an object, not begun yet."""
        return rows_of(self.state.phase == HOLDS_TURN, self.rows)

    @property
    def needs(self) -> Floats:
        """[N, 3]; hunger, hygiene, energy in [0, 1]; 1 is satisfied."""
        return rows_of(self.state.needs, self.rows)

    @property
    def tick_of_day(self) -> Ints:
        """[N]."""
        ticks = np.empty(len(self.slots), dtype=np.int64)
        ticks.fill(self.state.tick % len(self.place.timetable.on))
        return ticks

    @property
    def shift_start(self) -> Ints:
        """[N]; tick of the day, -1 without a job."""
        return self.place.timetable.start[rows_of(self.state.job, self.rows)]

    @property
    def at_workplace(self) -> Bools:
        """[N]."""
        return rows_of(self.state.cell == self.state.workplace, self.rows)

    @property
    def can_eat(self) -> Bools:
        """[N]; some fridge holds a meal that the agent can pay, and it is free to ask for it."""
        return self.action_mask[:, _EAT]

    @property
    def can_cook(self) -> Bools:
        """[N]; some stove has ingredients that the agent can pay, and it is free to ask for it."""
        return self.action_mask[:, _COOK]

    @property
    def can_wash(self) -> Bools:
        """[N]; there is a shower that the agent can pay, and it is free to ask for it."""
        return self.action_mask[:, _WASH]

    @property
    def can_sleep(self) -> Bools:
        """[N]; there is a bed, and the agent is free to ask for it."""
        return self.action_mask[:, _SLEEP]

    @property
    def extroversion(self) -> Floats:
        """[N]; in [0, 1)."""
        return rows_of(self.state.extroversion, self.rows)

    @property
    def profile(self) -> Ints:
        """[N]; index into `townlet_behavior.personality.PROFILES`."""
        return rows_of(self.state.profile, self.rows)

    @property
    def can_chat(self) -> Bools:
        """[N]; it may chat, and the partner has a positive score and is nobody to avoid."""
        return rows_of(self.chat_scores > 0.0, self.rows)

    @property
    def rival_here(self) -> Bools:
        """[N]; somebody to avoid is on the same cell."""
        return rows_of(self.state.relations.meets(self.company.here), self.rows)

    @property
    def step_away(self) -> Ints:
        """[N]; the step to the first of east, west, south, north where nobody is; -1 where there is none."""
        sides = rows_of(self.company.here, self.rows)[:, None] + self.place.grid.steps
        # A side beyond the cells is beyond the grid too, and no legal step.
        free = self.action_mask[:, TABLE.moves] & (self.company.crowd.take(sides, mode="clip") == 0)
        return np.where(free.any(axis=1), TABLE.moves.start + free.argmax(axis=1), -1)

    def chats_with_rival(self, actions: Ints) -> Bools:
        """[N]; whether each of `actions` [N] is a chat with somebody to avoid."""
        relations = self.state.relations
        if not len(relations.avoiding):
            return np.zeros(len(actions), dtype=np.bool_)
        chats: Bools = actions == _CHAT
        chats &= rows_of(self.chat_scores < _SHUNS, self.rows)
        return chats

    def lines_up_with_rival(self, actions: Ints) -> Bools:
        """[N]; whether each of `actions` [N] asks for, or starts with, an object that somebody to avoid waits for,
        holds the turn at or uses. Not so of agents that are using an object."""
        avoiding, rival = self.state.relations.avoiding, self.state.relations.rival
        meets = np.zeros(len(self.state.cell), dtype=np.bool_)
        if not len(avoiding):
            return meets[: len(actions)]
        state = self.state
        full = np.zeros(len(meets), dtype=np.int64)
        full[self.slots] = actions
        goal = self.targets.goals(full)
        np.copyto(goal, state.object, where=full == _START)
        met = (goal[avoiding] >= 0) & (goal[avoiding] == state.object[rival]) & (state.phase[avoiding] != USING)
        meets[avoiding[met]] = True
        return rows_of(meets, self.rows)

    def record_blocks(self, rows: Ints, actions: Ints, reasons: NDArray[np.int8]) -> None:
        """Take note of actions that were vetoed because of a rival; a chat counts as failed in the coming tick.

        Args:
            rows: [R].
            actions: [R]; the choices of those agents.
            reasons: [R]; indices into the reasons of `townlet_behavior.RivalryGuardrail`.
        """
        chats = rows[reasons == CHAT_RIVAL]
        if chats.size:
            self.state.blocked[self.slots[chats]] = True
            self.state.some_blocked = True


MAP_CHANNELS = ("self", "agents", "objects", "reservations")
_OTHERS = MAP_CHANNELS.index("agents")
_KNOWN = ("usable", "distance", "busy", "cooldown")
"""Columns for the object that each target means."""

_OF_ITSELF = (
    *(f"need_{need}" for need in NEEDS),
    "wallet",
    "lateness_counter",
    "on_shift",
    "has_job",
    "shift_starts_in",
    "shift_ends_in",
    "shift_pre",
    "at_workplace",
    "workplace_distance",
    "time_sin",
    "time_cos",
    "episode_progress",
    "extroversion",
    "can_chat",
    "chat_cooldown",
    "chat_score",
    "rivalry_max",
    "rivalry_avoid_count",
    "rival_here",
    "in_queue",
    "reservation_active",
    "using_object",
    "use_remaining",
    "meals_in_town",
    "ingredients_in_town",
)
"""The first columns of `features`, in every town."""
_AT = {name: i for i, name in enumerate(_OF_ITSELF)}


def feature_names(actions: ActionTable) -> tuple[str, ...]:
    """Name the columns of `features` in a town with these actions.

    The last ones, from `held_` on, are filled by the runtime.
    """
    targets = (f"{what}_{kind}_{how}" for kind in actions.types for how in SELECTORS for what in _KNOWN)
    return (*_OF_ITSELF, *targets, *(f"held_{key}" for key in actions.vocabulary.keys), "held_ticks_left")


FEATURES = feature_names(TABLE)
"""Of a town without plain objects."""
HELD_START = FEATURES.index(f"held_{TABLE.vocabulary.keys[0]}")


def _columns(first: str, last: str) -> slice:
    return slice(_AT[first], _AT[last] + 1)


_NEEDS = _columns(f"need_{NEEDS[0]}", f"need_{NEEDS[-1]}")
_SHIFT = _columns("on_shift", "shift_pre")
_WORK = _columns("at_workplace", "workplace_distance")
_TIME = _columns("time_sin", "time_cos")
_AVOIDED = _columns("rivalry_avoid_count", "rival_here")
_PHASE = _columns("in_queue", "using_object")
_STOCKS = _columns("meals_in_town", "ingredients_in_town")
_PER_MONEY, _PER_AGENT, _PER_USE_TICK, _PER_LATE_TICK, _PER_UNIT = (np.array(1.0 / n) for n in (2, 4, 30, 50, 20))
"""Scales of the features; arrays without axes are faster here than numbers."""
_MOST_MONEY, _LEAST_SCORE, _NONE = np.array(3.0), np.array(-1.0), np.array(0)
_PHASES = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32)
"""[phase, 3]; in line, holds a turn, using."""


class Sight(NamedTuple):
    """What the observations of N agents are made from, beside the state."""

    rows: Ints | None
    """[N] slots of the agents; None: all."""
    own_cell: Ints
    meant: Ints
    """[N] and [N, T]; `Targets.own_cell` and `Targets.local` of the agents."""
    company: Company
    can_chat: Bools
    """[N]."""
    scores: Floats
    """[N]; of `townlet_runtime.town.rules.social.chat_scores`."""


class Observer:
    """Writes both observations of agents of all worlds, from a state."""

    def __init__(self, config: TownConfig, place: Place, *, arrival_buffer: int) -> None:
        self._config, self._place, self._arrival_buffer = config, place, arrival_buffer
        self.names = feature_names(place.actions)
        """Of the columns of `features`."""
        self.held_start = len(_OF_ITSELF) + place.actions.num_targets * len(_KNOWN)
        """First column of the held action."""
        self._of_targets = slice(len(_OF_ITSELF), self.held_start)
        per_step = 1.0 / place.farthest
        inner, x, y = place.grid.inner()
        steps = np.abs(x[:, None] - place.local_x) + np.abs(y[:, None] - place.local_y)
        self._distance = np.ones((int(place.grid.own.max()) + 1, place.num_objects + 1), dtype=np.float32)
        self._distance[inner, :-1] = steps * per_step
        self._shifts = _shift_table(place, arrival_buffer)
        day = np.arange(config.ticks_per_day) * (2.0 * np.pi / config.ticks_per_day)
        self._time = np.stack([np.sin(day), np.cos(day)], axis=1).astype(np.float32)
        self._per_cooldown_tick = np.array(1.0 / max(1, config.social.chat_cooldown_ticks))
        self._stock_sums = (place.local_type[:, None] == np.arange(2)) * _PER_UNIT
        self._stock_seen, self._stocks = b"", np.zeros((place.num_worlds, 2), dtype=np.float32)
        work_x, work_y = place.timetable.x[:-1, None], place.timetable.y[:-1, None]
        self._cells = len(self._distance)
        # By job and cell: whether it is the workplace, and how far that is.
        work = np.zeros((len(work_x) + 1, self._cells, 2), dtype=np.float32)
        work[:, :, 1] = 1.0
        work[:-1, inner, 1] = (np.abs(work_x - x) + np.abs(work_y - y)) * per_step
        work[:, :, 0] = work[:, :, 1] == 0.0
        self._work = work.reshape(-1, 2)
        self._busy = np.zeros((place.num_worlds, place.num_objects + 1), dtype=np.float32)
        self._first_cooldown = (np.arange(len(place.goal_base)) * (place.num_objects + 1))[:, None]
        self._build_map(config.local_window)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy is built anew: an array and its views would become arrays of their own."""
        return partial(Observer, arrival_buffer=self._arrival_buffer), (self._config, self._place)

    def _build_map(self, side: int) -> None:
        place, grid = self._place, self._place.grid
        cells, margin = grid.num_cells, grid.margin
        # Three layers of all cells, with a margin at both ends: agents, objects, agents at objects.
        layers = np.zeros((3, cells + 2 * margin), dtype=np.float32)
        self._crowd, objects, self._loads = layers[:, margin : margin + cells]
        objects[place.object_cell[:-1]] = (place.object_type[:-1] + 1) / len(OBJECT_TYPES)
        # The window around every cell, as a view: taking from it is a quarter faster than taking cell by cell.
        layer, step = layers.strides
        shape, strides = (cells, 3, side, side), (step, layer, int(grid.cells_per_row) * step, step)
        self._windows = as_strided(layers, shape, strides, writeable=False)
        self._itself = np.zeros((side, side), dtype=np.float32)
        self._itself[side // 2, side // 2] = 1.0
        self._load_seen: Ints = np.empty(0, dtype=np.int64)
        self._seen_from = np.empty((len(grid.spots) * grid.is_crowded, len(MAP_CHANNELS), side, side), dtype=np.float32)

    def observe(self, state: TownState, sight: Sight, out: Mapping[str, NDArray[np.float32]]) -> None:
        """Write the observations of some agents.

        Args:
            state: what is seen.
            sight: of the same state.
            out: `features` [N, len(names)] and `map` [N, 4, H, W]; written whole, 0 for the option in force.
        """
        if state.load is not self._load_seen:
            self._load_seen = state.load
            load = state.load[:-1] * _PER_AGENT
            self._loads[self._place.object_cell[:-1]] = load
            self._busy[:, :-1] = load.reshape(self._place.num_worlds, -1)
        self._write_map(sight, out["map"])
        self._write_features(state, sight, out["features"])

    def _write_map(self, sight: Sight, out: NDArray[np.float32]) -> None:
        """[N, 4, H, W]: itself, other agents (count / 4), objects ((type + 1) / 4, above 1 for plain objects), agents
        at objects (count / 4)."""
        grid, here = self._place.grid, rows_of(sight.company.here, sight.rows)
        self._crowd[...] = sight.company.crowd
        self._crowd *= _PER_AGENT
        if grid.is_crowded:
            # Windows are copied whole from those of the cells: at 10,000 agents a tenth of the time.
            self._around(grid.spots, self._seen_from)
            self._seen_from.take(grid.spot_of.take(here), axis=0, out=out, mode="clip")
        else:
            self._around(here, out)
        centre = len(self._itself) // 2
        out[:, _OTHERS, centre, centre] -= _PER_AGENT

    def _around(self, cells: Ints, out: NDArray[np.float32]) -> None:
        out[:, 0] = self._itself
        out[:, 1:] = self._windows[cells]

    def _write_features(self, state: TownState, sight: Sight, out: NDArray[np.float32]) -> None:
        rows, place, tick, day_tick = sight.rows, self._place, state.tick, state.tick % len(self._shifts)
        job, worlds = rows_of(state.job, rows), rows_of(place.world_of_slot, rows)
        out[:, _NEEDS] = rows_of(state.needs, rows)
        out[:, _AT["wallet"]] = np.minimum(rows_of(state.wallet, rows) * _PER_MONEY, _MOST_MONEY)
        out[:, _AT["lateness_counter"]] = rows_of(state.late, rows) * _PER_LATE_TICK
        out[:, _SHIFT] = self._shifts[day_tick].take(job, axis=0)
        out[:, _WORK] = self._work.take(job * self._cells + sight.own_cell, axis=0)
        out[:, _TIME] = self._time[day_tick]
        out[:, _AT["episode_progress"]] = tick / self._config.episode_ticks
        out[:, _AT["extroversion"]] = rows_of(state.extroversion, rows)
        out[:, _AT["can_chat"]] = sight.can_chat
        waits = np.maximum(rows_of(state.chat_ready_at, rows) - tick, _NONE)
        out[:, _AT["chat_cooldown"]] = waits * self._per_cooldown_tick
        out[:, _AT["chat_score"]] = np.maximum(sight.scores, _LEAST_SCORE)
        self._write_rivals(state, sight, out)
        out[:, _PHASE] = _PHASES.take(rows_of(state.phase, rows), axis=0)
        out[:, _AT["use_remaining"]] = rows_of(state.remaining, rows) * _PER_USE_TICK
        stock = state.stock.tobytes()
        if stock != self._stock_seen:
            self._stock_seen = stock
            self._stocks[:] = state.stock[:-1].reshape(place.num_worlds, -1) @ self._stock_sums
        out[:, _STOCKS] = of_worlds(self._stocks, worlds)
        self._write_targets(state, sight, out[:, self._of_targets].reshape(*sight.meant.shape, len(_KNOWN)))
        out[:, self.held_start :] = 0.0

    def _write_rivals(self, state: TownState, sight: Sight, out: NDArray[np.float32]) -> None:
        relations, rows = state.relations, sight.rows
        out[:, _AT["rivalry_max"]] = rows_of(relations.rivalry_max(), rows)
        if relations.avoiding.size:
            out[:, _AT["rivalry_avoid_count"]] = rows_of(relations.num_avoided, rows)
            out[:, _AT["rival_here"]] = rows_of(relations.meets(sight.company.here), rows)
        else:
            out[:, _AVOIDED] = 0.0

    def _write_targets(self, state: TownState, sight: Sight, out: NDArray[np.float32]) -> None:
        """[N, T, 4]: of the object that each target means, see `_KNOWN`."""
        place, rows, meant = self._place, sight.rows, sight.meant
        np.less(meant, place.count, out=out[:, :, 0])
        out[:, :, 1] = self._distance.take(meant + (sight.own_cell * (place.count + 1))[:, None])
        out[:, :, 2] = self._busy.take(
            meant if place.num_worlds == 1 else meant + rows_of(place.goal_base, rows)[:, None]
        )
        if state.tick < state.last_cooldown:
            until = state.cooldown_until.take(meant + rows_of(self._first_cooldown, rows))
            np.greater(until, state.tick, out=out[:, :, 3])
        else:
            out[:, :, 3] = 0.0


def _shift_table(place: Place, arrival_buffer: int) -> NDArray[np.float32]:
    """[ticks of the day, J + 1, 5]; on shift, has a job, share of a day until it starts, and until it ends, and
    whether it starts within `arrival_buffer` ticks."""
    shifts = place.timetable
    day = np.arange(len(shifts.on))[:, None]
    length = len(day)
    has_job = np.broadcast_to(shifts.start >= 0, shifts.on.shape)
    starts = np.maximum(shifts.start - day, 0) / length
    ends = np.where(shifts.on, shifts.end - day, 0) / length
    soon = (shifts.start > day) & (shifts.start - day <= arrival_buffer)
    return np.stack([shifts.on, has_job, starts, ends, soon], axis=2).astype(np.float32)
