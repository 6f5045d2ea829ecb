"""The first half of a tick: leaving, walking, joining a line, beginning a use."""

from __future__ import annotations

import numpy as np

from townlet_runtime.town.actions import RELEASE, START, TABLE, WORK
from townlet_runtime.town.arrays import Bools, Ints
from townlet_runtime.town.config import TownConfig
from townlet_runtime.town.lines import join, leave
from townlet_runtime.town.place import Place
from townlet_runtime.town.state import FREE, HOLDS_TURN, USING, TownState
from townlet_runtime.town.targets import Choices
from townlet_runtime.town.using import begin


def act_out(state: TownState, place: Place, actions: Ints, choices: Choices, config: TownConfig) -> None:
    """Leave, walk, join and begin.

    Args:
        state: is changed.
        place: of the state.
        actions: [S] of the vocabulary; absent agents wait.
        choices: of this very state.
        config: of the town.
    """
    act = TABLE.act.take(actions)
    wanted = choices.wanted(actions)
    goal = place.goal_of.take(wanted + place.goal_base)
    busy = choices.busy
    held = busy[:0]
    if busy.size:
        held = _turn_away(state, place, busy, act, goal, config)
    free = state.phase == FREE
    _walk(state, place, act, free, choices.own_cell, wanted + place.ways.of_action.take(actions))
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


def _walk(state: TownState, place: Place, act: Ints, free: Bools, own_cell: Ints, way: Ints) -> None:
    """Take a step along `way` [S]: one cell, and only who is free."""
    working = (act == WORK).nonzero()[0]
    if working.size:
        # Nobody without a job walks: -1 + 1 is the way to nowhere.
        way[working] += state.job[working] + 1
    steps = place.ways.steps.take(own_cell * place.ways.count + way)
    steps *= free
    # A new array: who looked before the walk still has the old one.
    state.cell = state.cell + steps
