"""The population of a town: inhabitants of an episode, absences after fainting and on journeys, returns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import draw_keys
from townlet_behavior.personality import avoid_thresholds
from townlet_runtime.town.arrays import Floats, Ints
from townlet_runtime.town.config import PROFILE_NAMES, TownConfig
from townlet_runtime.town.place import Place
from townlet_runtime.town.state import EVENTS, FREE, TownState

_ARRIVALS = EVENTS.index("arrival_events")
_NEEDS_RANGE = (0.5, 0.9)
_WALLET_RANGE = (0.8, 1.6)
_NEVER = 1 << 60
"""Later than any tick."""


class Population:
    """Ids and draw keys of the agents in the slots, and the cells, needs and wallets that they arrive with.

    Every slot belongs to one agent: one that faints or travels comes back under the same id. Arrivals are drawn from a
    generator of their own, seeded by (seed of the world, episode, agents that came before), so that they do not depend
    on the actions of others.
    """

    def __init__(self, config: TownConfig, place: Place) -> None:
        self._config = config
        self._place = place
        size, worlds = config.population, place.num_worlds
        names = [a.id for a in config.agents] or [f"agent_{i + 1:02d}" for i in range(size)]
        self.ids: NDArray[np.object_] = np.array(names * worlds, dtype=object)
        """[S]."""
        self.keys: NDArray[np.uint64] = np.zeros(len(self.ids), np.uint64)
        """[S]; of the seeds and the ids."""
        self._fixed_profiles = _fixed_profiles(config, names)
        self._shares = _shares(config)
        self._avoid_from = avoid_thresholds(config.rivalry.avoid_threshold)
        self.seeds: Ints = np.zeros(worlds, dtype=np.int64)
        """[W]."""
        self.arrived: Ints = np.zeros(worlds, dtype=np.int64)
        """[W]; agents that came since the episode began, the first ones too."""
        self.episode = 0
        """Number of the episode since the reset."""
        self.next_departure = _NEVER
        self.next_return = _NEVER
        """First ticks at which somebody leaves, and is back."""
        self.somebody_absent = True

    def settle(self, state: TownState, seeds: Ints, episode: int) -> None:
        """Fill every slot of every world with the inhabitants of a new episode.

        Args:
            seeds: [W] of the worlds.
            episode: number of the episode since the reset.
        """
        config, size = self._config, self._config.population
        self._take_seeds(seeds)
        self.episode = episode
        self.arrived[:] = size
        state.alive[:] = True
        state.relations.clear()
        # A new array, which is how observers notice.
        state.extroversion = extroversion = np.zeros(len(state.alive))
        for world in range(self._place.num_worlds):
            slots = np.arange(world * size, (world + 1) * size)
            rng = _generator(int(seeds[world]), episode, arrived=0)
            self._place_agents(state, slots, rng)
            state.job[slots] = rng.permutation(size) % len(self._place.jobs)
            self._plan_journeys(state, slots, rng)
            extroversion[slots] = rng.random(size)
            drawn = rng.choice(len(PROFILE_NAMES), size=size, p=self._shares)
            state.profile[slots] = np.where(self._fixed_profiles < 0, drawn, self._fixed_profiles)
        state.returns_at[:] = _NEVER
        if config.agents:
            self._follow_scenario(state)
        self._find_workplaces(state)
        self._judge(state)
        self._look_ahead(state)

    def resume(self, state: TownState, *, seeds: Ints, arrived: Ints, episode: int) -> None:
        """Take over the saved population of a saved state.

        Args:
            state: that has been restored.
            seeds: [W] of the worlds.
            arrived: [W]; agents that came since the episode began.
            episode: number of the episode since the reset.
        """
        self._take_seeds(seeds)
        self.arrived, self.episode = arrived, episode
        self._judge(state)
        self._look_ahead(state)

    def _take_seeds(self, seeds: Ints) -> None:
        if seeds is not self.seeds:
            pairs = zip(np.repeat(seeds, self._config.population).tolist(), self.ids, strict=True)
            self.seeds, self.keys = seeds, np.array([draw_keys(seed, name) for seed, name in pairs], np.uint64)

    def admit(self, state: TownState) -> None:
        """Let the agents back in whose time has come."""
        due = (state.returns_at <= state.tick).nonzero()[0]
        worlds = self._place.world_of_slot[due]
        for world in dict.fromkeys(worlds.tolist()):
            slots = due[worlds == world]
            rng = _generator(int(self.seeds[world]), self.episode, arrived=int(self.arrived[world]))
            self._place_agents(state, slots, rng)
            self._plan_journeys(state, slots, rng)
            self.arrived[world] += len(slots)
        state.alive[due] = True
        state.returns_at[due] = _NEVER
        np.add.at(state.events[:, _ARRIVALS], worlds, 1.0)
        self._look_ahead(state)

    def dismiss(self, state: TownState, slots: Ints, *, until: int) -> None:
        """Take agents out of the town.

        Args:
            state: is changed.
            slots: [M] of the agents.
            until: tick at which they are back.
        """
        state.alive[slots] = False
        state.cell = state.cell.copy()
        state.cell[slots] = self._place.grid.nowhere
        state.object[slots] = -1
        state.phase[slots] = FREE
        state.returns_at[slots] = until
        state.leaves_at[slots] = _NEVER
        self._look_ahead(state)

    def _look_ahead(self, state: TownState) -> None:
        self.next_departure, self.next_return = int(state.leaves_at.min()), int(state.returns_at.min())
        self.somebody_absent = int(np.count_nonzero(state.alive)) < len(state.alive)

    def _judge(self, state: TownState) -> None:
        """Set the rivalry from which on each agent avoids another."""
        if self._config.personality.profiles:
            state.relations.avoid_from = self._avoid_from[state.profile]

    def _place_agents(self, state: TownState, slots: Ints, rng: np.random.Generator) -> None:
        width, height = self._config.grid_size
        count = len(slots)
        self._stand(state, slots, rng.integers(width, size=count), rng.integers(height, size=count))
        state.needs[slots] = rng.uniform(*_NEEDS_RANGE, size=(count, 3))
        state.wallet[slots] = rng.uniform(*_WALLET_RANGE, size=count)
        state.object[slots] = -1
        state.phase[slots] = FREE
        state.since[slots] = state.tick
        state.remaining[slots] = 0
        state.cooldown_until[slots] = 0
        state.late[slots] = 0
        state.chat_ready_at[slots] = 0
        state.schedule_at[slots] = 0

    def _stand(self, state: TownState, slots: Ints, x: Ints, y: Ints) -> None:
        # A new array: what was handed out stays as it is.
        state.cell = state.cell.copy()
        state.cell[slots] = self._place.grid.cells(self._place.world_of_slot[slots], x, y)

    def _find_workplaces(self, state: TownState) -> None:
        place, job, shifts = self._place, state.job, self._place.timetable
        cells = place.grid.cells(place.world_of_slot, shifts.x[job], shifts.y[job])
        state.workplace = np.where(job < 0, -1, cells)

    def _plan_journeys(self, state: TownState, slots: Ints, rng: np.random.Generator) -> None:
        """Draw when agents leave: at each tick with the same chance, so after a geometric number of ticks."""
        rate = self._config.lifecycle.departure_rate
        if rate > 0.0:
            # The numbers of a tiny rate do not fit into integers; so late is never.
            ticks = np.log1p(-rng.random(len(slots))) / np.log1p(-min(rate, 1.0 - 1e-16))
            state.leaves_at[slots] = state.tick + 1 + np.minimum(ticks, float(1 << 50)).astype(np.int64)
        else:
            state.leaves_at[slots] = _NEVER

    def _follow_scenario(self, state: TownState) -> None:
        agents, worlds = self._config.agents, self._place.num_worlds
        jobs = [job.name for job in self._place.jobs]
        x, y = np.tile([a.position for a in agents], (worlds, 1)).T
        self._stand(state, np.arange(len(x)), x, y)
        state.needs[:] = np.tile([a.needs for a in agents], (worlds, 1))
        state.wallet[:] = np.tile([a.wallet for a in agents], worlds)
        state.job[:] = np.tile([-1 if a.job is None else jobs.index(a.job) for a in agents], worlds)


def _generator(seed: int, episode: int, *, arrived: int) -> np.random.Generator:
    """Return the generator of one arrival.

    NumPy hashes the seed, padded, with the key: as words in one list a seed of 64 bits would read like a smaller seed
    and an episode.

    Args:
        seed: of the world.
        episode: number of the episode since the reset.
        arrived: agents that came before in this episode.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(episode, arrived)))


def _fixed_profiles(config: TownConfig, names: list[str]) -> Ints:
    """[K]; index of each agent's profile, -1 where it is drawn."""
    said = {**config.personality.overrides}
    said.update({a.id: a.personality_profile for a in config.agents if a.personality_profile is not None})
    return np.array([PROFILE_NAMES.index(said[name]) if name in said else -1 for name in names])


def _shares(config: TownConfig) -> Floats:
    """[profiles]; chance of each."""
    said = config.personality.distribution or {"balanced": 1.0}
    weights = np.array([said.get(name, 0.0) for name in PROFILE_NAMES])
    shares: Floats = weights / weights.sum()
    return shares
