"""What changes: the arrays of a town, by slot (agent) and by object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.town.config import TownConfig
from townlet_runtime.town.place import Floats, Ints, Place

Bools = NDArray[np.bool_]


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
)
"""Columns of the events; `*_events` and `*_ticks` are counts."""

COMPLETED = tuple(
    EVENTS.index(name) for name in ("meal_events", "cook_events", "shower_complete_events", "sleep_complete_events")
)
"""Event of a completed use, by object type."""


@dataclass(eq=False)
class TownState:
    """Arrays of all worlds; slot k of world w is row w * K + k. Rows of absent agents hold stale values."""

    tick: int
    """Ticks since the episode began."""
    alive: Bools
    x: Ints
    y: Ints
    needs: Floats
    """[S, 3]."""
    wallet: Floats
    job: Ints
    """[S]; -1 without one."""
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
    late: Ints
    """[S]; late ticks of the present shift."""
    returns_at: Ints
    """[S]; tick at which a newcomer takes an empty slot."""
    option_done: Bools
    stock: Ints
    """[W * O + 1]; meals in fridges, ingredients at stoves."""
    load: Ints
    """[W * O + 1]; agents in line, holding a turn or using."""
    events: Floats
    """[W, len(EVENTS)]; of this tick."""

    def recount(self) -> None:
        """Count the agents at each object anew."""
        self.load = count_at(self.object, len(self.stock))


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

    def zeros() -> Ints:
        return np.zeros(slots, dtype=np.int64)

    return TownState(
        tick=0,
        alive=np.zeros(slots, dtype=np.bool_),
        x=zeros(),
        y=zeros(),
        needs=np.zeros((slots, 3)),
        wallet=np.zeros(slots),
        job=np.full(slots, -1),
        object=np.full(slots, -1),
        phase=zeros(),
        since=zeros(),
        remaining=zeros(),
        cooldown_until=np.zeros((slots, place.num_objects + 1), dtype=np.int64),
        late=zeros(),
        returns_at=zeros(),
        option_done=np.zeros(slots, dtype=np.bool_),
        stock=initial_stock(config, place),
        load=np.zeros(place.num_worlds * place.num_objects + 1, dtype=np.int64),
        events=np.zeros((place.num_worlds, len(EVENTS))),
    )


def initial_stock(config: TownConfig, place: Place) -> Ints:
    """Return meals in fridges and ingredients at stoves at the start; other objects have none."""
    by_type = np.array([config.fridge_stock, config.stove_stock, 0, 0], dtype=np.int64)
    stock = by_type[place.object_type]
    stock[-1] = 0
    return stock
