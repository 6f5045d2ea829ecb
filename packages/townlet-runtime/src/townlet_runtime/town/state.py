"""The state of a town: arrays by slot (agent) and by object, and the records that are derived from it for a tick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from townlet_runtime.town.arrays import Bools, Floats, Ints
from townlet_runtime.town.config import TownConfig
from townlet_runtime.town.place import Grid, Place
from townlet_runtime.town.relations import Relations

FREE, IN_LINE, HOLDS_TURN, USING = (np.array(phase) for phase in range(4))
"""Phases: where an agent is with the object it has to do with. Arrays without axes: numpy compares with these twice as
fast as with Python's numbers, which is a tenth of a tick at ten agents."""

EVENTS = (
    "queue_conflict_events",
    "queue_conflict_intensity_sum",
    "ghost_step_events",
    "meal_events",
    "cook_events",
    "shower_complete_events",
    "sleep_complete_events",
    "faint_events",
    "arrival_events",
    "late_ticks",
    "worked_ticks",
    "chat_success_events",
    "chat_failure_events",
    "chat_quality_sum",
    "shared_meal_events",
    "late_help_events",
    "shift_takeover_events",
    "departure_events",
)
"""Columns of the events; `*_events` and `*_ticks` are counts."""

COMPLETED = tuple(
    EVENTS.index(name) for name in ("meal_events", "cook_events", "shower_complete_events", "sleep_complete_events")
)
"""Event of a completed use, by the town's own types; that of a plain object is none."""


@dataclass(eq=False)
class TownState:
    """Arrays of all worlds; slot k of world w is row w * K + k. Rows of absent agents hold stale values."""

    tick: int
    """Ticks since the episode began."""
    alive: Bools
    grid: Grid
    cell: Ints
    """[S]; number of each agent's cell in the grid; absent agents are nowhere."""
    needs: Floats
    """[S, 3]."""
    wallet: Floats
    job: Ints
    """[S]; -1 without one."""
    workplace: Ints
    """[S]; cell of the job, -1 without one."""
    object: Ints
    """[S]; over all worlds, -1 for none."""
    phase: Ints
    """[S]; `FREE`, `IN_LINE`, `HOLDS_TURN` or `USING`."""
    since: Ints
    """[S]; tick at which the present phase began."""
    remaining: Ints
    """[S]; ticks of use left, 0 when not using."""
    cooldown_until: Ints
    """[S, O + 1]; first tick at which the object's line admits the agent again; the last column is a spare one."""
    last_cooldown: int
    """Tick at which the last of these ends."""
    late: Ints
    """[S]; late ticks of the present shift."""
    was_late: Bools
    """[S]; late in the last tick, if anybody was."""
    someone_late: bool
    """Somebody was."""
    returns_at: Ints
    """[S]; tick at which an absent agent is back, far off for present ones; so too the next."""
    leaves_at: Ints
    """[S]; tick at which a present agent sets out on a journey."""
    profile: Ints
    """[S]; index into `townlet_behavior.personality.PROFILES`."""
    extroversion: Floats
    """[S]; in [0, 1)."""
    chat_ready_at: Ints
    """[S]; first tick of the agent's next chat."""
    blocked: Bools
    """[S]; kept from a chat with somebody to avoid, at the decision for the coming tick."""
    some_blocked: bool
    """Somebody was."""
    schedule_at: Ints
    """[S]; position in the agent's schedule."""
    relations: Relations
    option_done: Bools
    stock: Ints
    """[W * O + 1]; meals in fridges, ingredients at stoves."""
    load: Ints
    """[W * O + 1]; agents in line, holding a turn or using."""
    counted: bytes
    """The objects that `load` was counted from."""
    given_up_at: Ints
    """[W * O + 1]; tick at which a turn or a use ended there last, -1 for never."""
    given_up_by: Ints
    """[W * O + 1]; slot of whose it was."""
    given_up_stale: Bools
    """[W * O + 1]; it was a turn that was not taken."""
    events: Floats
    """[W, len(EVENTS)]; of this tick."""

    @property
    def x(self) -> Ints:
        """[S]; 0 for absent agents, so too `y`."""
        return self.grid.x.take(self.cell)

    @property
    def y(self) -> Ints:
        """[S]."""
        return self.grid.y.take(self.cell)

    def recount(self) -> None:
        """Count the agents at each object anew: a new array if anybody came or went since the last time."""
        objects = self.object.tobytes()
        if objects != self.counted:
            self.counted = objects
            self.load = count_at(self.object, len(self.stock))


class Targets(NamedTuple):
    """Of one state."""

    place: Place
    own_cell: Ints
    """[S]; number of each agent's cell in its world."""
    meant: Ints
    """[S * T + 1]; object of the world that each (type, way of choosing) means to each agent, O for none; so in the
    spare last one."""
    some_unusable: bool
    """Some object of a type that is present is out of stock or too dear for somebody."""
    busy: Ints
    """[B]; agents that have to do with an object."""

    @property
    def local(self) -> Ints:
        """[S, T]; `meant` by agent."""
        return self.meant[:-1].reshape(-1, self.place.actions.num_targets)

    def wanted(self, actions: Ints) -> Ints:
        """[S]; the object of the world that each of `actions` [S] asks for, O for none."""
        # What is no request has a column beyond all, which is clipped to the spare one.
        return self.meant.take(self.place.actions.target.take(actions) + self.place.row_of_targets, mode="clip")

    def goals(self, actions: Ints) -> Ints:
        """[S]; the same over all worlds, -1 for none."""
        return self.place.goal_of.take(self.wanted(actions) + self.place.goal_base)


class Company(NamedTuple):
    """Of one state, on the cells of `Place.grid`."""

    here: Ints
    """[S]; cell of each agent."""
    crowd: Ints
    """[cells]; agents on each cell."""
    num_others: Ints
    """[S]; other agents on each agent's cell."""


def count_at(objects: Ints, length: int) -> Ints:
    """Count how often each object occurs; -1 falls into the spare one at the end.

    Example: `count_at([0, 2, -1, 2], 4)` is `[1, 0, 2, 0]`; the spare one's count is set to 0.
    """
    counts = np.bincount(objects + 1, minlength=length)
    counts[:-1] = counts[1:]
    counts[-1] = 0
    return counts


def empty_state(config: TownConfig, place: Place) -> TownState:
    """Return a state in which nobody is there yet."""
    slots = place.num_worlds * config.population
    objects = place.num_worlds * place.num_objects + 1
    zero = ("phase", "since", "remaining", "late", "returns_at", "leaves_at", "profile", "chat_ready_at", "schedule_at")
    columns: dict[str, Any] = {name: np.zeros(slots, dtype=np.int64) for name in zero}
    columns |= {name: np.full(slots, -1) for name in ("job", "workplace", "object")}
    columns |= {name: np.zeros(slots) for name in ("wallet", "extroversion")}
    columns |= {name: np.zeros(slots, dtype=np.bool_) for name in ("alive", "was_late", "blocked", "option_done")}
    return TownState(
        tick=0,
        grid=place.grid,
        cell=np.full(slots, place.grid.nowhere),
        needs=np.zeros((slots, 3)),
        cooldown_until=np.zeros((slots, place.num_objects + 1), dtype=np.int64),
        last_cooldown=0,
        someone_late=False,
        some_blocked=False,
        relations=Relations(config, slots),
        stock=initial_stock(config, place),
        load=np.zeros(objects, dtype=np.int64),
        counted=b"",
        given_up_at=np.full(objects, -1),
        given_up_by=np.zeros(objects, dtype=np.int64),
        given_up_stale=np.zeros(objects, dtype=np.bool_),
        events=np.zeros((place.num_worlds, len(EVENTS))),
        **columns,
    )


def initial_stock(config: TownConfig, place: Place) -> Ints:
    """Return meals in fridges and ingredients at stoves at the start; other objects have none."""
    by_type = np.zeros(len(place.actions.types), dtype=np.int64)
    by_type[:2] = config.fridge_stock, config.stove_stock
    stock = by_type[place.object_type]
    stock[-1] = 0
    return stock
