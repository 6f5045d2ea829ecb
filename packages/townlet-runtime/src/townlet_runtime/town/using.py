"""Affordances: beginning a use, its ticks, and what it does when complete."""

from __future__ import annotations

import numpy as np

from townlet_runtime.town.arrays import Ints
from townlet_runtime.town.config import TownConfig
from townlet_runtime.town.lines import equals_before, leave
from townlet_runtime.town.place import Place
from townlet_runtime.town.relations import SHARED_MEAL
from townlet_runtime.town.state import COMPLETED, EVENTS, USING, TownState

_FRIDGE, _STOVE = 0, 1
_COMPLETED = np.array(COMPLETED)
_SHARED = EVENTS.index("shared_meal_events")


def begin(state: TownState, place: Place, agents: Ints, config: TownConfig) -> None:
    """Start the use of the object whose turn each of `agents` [M] holds: pay, take from its stock.

    Whoever cannot pay, or finds the stock empty, loses the turn, and its option is done.
    """
    objects = state.object[agents]
    kinds = place.object_type[objects]
    needs_stock = place.uses_stock[kinds]
    # Several agents can begin at one object of several places in the same tick: the stock must last for all of them.
    able = (state.wallet[agents] >= place.cost[kinds]) & (
        ~needs_stock | (state.stock[objects] > equals_before(objects))
    )
    failed = agents[~able]
    if failed.size:
        leave(state, place, failed, config)
        state.option_done[failed] = True
        agents, objects, kinds, needs_stock = agents[able], objects[able], kinds[able], needs_stock[able]
    np.subtract.at(state.stock, objects, needs_stock.astype(np.int64))
    state.wallet[agents] -= place.cost[kinds]
    state.remaining[agents] = place.duration[kinds]
    state.phase[agents] = USING
    state.since[agents] = state.tick


def progress(state: TownState, place: Place, config: TownConfig) -> None:
    """Count down every use by a tick and complete those that are over."""
    using = (state.phase == USING).nonzero()[0]
    if not using.size:
        return
    left = state.remaining[using] - 1
    state.remaining[using] = left
    done = using[left == 0]
    if done.size:
        _complete(state, place, done, config)


def _complete(state: TownState, place: Place, agents: Ints, config: TownConfig) -> None:
    objects = state.object[agents]
    kinds = place.object_type[objects]
    worlds = objects // place.num_objects
    state.needs[agents] = np.minimum(np.maximum(state.needs[agents] + place.effects[kinds], 0.0), 1.0)
    np.add.at(state.events, (worlds, _COMPLETED[kinds]), 1.0)
    meals = place.meals_made[kinds]
    cooked = meals.nonzero()[0]
    if cooked.size:
        _store_meals(state, place, worlds[cooked], meals[cooked])
    eaters = agents[kinds == _FRIDGE]
    if eaters.size and config.social.relationships:
        _share_meals(state, place, eaters)
    leave(state, place, agents, config)
    state.option_done[agents] = True


def _share_meals(state: TownState, place: Place, eaters: Ints) -> None:
    """Bring each of `eaters` [M], whose meal is complete, closer to the nearest other of its town that is eating too.

    Of equals the lowest slot; one whose own meal is complete in this tick counts.
    """
    eating = ((state.phase == USING) & (place.object_type[state.object] == _FRIDGE)).nonzero()[0]
    x, y = state.x, state.y
    away = np.abs(x[eaters][:, None] - x[eating]) + np.abs(y[eaters][:, None] - y[eating])
    elsewhere = place.world_of_slot[eaters][:, None] != place.world_of_slot[eating]
    away[elsewhere | (eaters[:, None] == eating)] = place.farthest
    nearest = away.argmin(axis=1)
    shared = away[np.arange(len(eaters)), nearest] < place.farthest
    eaters, others = eaters[shared], eating[nearest[shared]]
    if not eaters.size:
        return
    np.add.at(state.events[:, _SHARED], place.world_of_slot[eaters], 1.0)
    state.relations.bond(eaters, others, SHARED_MEAL, tick=state.tick)


def _store_meals(state: TownState, place: Place, worlds: Ints, meals: Ints) -> None:
    """Put meals into the emptiest fridge of each world (the first of equals)."""
    fridges = (place.local_type == _FRIDGE).nonzero()[0]
    if not fridges.size:
        return
    stocks = state.stock[:-1].reshape(place.num_worlds, place.num_objects)
    emptiest = fridges[np.argmin(stocks[worlds][:, fridges], axis=1)]
    np.add.at(state.stock, worlds * place.num_objects + emptiest, meals)


def deliver(state: TownState, place: Place, config: TownConfig) -> None:
    """Bring ingredients to every stove, up to its limit, every `delivery_ticks`."""
    if state.tick % config.delivery_ticks:
        return
    stoves = (place.object_type[:-1] == _STOVE).nonzero()[0]
    state.stock[stoves] = np.minimum(state.stock[stoves] + config.stove_stock_replenish, config.stove_stock)
