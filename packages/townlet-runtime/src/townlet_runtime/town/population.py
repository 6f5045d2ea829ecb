"""Who lives in the towns: the first inhabitants of an episode, fainting, newcomers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import draw_keys
from townlet_runtime.town.config import TownConfig
from townlet_runtime.town.place import Ints, Place
from townlet_runtime.town.state import EVENTS, FREE, TownState

_ARRIVALS = EVENTS.index("arrival_events")
_NEEDS_RANGE = (0.5, 0.9)
_WALLET_RANGE = (0.8, 1.6)


class Population:
    """Ids and draw keys of the agents in the slots, and where newcomers come from.

    What an agent arrives with is drawn from a generator of its own, seeded by (seed of the world, episode, agents
    that arrived before), so that it does not depend on what anybody did.
    """

    def __init__(self, config: TownConfig, place: Place) -> None:
        self._config = config
        self._place = place
        slots = place.num_worlds * config.population
        self.ids: NDArray[np.object_] = np.full(slots, "", dtype=object)
        self.keys = np.zeros(slots, dtype=np.uint64)
        self._seeds = np.zeros(place.num_worlds, dtype=np.int64)
        self._arrived = np.zeros(place.num_worlds, dtype=np.int64)
        self._episode = 0

    def settle(self, state: TownState, seeds: Ints, episode: int) -> None:
        """Fill every slot of every world with the inhabitants of a new episode.

        Args:
            seeds: [W] of the worlds.
            episode: number of the episode since the reset.
        """
        config, size = self._config, self._config.population
        self._seeds, self._episode = seeds, episode
        self._arrived[:] = size
        state.alive[:] = True
        for world in range(self._place.num_worlds):
            slots = np.arange(world * size, (world + 1) * size)
            rng = np.random.default_rng([int(seeds[world]), episode, 0])
            self._place_agents(state, slots, rng)
            state.job[slots] = rng.permutation(size) % len(self._place.jobs)
            names = [a.id for a in config.agents] or [f"agent_{i + 1:02d}" for i in range(size)]
            self._name(world, slots, names)
        if config.agents:
            self._follow_scenario(state)

    def admit(self, state: TownState) -> bool:
        """Let newcomers into the slots whose delay is over; return whether anybody came."""
        due = (~state.alive & (state.returns_at <= state.tick)).nonzero()[0]
        if not due.size:
            return False
        worlds = due // self._config.population
        for world in np.unique(worlds):
            slots = due[worlds == world]
            arrived = int(self._arrived[world])
            rng = np.random.default_rng([int(self._seeds[world]), self._episode, arrived])
            self._place_agents(state, slots, rng)
            state.job[slots] = rng.integers(len(self._place.jobs), size=len(slots))
            self._name(int(world), slots, [f"newcomer_{arrived + i + 1}" for i in range(len(slots))])
            self._arrived[world] += len(slots)
        state.alive[due] = True
        np.add.at(state.events[:, _ARRIVALS], worlds, 1.0)
        return True

    def dismiss(self, state: TownState, slots: Ints) -> None:
        """Take agents out of the town; their slots stay empty for `respawn_delay_ticks`."""
        state.alive[slots] = False
        state.object[slots] = -1
        state.phase[slots] = FREE
        state.returns_at[slots] = state.tick + self._config.respawn_delay_ticks

    def _place_agents(self, state: TownState, slots: Ints, rng: np.random.Generator) -> None:
        width, height = self._config.grid_size
        count = len(slots)
        state.x[slots] = rng.integers(width, size=count)
        state.y[slots] = rng.integers(height, size=count)
        state.needs[slots] = rng.uniform(*_NEEDS_RANGE, size=(count, 3))
        state.wallet[slots] = rng.uniform(*_WALLET_RANGE, size=count)
        state.object[slots] = -1
        state.phase[slots] = FREE
        state.since[slots] = state.tick
        state.remaining[slots] = 0
        state.cooldown_until[slots] = 0
        state.late[slots] = 0

    def _name(self, world: int, slots: Ints, names: list[str]) -> None:
        # Strings are made when agents arrive, never in a tick without arrivals. New arrays, not old ones changed:
        # what was handed out stays as it is.
        self.ids, self.keys = self.ids.copy(), self.keys.copy()
        self.ids[slots] = names
        self.keys[slots] = [draw_keys(world, name) for name in names]

    def _follow_scenario(self, state: TownState) -> None:
        agents, worlds = self._config.agents, self._place.num_worlds
        jobs = [job.name for job in self._place.jobs]
        state.x[:] = np.tile([a.position[0] for a in agents], worlds)
        state.y[:] = np.tile([a.position[1] for a in agents], worlds)
        state.needs[:] = np.tile([a.needs for a in agents], (worlds, 1))
        state.wallet[:] = np.tile([a.wallet for a in agents], worlds)
        state.job[:] = np.tile([-1 if a.job is None else jobs.index(a.job) for a in agents], worlds)
