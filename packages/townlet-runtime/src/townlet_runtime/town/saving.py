"""A town as named arrays, and back: what is restored goes on bit for bit as what was saved."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import SavedState
from townlet_behavior.saving import join_states, split_state
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.saved_state import saved_array, saved_number
from townlet_runtime.town.population import Population
from townlet_runtime.town.relations import EDGES
from townlet_runtime.town.state import TownState

_SCALARS = ("tick", "last_cooldown", "some_blocked", "someone_late")
_NOT_SAVED = ("counted", "relations", "grid")
_ARRAYS = tuple(f.name for f in fields(TownState) if f.name not in (*_SCALARS, *_NOT_SAVED))


def saved_town(state: TownState, population: Population) -> SavedState:
    """Everything that a town's future depends on, as copies."""
    values, edges = vars(state), vars(state.relations)
    arrays = {name: values[name].copy() for name in _ARRAYS}
    return join_states(
        {
            "state": {**{name: np.array(values[name]) for name in _SCALARS}, **arrays},
            "relations": {name: edges[name].copy() for name in EDGES},
            "population": {
                "ids": population.ids.astype(np.str_),
                "seeds": population.seeds.copy(),
                "arrived": population.arrived.copy(),
                "episode": np.array(population.episode),
            },
        }
    )


def restore_town(saved: SavedState, state: TownState, population: Population) -> None:
    """Make `state` and `population` what they were when they were saved.

    Raises:
        SimulationError: if something is missing or was saved by another town; then nothing has changed.
    """
    parts = split_state(saved, ("state", "relations", "population"))
    people = parts["population"]
    if not np.array_equal(people.get("ids", np.empty(0)), population.ids.astype(np.str_)):
        raise SimulationError(
            f"expected the saved state of a town of {population.ids.tolist()}, got {people.get('ids')}"
        )
    values, edges = vars(state), vars(state.relations)
    arrays = {name: _like(parts["state"], name, values[name]) for name in _ARRAYS}
    relations = {name: _like(parts["relations"], name, edges[name]) for name in EDGES}
    seeds, arrived = (_like(people, name, vars(population)[name]) for name in ("seeds", "arrived"))
    scalars = {name: _like(parts["state"], name, np.array(values[name])).item() for name in _SCALARS}
    episode = saved_number(people, "episode")
    values.update(arrays, **scalars, counted=b"")
    population.resume(state, seeds=seeds, arrived=arrived, episode=episode)
    state.relations.restore(relations)


def _like(saved: SavedState, name: str, present: NDArray[Any]) -> NDArray[Any]:
    return saved_array(saved, name, dtype=present.dtype.type, shape=present.shape)
