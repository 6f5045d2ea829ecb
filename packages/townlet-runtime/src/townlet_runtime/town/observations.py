"""What is seen of a town: the view of its scripted behaviors, and the observations of its policies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from townlet_behavior.guardrails import CHAT_RIVAL
from townlet_runtime.simulation.interface import Observed
from townlet_runtime.town.actions import SELECTORS, TABLE, ActionTable
from townlet_runtime.town.arrays import Bools, Floats, Ints
from townlet_runtime.town.config import NEEDS, TownConfig
from townlet_runtime.town.objects import OBJECT_TYPES
from townlet_runtime.town.place import Place
from townlet_runtime.town.relations import SHUNNED
from townlet_runtime.town.state import HOLDS_TURN, USING, Company, Targets, TownState

_EAT, _COOK, _WASH, _SLEEP = (TABLE.index(f"request:{kind}:first") for kind in OBJECT_TYPES)
_CHAT, _START = TABLE.index("chat"), TABLE.index("start")
_SHUNS = 0.5 * SHUNNED
"""Scores of chats below this are with somebody to avoid."""
_T = TypeVar("_T", bound=np.generic)


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
        free = self.action_mask[:, TABLE.moves] & (self.company.crowd.take(sides) == 0)
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


def rows_of(column: NDArray[_T], rows: Ints | None) -> NDArray[_T]:
    """The rows of a column by slot; None: all of them, the column itself."""
    if rows is None:
        return column
    # Whole rows are taken five times as fast as they are indexed.
    return column[rows] if column.ndim == 1 else column.take(rows, axis=0)


MAP_CHANNELS = ("self", "agents", "objects", "reservations")
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
_TIME = _columns("time_sin", "time_cos")
_PHASE = _columns("in_queue", "using_object")
_STOCKS = _columns("meals_in_town", "ingredients_in_town")
_PER_MONEY, _PER_AGENT, _PER_USE_TICK, _PER_LATE_TICK, _PER_UNIT = (np.array(1.0 / n) for n in (2, 4, 30, 50, 20))
"""Scales of the features; arrays without axes are faster here than numbers."""
_MOST_MONEY, _LEAST_SCORE, _NONE, _ONE = np.array(3.0), np.array(-1.0), np.array(0), np.array(1)
_PHASES = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32)
"""[phase, 3]; in line, holds a turn, using."""


class Observer:
    """Builds both observations of all agents of all worlds from a state."""

    def __init__(self, config: TownConfig, place: Place, *, arrival_buffer: int) -> None:
        self._config, self._place = config, place
        self.names = feature_names(place.actions)
        """Of the columns of `features`."""
        self.held_start = len(_OF_ITSELF) + place.actions.num_targets * len(_KNOWN)
        """First column of the held action."""
        self._of_targets = slice(len(_OF_ITSELF), self.held_start)
        slots, grid = place.num_worlds * config.population, place.grid
        self._per_step = np.array(1.0 / place.farthest)
        self._build_known(slots)
        self._build_map(slots, config.local_window)
        self._shifts = _shift_table(place, arrival_buffer)
        day = np.arange(config.ticks_per_day) * (2.0 * np.pi / config.ticks_per_day)
        self._time = np.stack([np.sin(day), np.cos(day)], axis=1).astype(np.float32)
        self._per_cooldown_tick = np.array(1.0 / max(1, config.social.chat_cooldown_ticks))
        self._stock_sums = (place.local_type[:, None] == np.arange(2)) * _PER_UNIT
        inner, x, y = grid.inner()
        work_x, work_y = place.timetable.x[:-1, None], place.timetable.y[:-1, None]
        self._to_work = np.ones((len(work_x) + 1, int(grid.own.max()) + 1), dtype=np.float32)
        self._to_work[:-1, inner] = (np.abs(work_x - x) + np.abs(work_y - y)) * self._per_step
        self._features = np.zeros((slots, len(self.names)), dtype=np.float32)
        # What the columns that change seldom were made from.
        self._stock_seen = self._late_seen = b""
        self._extroversion_seen = np.empty(0)
        self._loads_seen = self._loads_mapped = np.empty(0, dtype=np.int64)
        self._shows_avoided = self._shows_cooldowns = False

    def _build_known(self, slots: int) -> None:
        place = self._place
        # Taking from a full matrix of offsets is faster than from a column of them.
        first = np.arange(slots) * (place.num_objects + 1)
        self._first_known = first.repeat(place.actions.num_targets).reshape(slots, -1)
        self._known = np.zeros((slots, place.num_objects + 1, len(_KNOWN)), dtype=np.float32)
        self._known[:, :-1, 0] = 1.0
        inner, x, y = place.grid.inner()
        steps = np.abs(x[:, None] - place.local_x) + np.abs(y[:, None] - place.local_y)
        self._distance = np.ones((int(place.grid.own.max()) + 1, place.num_objects + 1), dtype=np.float32)
        self._distance[inner, :-1] = steps * self._per_step

    def _build_map(self, slots: int, side: int) -> None:
        place, cells = self._place, self._place.grid.num_cells
        # Three layers of all cells, one after the other: agents, objects, agents at objects; the second never changes.
        self._layers = np.zeros(3 * cells, dtype=np.float32)
        self._layers[cells + place.object_cell[:-1]] = (place.object_type[:-1] + 1) / len(OBJECT_TYPES)
        self._crowded: Ints = np.empty(0, dtype=np.int64)
        self._object_cell = 2 * cells + place.object_cell[:-1]
        offsets = np.arange(-(side // 2), side // 2 + 1)
        window = (offsets[:, None] * place.grid.cells_per_row + offsets).ravel()
        self._windows = np.concatenate([window + layer * cells for layer in range(3)])
        self._side, self._centre = side, side * side + side * side // 2
        self._map_shape = slots, len(MAP_CHANNELS) * side * side
        self._itself = np.zeros(side * side, dtype=np.float32)
        self._itself[side * side // 2] = 1.0

    def map(self, state: TownState, company: Company) -> NDArray[np.float32]:
        """[S, 4, H, W]: itself, other agents (count / 4), objects ((type + 1) / 4, above 1 for plain objects), agents
        at objects (count / 4)."""
        layers, side = self._layers, self._side
        layers[self._crowded] = 0.0
        self._crowded = company.here
        layers[company.here] = (company.num_others + _ONE) * _PER_AGENT
        if state.load is not self._loads_mapped:
            self._loads_mapped = state.load
            layers[self._object_cell] = state.load[:-1] * _PER_AGENT
        seen = np.empty(self._map_shape, dtype=np.float32)
        seen[:, : side * side] = self._itself
        seen[:, side * side :] = layers.take(company.here[:, None] + self._windows)
        seen[:, self._centre] -= _PER_AGENT
        return seen.reshape(-1, len(MAP_CHANNELS), side, side)

    def features(
        self, state: TownState, targets: Targets, company: Company, mask: Bools, scores: Floats
    ) -> NDArray[np.float32]:
        """Compute the features; the held action and its ticks left are zero here.

        Args:
            state: what is seen; the others are of the same state.
            targets: of objects.
            company: who is where.
            mask: [S, A] legal actions.
            scores: [S] of `chat_scores`.

        Returns:
            [S, len(names)].
        """
        out = self._features
        out[:, _NEEDS] = state.needs
        out[:, _AT["wallet"]] = np.minimum(state.wallet * _PER_MONEY, _MOST_MONEY)
        day_tick = state.tick % len(self._shifts)
        late = state.late.tobytes()
        if late != self._late_seen:
            self._late_seen = late
            out[:, _AT["lateness_counter"]] = state.late * _PER_LATE_TICK
        out[:, _SHIFT] = self._shifts[day_tick].take(state.job, axis=0)
        out[:, _AT["at_workplace"]] = state.cell == state.workplace
        out[:, _AT["workplace_distance"]] = self._to_work[state.job, targets.own_cell]
        out[:, _TIME] = self._time[day_tick]
        out[:, _AT["episode_progress"]] = state.tick / self._config.episode_ticks
        out[:, _PHASE] = _PHASES.take(state.phase, axis=0)
        out[:, _AT["use_remaining"]] = state.remaining * _PER_USE_TICK
        self._targets(state, targets, out)
        self._others(state, company, mask, scores, out)
        return out.copy()

    def _others(
        self, state: TownState, company: Company, mask: Bools, scores: Floats, out: NDArray[np.float32]
    ) -> None:
        relations = state.relations
        if state.extroversion is not self._extroversion_seen:
            self._extroversion_seen = state.extroversion
            out[:, _AT["extroversion"]] = state.extroversion
        out[:, _AT["can_chat"]] = mask[:, _CHAT]
        out[:, _AT["chat_cooldown"]] = np.maximum(state.chat_ready_at - state.tick, _NONE) * self._per_cooldown_tick
        out[:, _AT["chat_score"]] = np.maximum(scores, _LEAST_SCORE)
        out[:, _AT["rivalry_max"]] = relations.rivalry_max()
        avoids = relations.avoiding.size > 0
        if avoids or self._shows_avoided:
            self._shows_avoided = avoids
            out[:, _AT["rivalry_avoid_count"]] = relations.num_avoided
            out[:, _AT["rival_here"]] = relations.meets(company.here)

    def _targets(self, state: TownState, targets: Targets, out: NDArray[np.float32]) -> None:
        known, place = self._known, self._place
        stock = state.stock.tobytes()
        if stock != self._stock_seen:
            self._stock_seen = stock
            stocks = state.stock[:-1].reshape(place.num_worlds, place.num_objects) @ self._stock_sums
            out[:, _STOCKS] = stocks[place.world_of_slot]
        known[:, :, 1] = self._distance.take(targets.own_cell, axis=0)
        if state.load is not self._loads_seen:
            self._loads_seen = state.load
            load = (state.load[:-1] * _PER_AGENT).reshape(place.num_worlds, 1, -1)
            known.reshape(place.num_worlds, -1, *known.shape[1:])[:, :, :-1, 2] = load
        cools = state.tick < state.last_cooldown
        if cools or self._shows_cooldowns:
            self._shows_cooldowns = cools
            np.greater(state.cooldown_until, state.tick, out=known[:, :, 3], casting="unsafe")
        flat = known.reshape(-1, len(_KNOWN))
        out[:, self._of_targets] = flat.take(targets.local + self._first_known, axis=0).reshape(len(out), -1)


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
