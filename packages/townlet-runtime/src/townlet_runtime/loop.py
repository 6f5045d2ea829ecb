"""`SimulationLoop`: a simulation and its runtime, stepped together."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.errors import SimulationError
from townlet_runtime.runtime import PolicyRuntime
from townlet_runtime.simulation import Simulation, Stepped
from townlet_runtime.telemetry import log, log_tick_health


@dataclass(frozen=True, kw_only=True)
class LoopReport:
    """What happened in some ticks."""

    ticks: int
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


class SimulationLoop:
    """Steps a simulation as its runtime decides. `reset` comes first; the tick counts on through every reset."""

    def __init__(self, simulation: Simulation, runtime: PolicyRuntime) -> None:
        self._simulation = simulation
        self._runtime = runtime

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
        """Begin the worlds anew; what was recorded and not collected is dropped."""
        self._runtime.reset_state()
        self._runtime.begin(self._simulation.reset(seed=seed), tick=self._runtime.tick)

    def step(self) -> Stepped:
        """Decide, step the world, record."""
        begun = time.perf_counter()
        stepped = self._simulation.step(self._runtime.decide_batch().action)
        self._runtime.post_step(stepped)
        if log.isEnabledFor(logging.INFO):
            service = self._runtime.service
            log_tick_health(
                tick=self.tick,
                duration_ms=1e3 * (time.perf_counter() - begun),
                queue=0 if service is None else service.num_rows,
                dropped=0 if service is None else service.dropped_rows,
            )
        return stepped

    def run_for(self, ticks: int) -> LoopReport:
        """Do `ticks` ticks.

        Raises:
            SimulationError: if `ticks` is below 1.
        """
        if ticks < 1:
            raise SimulationError(f"`ticks` must be at least 1, got {ticks}")
        spec = self._simulation.spec
        events: NDArray[np.float64] = np.zeros((spec.num_worlds, len(spec.event_names)))
        agent_ticks, reward_sum = 0, 0.0
        before = self._runtime.counts()
        begun = time.perf_counter()
        for _ in range(ticks):
            stepped = self.step()
            events += stepped.events
            agent_ticks += len(stepped.rewards)
            reward_sum += float(np.add.reduce(stepped.rewards, dtype=np.float64))
        wall_time_s = time.perf_counter() - begun
        after = self._runtime.counts()
        return LoopReport(
            ticks=ticks,
            agent_ticks=agent_ticks,
            wall_time_s=wall_time_s,
            mean_reward=reward_sum / max(agent_ticks, 1),
            events=dict(zip(spec.event_names, events.sum(axis=0).tolist(), strict=True)),
            decisions_by_source=_difference(after.decisions, before.decisions),
            ticks_by_source=_difference(after.ticks, before.ticks),
            vetoes=sum(after.vetoes.values()) - sum(before.vetoes.values()),
        )


def _difference(after: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return {name: count - before[name] for name, count in after.items()}
