"""Slots of the agents that live in a plain world; a slot is free again when its agent has left."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import draw_keys
from townlet_runtime.errors import SimulationError


class Roster:
    """Gives each living agent the lowest free slot, and a key for its draws.

    Args:
        capacity: agents that may live at once.
        seed: of the world, for the keys.
    """

    def __init__(self, *, capacity: int, seed: int) -> None:
        self._capacity = capacity
        self._seed = seed
        self._free = list(range(capacity))
        self.slots: dict[str, int] = {}
        """By id."""
        self._keys: dict[str, np.uint64] = {}

    def leave(self, agent_ids: Iterable[str]) -> NDArray[np.int64]:
        """Take agents off the roster, and return their slots, ascending."""
        slots = []
        for agent_id in agent_ids:
            slots.append(self.slots.pop(agent_id))
            del self._keys[agent_id]
            heapq.heappush(self._free, slots[-1])
        return np.array(sorted(slots), np.int64)

    def enter(self, agent_ids: Iterable[str]) -> None:
        """Put the agents on the roster that are not on it.

        Raises:
            SimulationError: if more agents live than there are slots, or one has no name.
        """
        for agent_id in agent_ids:
            if agent_id in self.slots:
                continue
            if not isinstance(agent_id, str) or not agent_id:
                raise SimulationError(f"the id of an agent must be a text that is not empty, got {agent_id!r}")
            if not self._free:
                raise SimulationError(
                    f"{agent_id!r} is one agent more than the `capacity` of {self._capacity}; give a larger one"
                )
            self.slots[agent_id] = heapq.heappop(self._free)
            self._keys[agent_id] = draw_keys(self._seed, agent_id)

    def restore(self, slots: Mapping[str, int]) -> None:
        """Replace the roster by these slots, by agent id."""
        self._free = sorted(set(range(self._capacity)) - set(slots.values()))
        self.slots = dict(slots)
        self._keys = {agent_id: draw_keys(self._seed, agent_id) for agent_id in slots}

    def rows(self) -> tuple[list[str], NDArray[np.int64], NDArray[np.uint64]]:
        """Return ids, slots and keys [N] of all agents, by ascending slot."""
        ids = sorted(self.slots, key=self.slots.__getitem__)
        slots = np.array([self.slots[agent_id] for agent_id in ids], np.int64)
        return ids, slots, np.array([self._keys[agent_id] for agent_id in ids], np.uint64)
