"""Scores of whole episodes: every episode a world of its own, all of them stepped together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import BridgeConfig
from townlet_runtime.acting import Policy, UniformPolicy
from townlet_runtime.errors import SimulationError
from townlet_runtime.runtime import PolicyRuntime
from townlet_runtime.simulation import Observed, Simulation, Stepped

MakeSimulation = Callable[[int], Simulation]
"""Builds a simulation of so many parallel worlds."""

RANDOM = "random"
SCRIPTED = "scripted"


@dataclass(frozen=True, kw_only=True, eq=False)
class EpisodeReturns:
    """What n episodes were worth."""

    returns: NDArray[np.float64]
    """[n]; sum of all rewards of a world over the episode / agents at its start, so that leaving early cannot help."""
    events: Mapping[str, NDArray[np.float64]]
    """Each [n]; how often something happened in each episode."""
    seeds: NDArray[np.int64]
    """[n]; the seed of each episode's world."""


class SimulationEvaluator:
    """Plays whole episodes in worlds of its own; nothing it does is seen by any other simulation.

    Episode i is the first episode of world i, seeded with `first_seed + i`, so that policies can be compared seed by
    seed; its result does not depend on how many episodes are played beside it. Commitments are those of `config`.

    Args:
        make: builds the worlds.
        config: of the bridge, as deployed; its ratio is ignored.
        seed: of the policy's own draws.
    """

    def __init__(self, make: MakeSimulation, *, config: BridgeConfig, seed: int) -> None:
        self._make = make
        self._config = config
        self._seed = seed

    def evaluate(self, policy: Policy, *, num_episodes: int, first_seed: int, sample: bool) -> EpisodeReturns:
        """Let `policy` act alone, drawing its actions (`sample`) or taking the most probable ones.

        Raises:
            SimulationError: if there is no episode to play, or the policy does not fit the worlds.
        """
        simulation = self._worlds(num_episodes)
        return self._play(simulation, SCRIPTED, policy, first_seed=first_seed, greedy=not sample)

    def baseline(self, name: str, *, num_episodes: int, first_seed: int) -> EpisodeReturns:
        """Score a script of the simulation by name, or `random`: any legal action is as likely as another."""
        simulation = self._worlds(num_episodes)
        if name != RANDOM:
            return self._play(simulation, name, None, first_seed=first_seed, greedy=False)
        spec = simulation.spec
        policy = UniformPolicy(vocabulary=spec.vocabulary.keys, observation_shapes=spec.observation_shapes)
        return self._play(simulation, SCRIPTED, policy, first_seed=first_seed, greedy=False)

    def _worlds(self, num_episodes: int) -> Simulation:
        if num_episodes < 1:
            raise SimulationError(f"`num_episodes` must be at least 1, got {num_episodes}")
        return self._make(num_episodes)

    def _play(
        self, simulation: Simulation, script: str, policy: Policy | None, *, first_seed: int, greedy: bool
    ) -> EpisodeReturns:
        spec = simulation.spec
        runtime = PolicyRuntime(
            spec,
            simulation.scripted(script),
            config=replace(self._config, ratio=0.0 if policy is None else 1.0),
            policy=policy,
            service=None,
            seed=self._seed,
            greedy=greedy,
        )
        observed = simulation.reset(seed=first_seed)
        scores = _Scores(observed, num_worlds=spec.num_worlds, num_events=len(spec.event_names))
        runtime.begin(observed, tick=0)
        for _ in range(spec.episode_ticks):
            stepped = simulation.step(runtime.decide_batch().action)
            scores.add(observed, stepped)
            runtime.post_step(stepped)
            observed = stepped.observed
        return EpisodeReturns(
            returns=scores.rewards / scores.agents,
            events={name: scores.events[:, column] for column, name in enumerate(spec.event_names)},
            seeds=first_seed + np.arange(spec.num_worlds),
        )


class _Scores:
    """Sums over the first episode of each world."""

    def __init__(self, observed: Observed, *, num_worlds: int, num_events: int) -> None:
        self.agents = np.bincount(observed.worlds, minlength=num_worlds)
        """[W]; at the start."""
        if not self.agents.all():
            raise SimulationError(f"expected agents in every world at the start, got {self.agents}")
        self.rewards = np.zeros(num_worlds)
        """[W]."""
        self.events = np.zeros((num_worlds, num_events))
        """[W, number of events]."""
        self._first = np.full(num_worlds, -1, np.int64)
        self._first[observed.worlds] = observed.episodes
        self._open = np.ones(num_worlds, np.bool_)

    def add(self, observed: Observed, stepped: Stepped) -> None:
        """Add one tick. A world counts until its episode number changes, which may be before `episode_ticks`."""
        worlds = observed.worlds
        self._open[worlds[observed.episodes != self._first[worlds]]] = False
        counted = np.where(self._open[worlds], stepped.rewards, 0.0)
        self.rewards += np.bincount(worlds, weights=counted, minlength=len(self.rewards))
        self.events[self._open] += stepped.events[self._open]
