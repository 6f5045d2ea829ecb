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
_WALLET_SCALE, _BUSY_SCALE, _USE_SCALE, _LATE_SCALE, _STOCK_SCALE = 2.0, 4.0, 30.0, 50.0, 20.0
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
        self._rows = np.arange(slots)[:, None]
        self._known = np.zeros((slots, place.num_objects + 1, len(_KNOWN)), dtype=np.float32)
        self._known[:, :-1, 0] = 1.0
        padded_width = width + side - 1
        cells = padded_width * (height + side - 1)
        self._world_cell = place.world_of_slot * cells + self._radius * (padded_width + 1)
        worlds_of_objects = np.repeat(np.arange(place.num_worlds), place.num_objects)
        self._object_cell = self._cell(worlds_of_objects, place.object_x[:-1], place.object_y[:-1])
        grid = np.zeros((place.num_worlds * cells, 2), dtype=np.float32)
        grid[self._object_cell, 0] = (place.object_type[:-1] + 1) / len(OBJECT_TYPES)
        self._static = grid
        self._padded_width = padded_width
        self._cells = cells
        self._shifts = _shift_table(place, arrival_buffer)
        self._stock_sums = (place.local_type[:, None] == np.arange(2)) * (1.0 / _STOCK_SCALE)
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
        length = len(self._static)
        agents = np.bincount(here, weights=state.alive, minlength=length).astype(np.float32)
        agents *= np.float32(1.0 / _BUSY_SCALE)
        reserved = np.zeros(length, dtype=np.float32)
        reserved[self._object_cell] = state.load[:-1] * (1.0 / _BUSY_SCALE)
        cells = here[:, None] + self._window
        side = self._config.local_window
        seen = np.empty((len(here), len(MAP_CHANNELS), side * side), dtype=np.float32)
        centre = side * side // 2
        seen[:, 0] = 0.0
        seen[:, 0, centre] = 1.0
        seen[:, 1] = agents[cells]
        seen[:, 1, centre] -= np.float32(1.0 / _BUSY_SCALE)
        seen[:, 2] = self._static[:, 0][cells]
        seen[:, 3] = reserved[cells]
        return seen.reshape(len(here), len(MAP_CHANNELS), side, side)

    def features(self, state: TownState, choices: Choices) -> NDArray[np.float32]:
        """[S, len(FEATURES)]; the held action and its ticks left are zero here."""
        out = np.zeros((len(state.x), len(FEATURES)), dtype=np.float32)
        out[:, _NEEDS] = state.needs
        out[:, _AT["wallet"]] = np.minimum(state.wallet * (1.0 / _WALLET_SCALE), 3.0)
        self._work(state, out)
        self._use(state, out)
        self._choices(state, choices, out)
        return out

    def _work(self, state: TownState, out: NDArray[np.float32]) -> None:
        place = self._place
        day_tick = state.tick % len(self._shifts)
        job = state.job
        away = np.abs(state.x - place.job_x[job]) + np.abs(state.y - place.job_y[job])
        out[:, _AT["lateness_counter"]] = state.late * (1.0 / _LATE_SCALE)
        out[:, _SHIFT] = self._shifts[day_tick][job]
        out[:, _AT["at_workplace"]] = away == 0
        out[:, _AT["workplace_distance"]] = away * (1.0 / place.farthest)
        out[:, _TIME] = (*self._time[day_tick], state.tick / self._config.episode_ticks)

    def _use(self, state: TownState, out: NDArray[np.float32]) -> None:
        place = self._place
        out[:, _PHASE] = _PHASES[state.phase]
        out[:, _AT["use_remaining"]] = state.remaining * (1.0 / _USE_SCALE)
        stocks = state.stock[:-1].reshape(place.num_worlds, place.num_objects) @ self._stock_sums
        out[:, _STOCKS] = stocks[place.world_of_slot]

    def _choices(self, state: TownState, choices: Choices, out: NDArray[np.float32]) -> None:
        known, place = self._known, self._place
        np.multiply(choices.distance, 1.0 / place.farthest, out=known[:, :, 1], casting="same_kind")
        load = (state.load[:-1] * (1.0 / _BUSY_SCALE)).reshape(place.num_worlds, 1, -1)
        known.reshape(place.num_worlds, -1, *known.shape[1:])[:, :, :-1, 2] = load
        np.greater(state.cooldown_until, state.tick, out=known[:, :, 3], casting="unsafe")
        out[:, _CHOICES] = known[self._rows, choices.local[:, :-1]].reshape(len(out), -1)


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
