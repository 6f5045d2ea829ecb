"""Lines at the objects: joining, leaving, getting a turn, losing it."""

from __future__ import annotations

import numpy as np

from townlet_runtime.town.config import QueueConfig
from townlet_runtime.town.place import Ints, Place
from townlet_runtime.town.state import EVENTS, FREE, HOLDS_TURN, IN_LINE, Bools, TownState, count_at

_CONFLICT = EVENTS.index("queue_conflict_events")
_INTENSITY = EVENTS.index("queue_conflict_intensity_sum")
_GHOST = EVENTS.index("ghost_step_events")


def join(state: TownState, place: Place, agents: Ints, goals: Ints, config: QueueConfig) -> None:
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
        worlds = goals[met] // place.num_objects
        np.add.at(state.events[:, _CONFLICT], worlds, 1.0)
        np.add.at(state.events[:, _INTENSITY], worlds, 1.0 + config.length_boost * (ahead[met] - 1))


def equals_before(values: Ints) -> Ints:
    """Count, for each element, the equal ones before it: `[7, 3, 7, 7]` gives `[0, 0, 1, 2]`."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.searchsorted(ordered, ordered)
    counts = np.empty_like(values)
    counts[order] = np.arange(len(values)) - first
    return counts


def leave(state: TownState, place: Place, agents: Ints, config: QueueConfig) -> None:
    """Take agents [M] away from their objects; whoever had a turn or a use waits before the next one there."""
    had_turn = agents[state.phase[agents] >= HOLDS_TURN]
    local = state.object[had_turn] % place.num_objects
    state.cooldown_until[had_turn, local] = state.tick + config.cooldown_ticks
    state.object[agents] = -1
    state.phase[agents] = FREE
    state.remaining[agents] = 0


def pass_stale_turns(state: TownState, place: Place, config: QueueConfig) -> None:
    """Ghost step: a turn that is not taken while others wait passes on."""
    holds = state.phase == HOLDS_TURN
    if not np.count_nonzero(holds):
        return
    stale = (holds & (state.tick - state.since >= config.ghost_step_after)).nonzero()[0]
    if stale.size:
        waiting = count_at(np.where(state.phase == IN_LINE, state.object, -1), len(state.stock))
        stale = stale[waiting[state.object[stale]] > 0]
        np.add.at(state.events[:, _GHOST], state.object[stale] // place.num_objects, 1.0)
        leave(state, place, stale, config)
        state.option_done[stale] = True


def grant_turns(state: TownState, place: Place) -> None:
    """Give the longest waiting agent of every line a turn where there is room; ties go to the lower slot."""
    in_line = (state.phase == IN_LINE).nonzero()[0]
    if not in_line.size:
        return
    taken = count_at(np.where(state.phase >= HOLDS_TURN, state.object, -1), len(state.stock))
    goals = state.object[in_line]
    room = taken[goals] < place.capacity[goals]
    in_line, goals = in_line[room], goals[room]
    order = np.lexsort((in_line, state.since[in_line], goals))
    first = first_of_each(goals[order])
    granted = in_line[order[first]]
    state.phase[granted] = HOLDS_TURN
    state.since[granted] = state.tick


def first_of_each(ordered: Ints) -> Bools:
    """Mark the first of each run of equal values: `[2, 2, 5]` gives `[True, False, True]`."""
    marks = np.ones(len(ordered), dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=marks[1:])
    return marks
