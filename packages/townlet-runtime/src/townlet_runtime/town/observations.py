"""What an agent sees: the squares around it (`map`) and named numbers (`features`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.town.actions import CHOICES, TABLE
from townlet_runtime.town.choices import Choices
from townlet_runtime.town.config import NEEDS, OBJECT_TYPES, TownConfig
from townlet_runtime.town.place import Place
from townlet_runtime.town.state import TownState

MAP_CHANNELS = ("self", "agents", "objects", "reservations")
_COLUMNS = tuple(f"{kind}_{how}" for kind in OBJECT_TYPES for how in CHOICES)

_KNOWN = ("usable", "distance", "busy", "cooldown")
"""What an agent knows of the object that each choice means."""

FEATURES = (
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
    "rivalry_max",
    "rivalry_avoid_count",
    "in_queue",
    "reservation_active",
    "using_object",
    "use_remaining",
    "meals_in_town",
    "ingredients_in_town",
    *(f"{what}_{c}" for c in _COLUMNS for what in _KNOWN),
    *(f"held_{key}" for key in TABLE.vocabulary.keys),
    "held_ticks_left",
)
"""Columns of `features`. Rivalry is 0 in a town without relations. The last ones are filled by the runtime."""

HELD_START = FEATURES.index(f"held_{TABLE.vocabulary.keys[0]}")
_AT = {name: i for i, name in enumerate(FEATURES)}


def _columns(first: str, last: str) -> slice:
    return slice(_AT[first], _AT[last] + 1)


_NEEDS = _columns(f"need_{NEEDS[0]}", f"need_{NEEDS[-1]}")
_SHIFT = _columns("on_shift", "shift_pre")
_TIME = _columns("time_sin", "episode_progress")
_PHASE = _columns("in_queue", "using_object")
_STOCKS = _columns("meals_in_town", "ingredients_in_town")
_CHOICES = _columns(f"usable_{_COLUMNS[0]}", f"cooldown_{_COLUMNS[-1]}")
_PER_MONEY, _PER_AGENT, _PER_USE_TICK, _PER_LATE_TICK, _PER_UNIT = (np.array(1.0 / n) for n in (2, 4, 30, 50, 20))
"""Scales of the features; arrays without axes are faster here than numbers."""
_MOST_MONEY = np.array(3.0)
_PHASES = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32)
"""[phase, 3]; in line, holds a turn, using."""


class Observer:
    """Builds both observations of all agents of all worlds from a state."""

    def __init__(self, config: TownConfig, place: Place, *, arrival_buffer: int) -> None:
        self._config, self._place = config, place
        width, height = config.grid_size
        side = config.local_window
        self._radius = side // 2
        self._grid_shape = (place.num_worlds, height + side - 1, width + side - 1)
        slots = place.num_worlds * config.population
        self._known_base = np.arange(slots)[:, None] * (place.num_objects + 1)
        self._known = np.zeros((slots, place.num_objects + 1, len(_KNOWN)), dtype=np.float32)
        self._known[:, :-1, 0] = 1.0
        padded_width = width + side - 1
        cells = padded_width * (height + side - 1)
        self._world_cell = place.world_of_slot * cells + self._radius * (padded_width + 1)
        worlds_of_objects = np.repeat(np.arange(place.num_worlds), place.num_objects)
        self._object_cell = self._cell(worlds_of_objects, place.object_x[:-1], place.object_y[:-1])
        # Cells of all worlds: agents, objects, agents at objects. The first and last column are of the present tick.
        self._grid = np.zeros((place.num_worlds * cells, 3), dtype=np.float32)
        self._grid[self._object_cell, 1] = (place.object_type[:-1] + 1) / len(OBJECT_TYPES)
        self._per_step = np.array(1.0 / place.farthest)
        self._centre = side * side // 2
        self._blank_map = np.zeros((slots, len(MAP_CHANNELS), side * side), dtype=np.float32)
        self._blank_map[:, 0, self._centre] = 1.0
        self._padded_width = padded_width
        self._shifts = _shift_table(place, arrival_buffer)
        self._stock_sums = (place.local_type[:, None] == np.arange(2)) * _PER_UNIT
        day = np.arange(config.ticks_per_day) * (2.0 * np.pi / config.ticks_per_day)
        self._time = np.stack([np.sin(day), np.cos(day)], axis=1)
        offsets = np.arange(-self._radius, self._radius + 1)
        self._window = (offsets[:, None] * padded_width + offsets).ravel()

    def _cell(self, worlds: NDArray[np.int64], x: NDArray[np.int64], y: NDArray[np.int64]) -> NDArray[np.int64]:
        _, height, width = self._grid_shape
        return worlds * (height * width) + (y + self._radius) * width + x + self._radius

    def map(self, state: TownState) -> NDArray[np.float32]:
        """[S, 4, H, W]: itself, other agents (count / 4), objects ((type + 1) / 4), agents at objects (count / 4)."""
        here = self._world_cell + state.y * self._padded_width + state.x
        grid = self._grid
        agents = np.bincount(here, weights=state.alive, minlength=len(grid))
        np.multiply(agents, _PER_AGENT, out=grid[:, 0], casting="same_kind")
        grid[self._object_cell, 2] = state.load[:-1] * _PER_AGENT
        seen = self._blank_map.copy()
        seen[:, 1:] = grid[here[:, None] + self._window].transpose(0, 2, 1)
        seen[:, 1, self._centre] -= _PER_AGENT
        return seen.reshape(len(here), len(MAP_CHANNELS), self._config.local_window, self._config.local_window)

    def features(self, state: TownState, choices: Choices) -> NDArray[np.float32]:
        """[S, len(FEATURES)]; the held action and its ticks left are zero here."""
        out = np.zeros((len(state.x), len(FEATURES)), dtype=np.float32)
        out[:, _NEEDS] = state.needs
        out[:, _AT["wallet"]] = np.minimum(state.wallet * _PER_MONEY, _MOST_MONEY)
        self._work(state, out)
        self._use(state, out)
        self._choices(state, choices, out)
        return out

    def _work(self, state: TownState, out: NDArray[np.float32]) -> None:
        place = self._place
        day_tick = state.tick % len(self._shifts)
        job = state.job
        away = np.abs(state.x - place.job_x[job]) + np.abs(state.y - place.job_y[job])
        out[:, _AT["lateness_counter"]] = state.late * _PER_LATE_TICK
        out[:, _SHIFT] = self._shifts[day_tick][job]
        out[:, _AT["at_workplace"]] = away == 0
        out[:, _AT["workplace_distance"]] = away * self._per_step
        out[:, _TIME] = (*self._time[day_tick], state.tick / self._config.episode_ticks)

    def _use(self, state: TownState, out: NDArray[np.float32]) -> None:
        place = self._place
        out[:, _PHASE] = _PHASES[state.phase]
        out[:, _AT["use_remaining"]] = state.remaining * _PER_USE_TICK
        stocks = state.stock[:-1].reshape(place.num_worlds, place.num_objects) @ self._stock_sums
        out[:, _STOCKS] = stocks[place.world_of_slot]

    def _choices(self, state: TownState, choices: Choices, out: NDArray[np.float32]) -> None:
        known, place = self._known, self._place
        np.multiply(choices.distance, self._per_step, out=known[:, :, 1], casting="same_kind")
        load = (state.load[:-1] * _PER_AGENT).reshape(place.num_worlds, 1, -1)
        known.reshape(place.num_worlds, -1, *known.shape[1:])[:, :, :-1, 2] = load
        np.greater(state.cooldown_until, state.tick, out=known[:, :, 3], casting="unsafe")
        flat = known.reshape(-1, len(_KNOWN))
        out[:, _CHOICES] = flat.take(choices.local[:, :-1] + self._known_base, axis=0).reshape(len(out), -1)


def _shift_table(place: Place, arrival_buffer: int) -> NDArray[np.float32]:
    """[ticks of the day, J + 1, 5]; on shift, has a job, share of a day until it starts, and until it ends, and
    whether it starts within `arrival_buffer` ticks."""
    day = np.arange(len(place.shift_on))[:, None]
    length = len(day)
    has_job = np.broadcast_to(place.shift_start >= 0, place.shift_on.shape)
    starts = np.maximum(place.shift_start - day, 0) / length
    ends = np.where(place.shift_on, place.shift_end - day, 0) / length
    soon = (place.shift_start > day) & (place.shift_start - day <= arrival_buffer)
    return np.stack([place.shift_on, has_job, starts, ends, soon], axis=2).astype(np.float32)
