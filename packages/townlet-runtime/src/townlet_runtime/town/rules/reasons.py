"""Why actions are not legal, for people: the rules of `TargetResolver.legal_actions` in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from townlet_runtime.town.actions import MOVE, RELEASE, REQUEST, SELECTORS, START, WORK
from townlet_runtime.town.state import FREE, USING

if TYPE_CHECKING:
    from townlet_runtime.town.observations import TownObserved

_WAYS = len(SELECTORS)


def illegal_reasons(observed: TownObserved, agent_id: str, world: int) -> Mapping[str, str]:
    """Say why an agent cannot do what its mask forbids.

    Args:
        observed: the view of this tick.
        agent_id: of the agent.
        world: index of its world.

    Returns:
        A few words for each forbidden action, by its key; empty where the agent is not there.
    """
    rows = np.flatnonzero((observed.agent_ids == agent_id) & (observed.worlds == world))
    return dict(_reasons(observed, int(rows[0]))) if rows.size else {}


def _reasons(observed: TownObserved, row: int) -> Iterator[tuple[str, str]]:
    state, place, slot = observed.state, observed.place, int(observed.slots[row])
    actions, phase, held = place.actions, int(state.phase[slot]), int(state.object[slot])
    own_type = None if phase == FREE else actions.types[int(place.object_type[held])]
    for action in np.flatnonzero(~observed.action_mask[row]).tolist():
        act = actions.act[action]
        if phase == USING:
            reason = f"it is using the {own_type}: release it first"
        elif act == MOVE:
            reason = "the town ends there"
        elif act == REQUEST:
            reason = _of_request(observed, slot, int(actions.target[action]) // _WAYS)
        elif act == START:
            reason = "it has no turn anywhere" if own_type is None else f"its turn at the {own_type} has not come"
        elif act == RELEASE:
            reason = "it has no object to leave"
        elif act == WORK:
            reason = "it has no job"
        else:  # nothing else but a chat, for waiting is always legal
            reason = _of_chat(observed, slot)
        yield actions.vocabulary.keys[action], reason


def _of_request(observed: TownObserved, slot: int, kind: int) -> str:
    state, place, world = observed.state, observed.place, int(observed.place.world_of_slot[slot])
    name = place.actions.types[kind]
    objects = np.arange(place.num_objects) + world * place.num_objects
    mine = objects[place.object_type[objects] == kind]
    if not mine.size:
        return f"there is no {name}"
    cost, wallet = float(place.cost[kind]), float(state.wallet[slot])
    if wallet < cost:
        return f"it costs {cost:g}, and the agent has {math.floor(100.0 * wallet) / 100.0:g}"
    return f"no {name} has anything left"


def _of_chat(observed: TownObserved, slot: int) -> str:
    if not observed.place.knows_chats:
        return "nobody chats in this town"
    if observed.company.num_others[slot] == 0:
        return "nobody else is here"
    left = int(observed.state.chat_ready_at[slot] - observed.state.tick)
    return f"it has just chatted: {left} more tick{'s' * (left != 1)}"
