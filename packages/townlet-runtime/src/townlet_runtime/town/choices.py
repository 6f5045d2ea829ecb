"""Which object a request refers to, and which actions are legal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from townlet_runtime.town.actions import CHOICES, NUM_CHOICES, REQUEST, TABLE
from townlet_runtime.town.config import OBJECT_TYPES
from townlet_runtime.town.place import BARRED, Ints, Place
from townlet_runtime.town.state import HOLDS_TURN, USING, Bools, TownState

_START, _RELEASE = TABLE.index("start"), TABLE.index("release")
_WORK = TABLE.index("go_to:workplace")
_WAYS = len(CHOICES)
_EVERY_WAY = np.arange(_WAYS)
_NONE = np.array(0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Choices:
    """Of one state. The last column of each array is a spare one for "no object"."""

    distance: Ints
    """[S, O + 1]; steps to each object of the agent's world; of the spare column, width + height."""
    local: Ints
    """[S, 12 + 1]; object of the world that each (type, way of choosing) means, O for none."""
    goal: Ints
    """[S, 12 + 1]; index of the same over all worlds, -1 for none."""


def choose(state: TownState, place: Place) -> Choices:
    """Find the first, nearest and least busy usable object of every type for every agent.

    Usable: its stock is not empty (fridges, stoves) and the agent can pay. Equals go to the fewer steps, then to the
    lower index. An agent that stands in line, holds a turn or uses an object means that object whatever the way.
    """
    slots, count = len(state.x), place.count
    distance = np.empty((slots, place.num_objects + 1), dtype=np.int64)
    steps = distance[:, :-1]
    np.abs(state.x[:, None] - place.local_x, out=steps)
    steps += np.abs(state.y[:, None] - place.local_y)
    distance[:, -1] = place.farthest

    # Three sort keys per object, each with the object's index as its last digits: least is best.
    keys = np.empty((_WAYS, slots, place.num_objects), dtype=np.int64)
    by_world = keys.reshape(_WAYS, place.num_worlds, -1, place.num_objects)
    first = np.where((state.stock[:-1] <= _NONE) & place.needs_stock, place.barred_key, place.object_index)
    by_world[0] = first.reshape(place.num_worlds, 1, -1)
    np.multiply(steps, count, out=keys[1])
    keys[1] += keys[0]
    load = (state.load[:-1] * place.load_unit).reshape(place.num_worlds, 1, -1)
    np.add(by_world[1], load, out=by_world[2])
    best = np.minimum.reduceat(keys, place.segments, axis=2)
    none = best >= BARRED
    none |= state.wallet[:, None] < place.cost_present
    best %= count
    best[none] = count

    local = np.empty((slots, NUM_CHOICES + 1), dtype=np.int64)
    local.fill(place.num_objects)
    local[:, place.choice_columns] = best.transpose(1, 2, 0).reshape(slots, -1)
    busy = state.phase.nonzero()[0]
    if busy.size:
        objects = state.object[busy][:, None]
        local[busy[:, None], place.object_type[objects] * _WAYS + _EVERY_WAY] = objects % count
    goal = place.goal_of.take(local + place.goal_base)
    return Choices(distance=distance, local=local, goal=goal)


def legal_actions(state: TownState, place: Place, choices: Choices) -> Bools:
    """Return the mask [S, A]: `wait` always; walking only within the grid and not while using an object; `request`
    where its object exists (while using: only of that type, which goes on); `start` with a turn; `release` with an
    object; `go_to:workplace` with a job."""
    slots = len(state.x)
    mask = np.zeros((slots, len(TABLE.vocabulary)), dtype=np.bool_)
    mask[:, 0] = True
    mask[:, TABLE.moves] = place.free_sides[state.x, state.y]
    mask[:, TABLE.requests] = choices.local[:, :-1] < place.count
    mask[:, _WORK] = state.job >= 0
    busy = state.phase.nonzero()[0]
    if busy.size:
        phase = state.phase[busy]
        mask[busy, _START] = phase >= HOLDS_TURN
        mask[busy, _RELEASE] = True
        using = busy[phase == USING]
        mask[using] &= _WHILE_USING[place.object_type[state.object[using]]]
    return mask


def _while_using() -> Bools:
    """[4, A]; what an agent may do while it uses an object of each type."""
    allowed = np.zeros((len(OBJECT_TYPES), len(TABLE.vocabulary)), dtype=np.bool_)
    allowed[:, [0, _START, _RELEASE]] = True
    requests = (TABLE.act == REQUEST).nonzero()[0]
    kinds = TABLE.choice[requests] // _WAYS
    allowed[kinds, requests] = True
    return allowed


_WHILE_USING = _while_using()
