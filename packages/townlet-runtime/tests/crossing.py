"""Two groups of agents with unequal spaces in the same worlds: a long and a short corridor side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import BatchController, Guardrail, SavedState, draw_keys, join_groups, split_groups
from townlet_runtime.simulation.interface import Observed, SimulationSpec, Stepped
from townlet_runtime.simulation.saved_state import saved_array
from townlet_runtime.testing import Corridor, CorridorConfig


class Crossing:
    """A `GroupedSimulation` of the groups `long` and `short`; their events add up."""

    behaviors = ("scripted", "idle")

    def __init__(self, num_worlds: int, *, episode_ticks: int = 20, places: int = 2, savable: bool = True) -> None:
        self._savable = savable
        self._seeds = np.zeros(num_worlds, np.int64)
        self.steps = 0
        self.closed = False
        self._corridors = {
            "long": Corridor(CorridorConfig(length=7, places=places, episode_ticks=episode_ticks), num_worlds),
            "short": Corridor(
                CorridorConfig(length=3, places=1, episode_ticks=episode_ticks, max_absence=6, masked=False), num_worlds
            ),
        }

    @property
    def specs(self) -> Mapping[str, SimulationSpec]:
        return {name: corridor.spec for name, corridor in self._corridors.items()}

    def reset(self, *, seeds: NDArray[np.int64]) -> Mapping[str, Observed]:
        self._seeds = seeds
        return {name: self._named(name, one.reset(seeds=seeds)) for name, one in self._corridors.items()}

    def step(self, actions: Mapping[str, NDArray[np.int64]]) -> Mapping[str, Stepped]:
        self.steps += 1
        stepped = {name: one.step(actions[name]) for name, one in self._corridors.items()}
        return {name: replace(one, observed=self._named(name, one.observed)) for name, one in stepped.items()}

    def scripted(self, name: str) -> Mapping[str, BatchController]:
        return {group: one.scripted(name) for group, one in self._corridors.items()}

    def render(self) -> None:
        return None

    def close(self) -> None:
        self.closed = True

    def guardrails(self) -> Mapping[str, Sequence[Guardrail]]:
        return dict.fromkeys(self._corridors, ())

    def save_state(self) -> SavedState | None:
        if not self._savable:
            return None
        own = {"seeds": self._seeds.copy()}
        return join_groups({"own": own, **{name: one.save_state() for name, one in self._corridors.items()}})

    def restore(self, state: SavedState) -> Mapping[str, Observed]:
        parts = split_groups(state, ("own", *self._corridors))
        self._seeds = saved_array(parts["own"], "seeds", dtype=np.int64, shape=self._seeds.shape)
        return {name: self._named(name, one.restore(parts[name])) for name, one in self._corridors.items()}

    def _named(self, group: str, observed: Observed) -> Observed:
        """The same agents under ids that are unique over both groups."""
        ids = np.array([NAMES.setdefault(f"{group}_{one}", f"{group}_{one}") for one in observed.agent_ids], np.object_)
        pairs = zip(self._seeds[observed.worlds].tolist(), ids, strict=True)
        keys = np.array([draw_keys(seed, agent_id) for seed, agent_id in pairs], np.uint64)
        return replace(observed, agent_ids=ids, keys=keys)


NAMES: dict[str, str] = {}
"""One object for each id, as a simulation that keeps its ids has."""
