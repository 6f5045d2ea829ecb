"""Ids of agents where rows and slots meet people: found, listed, and named in errors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import BehaviorError, PossessionError
from townlet_runtime.simulation.interface import Observed


def slot_of(agent_id: str, world: int, observed: Observed | None) -> int:
    """Find the slot of an agent that is present.

    Args:
        agent_id: unique in its world.
        world: index of the world.
        observed: the view of this tick; None: no agent is present.

    Raises:
        PossessionError: if world `world` has no such agent now.
    """
    if observed is not None:
        here = (observed.agent_ids == agent_id) & (observed.worlds == world)
        if here.any():
            return int(observed.slots[here.argmax()])
    raise PossessionError(f"expected an agent that is present in world {world}, got {agent_id!r}")


def ids_of(slots: NDArray[np.int64], world: int, observed: Observed) -> list[str]:
    """List the ids of present agents.

    Args:
        slots: [M]; agents in other slots are left out.
        world: index of the world.
        observed: the view of this tick.
    """
    here = np.isin(observed.slots, slots) & (observed.worlds == world)
    return [str(agent_id) for agent_id in observed.agent_ids[here]]


def name_agent(error: BehaviorError, observed: Observed) -> None:
    """Name the agent of an error of the bridge, which knows slots alone, by its id and world."""
    if error.slot is not None:
        here = (observed.slots == error.slot).nonzero()[0]
        if here.size:
            error.name_agent(str(observed.agent_ids[here[0]]), world=int(observed.worlds[here[0]]))
