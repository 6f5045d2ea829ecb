"""Lines at the objects: joining, leaving, getting a turn, losing it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.town.arrays import Bools, Ints
from townlet_runtime.town.config import TownConfig
from townlet_runtime.town.place import Place
from townlet_runtime.town.state import EVENTS, FREE, HOLDS_TURN, IN_LINE, TownState, count_at

_CONFLICT = EVENTS.index("queue_conflict_events")
_INTENSITY = EVENTS.index("queue_conflict_intensity_sum")
_GHOST = EVENTS.index("ghost_step_events")


def join(state: TownState, place: Place, agents: Ints, goals: Ints, config: TownConfig) -> None:
    """Put agents that stand at their goal at the end of its line, unless it still refuses them.

    Args:
        agents: [M] slots.
        goals: [M] the objects they want, over all worlds.
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
    """Who stands directly before each of `agents` [M] at its object; somebody must."""
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
    """Take agents [M] away from their objects; whoever had a turn (it may have gone `stale`) or a use waits before the
    next one there."""
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
    """Ghost step: a turn that is not taken while others wait passes on."""
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
