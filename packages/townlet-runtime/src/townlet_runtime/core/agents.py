"""Agents by name: ids are looked up where a user gives or reads one, and nowhere in the loop."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import PossessionError
from townlet_runtime.simulation.interface import Observed


def slot_of(agent_id: str, world: int, observed: Observed | None) -> int:
    """The slot of an agent that is present.

    Raises:
        PossessionError: if world `world` has no such agent now.
    """
    if observed is not None:
        here = (observed.agent_ids == agent_id) & (observed.worlds == world)
        if here.any():
            return int(observed.slots[here.argmax()])
    raise PossessionError(f"expected an agent that is present in world {world}, got {agent_id!r}")


def ids_of(slots: NDArray[np.int64], world: int, observed: Observed) -> list[str]:
    """The ids of the agents of a world that are present and in one of `slots`."""
    here = np.isin(observed.slots, slots) & (observed.worlds == world)
    return [str(agent_id) for agent_id in observed.agent_ids[here]]
