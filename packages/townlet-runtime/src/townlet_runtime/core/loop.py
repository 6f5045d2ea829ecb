"""`SimulationLoop`: a simulation and its runtime, stepped together; `GroupedLoop` for several groups of agents."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.core.groups import count_worlds
from townlet_runtime.core.runtime import PolicyRuntime
from townlet_runtime.core.telemetry import log, log_tick_health
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.interface import (
    AGENTS,
    GroupedSimulation,
    OneGroup,
    Simulation,
    Stepped,
    first_spec,
)
from townlet_trajectory.evaluation.seeds import training_seeds


@dataclass(frozen=True, kw_only=True)
class LoopReport:
    """What happened in some ticks."""

    ticks: int
    env_steps: int
    """Worlds in which anybody was present, summed over the ticks."""
    agent_ticks: int
    """Decisions made: agents present, summed over the ticks."""
    wall_time_s: float
    mean_reward: float
    """Per agent and tick."""
    events: Mapping[str, float]
    """Sums over all worlds."""
    decisions_by_source: Mapping[str, int]
    ticks_by_source: Mapping[str, int]
    vetoes: int

    @property
    def agents(self) -> float:
        """Present at a tick, on average."""
        return self.agent_ticks / self.ticks

    @property
    def ticks_per_s(self) -> float:
        return self.ticks / self.wall_time_s

    @property
    def agent_decisions_per_s(self) -> float:
        return self.agent_ticks / self.wall_time_s


class GroupedLoop:
    """Steps a simulation as the runtimes of its groups decide. `reset`, or `begin` of every runtime, comes first."""

    def __init__(self, simulation: GroupedSimulation, runtimes: Mapping[str, PolicyRuntime]) -> None:
        self._simulation = simulation
        self._runtimes = runtimes
        self._groups = tuple(runtimes.items())

    def reset(self, seed: int) -> None:
        """Begin the worlds anew, with seeds derived from `seed`; recorded rows that were not collected are dropped."""
        for runtime in self._runtimes.values():
            runtime.reset_state()
        num_worlds = first_spec(self._simulation).num_worlds
        observed = self._simulation.reset(seeds=training_seeds(seed, num_worlds))
        for group, runtime in self._runtimes.items():
            runtime.begin(observed[group], tick=runtime.tick)

    def step(self) -> Mapping[str, Stepped]:
        """Decide, step the world, record."""
        begun = time.perf_counter()
        actions = {}
        for group, runtime in self._groups:
            actions[group] = runtime.decide_batch().action
        stepped = self._simulation.step(actions)
        for group, runtime in self._groups:
            runtime.post_step(stepped[group])
        if log.isEnabledFor(logging.INFO):
            self._log_tick(1e3 * (time.perf_counter() - begun))
        return stepped

    def _log_tick(self, duration_ms: float) -> None:
        services = [runtime.service for runtime in self._runtimes.values()]
        log_tick_health(
            tick=max(runtime.tick for runtime in self._runtimes.values()),
            duration_ms=duration_ms,
            queue=sum(service.num_rows for service in services if service is not None),
            dropped=sum(service.dropped_rows for service in services if service is not None),
        )

    def run_for(self, ticks: int) -> LoopReport:
        """Do `ticks` ticks; the counts of all groups add up.

        Raises:
            SimulationError: if `ticks` is below 1.
        """
        if ticks < 1:
            raise SimulationError(f"`ticks` must be at least 1, got {ticks}")
        runtimes = tuple(self._runtimes.values())
        specs = tuple(self._simulation.specs[group] for group in self._runtimes)
        spec = specs[0]
        events: NDArray[np.float64] = np.zeros((spec.num_worlds, len(spec.event_names)))
        env_steps, agent_ticks, reward_sum = 0, 0, 0.0
        before = [runtime.counts() for runtime in runtimes]
        begun = time.perf_counter()
        for _ in range(ticks):
            env_steps += count_worlds(runtimes, specs)
            for stepped in self.step().values():
                events += stepped.events
                agent_ticks += len(stepped.rewards)
                reward_sum += float(np.add.reduce(stepped.rewards, dtype=np.float64))
        wall_time_s = time.perf_counter() - begun
        after = [runtime.counts() for runtime in runtimes]
        return LoopReport(
            ticks=ticks,
            env_steps=env_steps,
            agent_ticks=agent_ticks,
            wall_time_s=wall_time_s,
            mean_reward=reward_sum / max(agent_ticks, 1),
            events=dict(zip(spec.event_names, events.sum(axis=0).tolist(), strict=True)),
            decisions_by_source=_difference([one.decisions for one in after], [one.decisions for one in before]),
            ticks_by_source=_difference([one.ticks for one in after], [one.ticks for one in before]),
            vetoes=sum(sum(one.vetoes.values()) for one in after) - sum(sum(one.vetoes.values()) for one in before),
        )


class SimulationLoop:
    """Steps a simulation as its runtime decides. `reset` comes first; the tick counts on through every reset."""

    def __init__(self, simulation: Simulation, runtime: PolicyRuntime) -> None:
        self._simulation = simulation
        self._runtime = runtime
        self._loop = GroupedLoop(OneGroup(simulation), {AGENTS: runtime})

    @property
    def simulation(self) -> Simulation:
        return self._simulation

    @property
    def runtime(self) -> PolicyRuntime:
        return self._runtime

    @property
    def tick(self) -> int:
        """The tick that is decided next."""
        return self._runtime.tick

    def reset(self, seed: int) -> None:
        """Begin the worlds anew, with seeds derived from `seed`; recorded rows that were not collected are dropped."""
        self._loop.reset(seed)

    def step(self) -> Stepped:
        """Decide, step the world, record."""
        return self._loop.step()[AGENTS]

    def run_for(self, ticks: int) -> LoopReport:
        """Do `ticks` ticks.

        Raises:
            SimulationError: if `ticks` is below 1.
        """
        return self._loop.run_for(ticks)


def _difference(after: list[Mapping[str, int]], before: list[Mapping[str, int]]) -> dict[str, int]:
    """What was counted in between, over all groups."""
    return {name: sum(one[name] for one in after) - sum(one[name] for one in before) for name in after[0]}
