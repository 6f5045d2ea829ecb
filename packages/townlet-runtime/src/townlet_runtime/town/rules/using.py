"""Use of objects: walking there, lines, turns, and uses with their effects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.town.actions import RELEASE, START, WORK
from townlet_runtime.town.arrays import Bools, Ints
from townlet_runtime.town.config import TownConfig
from townlet_runtime.town.place import Place
from townlet_runtime.town.relations import SHARED_MEAL
from townlet_runtime.town.state import COMPLETED, EVENTS, FREE, HOLDS_TURN, IN_LINE, USING, Targets, TownState, count_at

_CONFLICT = EVENTS.index("queue_conflict_events")
_INTENSITY = EVENTS.index("queue_conflict_intensity_sum")
_GHOST = EVENTS.index("ghost_step_events")
_FRIDGE, _STOVE = 0, 1
_COMPLETED = np.array(COMPLETED)
_SHARED = EVENTS.index("shared_meal_events")


def act_out(state: TownState, place: Place, actions: Ints, targets: Targets, config: TownConfig) -> None:
    """Carry out the actions of all agents: leave, walk, join lines, begin uses.

    Args:
        state: is changed.
        place: of the state.
        actions: [S] of the vocabulary; absent agents wait.
        targets: of this very state.
        config: of the town.
    """
    act = place.actions.act.take(actions)
    wanted = targets.wanted(actions)
    goal = place.goal_of.take(wanted + place.goal_base)
    busy = targets.busy
    held = busy[:0]
    if busy.size:
        held = _turn_away(state, place, busy, act, goal, config)
    way = wanted + place.ways.of_action.take(actions)
    working = (act == WORK).nonzero()[0]
    if working.size:
        # Without a job nobody walks: -1 + 1 is the way to nowhere.
        way[working] += state.job[working] + 1
    free = state.phase == FREE
    steps = place.ways.steps.take(targets.own_cell * place.ways.count + way)
    steps *= free
    # A new array: views from before the walk still have the old one.
    state.cell = state.cell + steps
    there = (free & (state.cell == place.object_cell.take(goal))).nonzero()[0]
    if there.size:
        state.recount()
        join(state, place, there, goal[there], config)
    if held.size:
        begin(state, place, held, config)


def _turn_away(state: TownState, place: Place, busy: Ints, act: Ints, goal: Ints, config: TownConfig) -> Ints:
    """Let busy agents whose action is about something else leave; return those that take the turn they hold."""
    phase, acts = state.phase[busy], act[busy]
    same = goal[busy] == state.object[busy]
    leaving = (acts > START) > same
    if np.count_nonzero(leaving):
        gone = busy[leaving & ((phase != USING) | (acts == RELEASE))]
        state.option_done[gone] = state.phase[gone] == USING
        leave(state, place, gone, config)
    holds = phase == HOLDS_TURN
    if not np.count_nonzero(holds):
        return busy[:0]
    taking: Ints = busy[holds & (same | (acts == START))]
    return taking


def join(state: TownState, place: Place, agents: Ints, goals: Ints, config: TownConfig) -> None:
    """Put agents that stand at their goal at the end of its line, unless it still refuses them.

    Args:
        state: is changed.
        place: of the state.
        agents: [M] slots.
        goals: [M]; their objects, over all worlds.
        config: of the town.
    """
    refused = state.cooldown_until[agents, goals % place.num_objects] > state.tick
    if np.count_nonzero(refused):
        agents, goals = agents[~refused], goals[~refused]
    state.object[agents] = goals
    state.phase[agents] = IN_LINE
    state.since[agents] = state.tick
    ahead = state.load[goals] + equals_before(goals) - place.capacity[goals] + 1
    met = (ahead > 0).nonzero()[0]
    if met.size:
        intensity = 1.0 + config.rivalry.queue_length_boost * (ahead[met] - 1)
        _fall_out(state, place, agents[met], _just_ahead(state, agents[met]), intensity, config)


def _just_ahead(state: TownState, agents: Ints) -> Ints:
    """Return the agent directly before each of `agents` [M] at its object; there must be one."""
    there = (state.object >= 0).nonzero()[0]
    waits = state.phase[there] == IN_LINE
    order = there[np.lexsort((there, state.since[there], waits, state.object[there]))]
    rank = np.empty_like(state.object)
    rank[order] = np.arange(len(order))
    return order[rank[agents] - 1]


def _fall_out(
    state: TownState, place: Place, agents: Ints, rivals: Ints, intensity: NDArray[np.floating], config: TownConfig
) -> None:
    """Count a queue conflict between each of `agents` [M] and its rival [M]; both remember it.

    Rivalry grows by increment_per_conflict · intensity.
    """
    worlds = place.world_of_slot[agents]
    np.add.at(state.events[:, _CONFLICT], worlds, 1.0)
    np.add.at(state.events[:, _INTENSITY], worlds, intensity)
    if config.rivalry.increment_per_conflict > 0.0:
        both, opposite = np.concatenate((agents, rivals)), np.concatenate((rivals, agents))
        more = config.rivalry.increment_per_conflict * np.concatenate((intensity, intensity))
        state.relations.embitter(both, opposite, more, tick=state.tick)


def equals_before(values: Ints) -> Ints:
    """Count, for each element, the equal ones before it: `[7, 3, 7, 7]` gives `[0, 0, 1, 2]`."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.searchsorted(ordered, ordered)
    counts = np.empty_like(values)
    counts[order] = np.arange(len(values)) - first
    return counts


def leave(state: TownState, place: Place, agents: Ints, config: TownConfig, *, stale: bool = False) -> None:
    """Take agents away from their objects; after a turn or a use there is a cooldown before the next one there.

    Args:
        state: is changed.
        place: of the state.
        agents: [M] slots.
        config: of the town.
        stale: the turns were lost because they were not taken.
    """
    had_turn = agents[state.phase[agents] >= HOLDS_TURN]
    objects = state.object[had_turn]
    state.last_cooldown = state.tick + config.queue.cooldown_ticks
    state.cooldown_until[had_turn, objects % place.num_objects] = state.tick + config.queue.cooldown_ticks
    state.given_up_at[objects] = state.tick
    state.given_up_by[objects] = had_turn
    state.given_up_stale[objects] = stale
    state.object[agents] = -1
    state.phase[agents] = FREE
    state.remaining[agents] = 0


def pass_stale_turns(state: TownState, place: Place, config: TownConfig) -> None:
    """Pass on turns that are not taken while others wait (ghost steps); arguments: see `act_out`."""
    holds = state.phase == HOLDS_TURN
    if not np.count_nonzero(holds):
        return
    stale = (holds & (state.tick - state.since >= config.queue.ghost_step_after)).nonzero()[0]
    if stale.size:
        waiting = count_at(np.where(state.phase == IN_LINE, state.object, -1), len(state.stock))
        stale = stale[waiting[state.object[stale]] > 0]
        np.add.at(state.events[:, _GHOST], state.object[stale] // place.num_objects, 1.0)
        leave(state, place, stale, config, stale=True)
        state.option_done[stale] = True


def grant_turns(state: TownState, place: Place, config: TownConfig) -> None:
    """Give the longest waiting agent of every line a turn where there is room; ties go to the lower slot.

    Taking over a turn that another has given up, lost or used in this tick is a queue conflict with the other.
    Arguments: see `act_out`.
    """
    in_line = (state.phase == IN_LINE).nonzero()[0]
    if not in_line.size:
        return
    taken = np.bincount(state.object[state.phase >= HOLDS_TURN], minlength=len(state.stock))
    goals = state.object[in_line]
    room = taken[goals] < place.capacity[goals]
    if not np.count_nonzero(room):
        return
    in_line, goals = in_line[room], goals[room]
    order = np.lexsort((in_line, state.since[in_line], goals))
    first = first_of_each(goals[order])
    granted = in_line[order[first]]
    state.phase[granted] = HOLDS_TURN
    state.since[granted] = state.tick
    objects = goals[order[first]]
    taken_over = (state.given_up_at[objects] == state.tick) & (state.given_up_by[objects] != granted)
    if np.count_nonzero(taken_over):
        _take_over(state, place, granted[taken_over], objects[taken_over], config)


def _take_over(state: TownState, place: Place, agents: Ints, objects: Ints, config: TownConfig) -> None:
    rules = config.rivalry
    waiting = count_at(np.where(state.phase == IN_LINE, state.object, -1), len(state.stock))[objects]
    boost = np.where(state.given_up_stale[objects], rules.ghost_step_boost, rules.handover_boost)
    intensity = boost + rules.queue_length_boost * waiting
    _fall_out(state, place, agents, state.given_up_by[objects], intensity, config)


def first_of_each(ordered: Ints) -> Bools:
    """Mark the first of each run of equal values: `[2, 2, 5]` gives `[True, False, True]`."""
    marks = np.ones(len(ordered), dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=marks[1:])
    return marks


def begin(state: TownState, place: Place, agents: Ints, config: TownConfig) -> None:
    """Start the use of the object whose turn each of `agents` [M] holds: pay, take from its stock.

    An agent that cannot pay, or finds the stock empty, loses the turn, and its option is done. For the other
    arguments see `act_out`.
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
    state.remaining[agents] = place.duration[objects]
    state.phase[agents] = USING
    state.since[agents] = state.tick


def progress(state: TownState, place: Place, config: TownConfig) -> None:
    """Count down every use by a tick and complete those that are over; arguments: see `act_out`."""
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
    own = kinds < len(_COMPLETED)
    np.add.at(state.events, (worlds[own], _COMPLETED[kinds[own]]), 1.0)
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
    """Bring ingredients to every stove, up to its limit, every `delivery_ticks`; arguments: see `act_out`."""
    if state.tick % config.delivery_ticks:
        return
    stoves = (place.object_type[:-1] == _STOVE).nonzero()[0]
    state.stock[stoves] = np.minimum(state.stock[stoves] + config.stove_stock_replenish, config.stove_stock)
