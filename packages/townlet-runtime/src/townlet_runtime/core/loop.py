"""`BatchLoop`: a simulation and its runtime, stepped together; `GroupedLoop` for several groups of agents."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import BatchController, BridgeConfig, SavedState, join_groups, split_groups
from townlet_runtime.core.counts import summed
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.core.stretches import Reading, Telemetry
from townlet_runtime.core.telemetry import log, log_tick_health
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.interface import (
    AGENTS,
    GroupedSimulation,
    Simulation,
    SimulationSpec,
    Stepped,
    first_spec,
)
from townlet_runtime.simulation.one_group import OneGroup
from townlet_runtime.simulation.recorded import Filling, room_of
from townlet_trajectory import TrajectoryService
from townlet_trajectory.evaluation.interfaces import AnyActor, training_seeds


def runtimes_of(
    simulation: GroupedSimulation,
    controllers: Mapping[str, BatchController],
    *,
    config: BridgeConfig,
    policies: Mapping[str, AnyActor] | None,
    services: Mapping[str, TrajectoryService] | None,
    seed: int,
    greedy: bool = False,
    drawn: Collection[str] = (),
    asks_values: bool | None = None,
) -> dict[str, BatchRuntime]:
    """Make one runtime for each group, under the world's own guardrails.

    Args:
        simulation: whose groups they are for.
        controllers: the scripted side of each group.
        config: of the bridges.
        policies: the learned side of each group; None, and a group without one: the script alone.
        services: the recorder of each group; None, and a group without one: nothing is recorded.
        seed: of the blend's coins and the policies' draws.
        greedy: take the most probable actions instead of drawing them.
        drawn: groups whose actions are drawn in any case.
        asks_values: whether values are computed; None: where they are recorded.

    Raises:
        SimulationError: if a policy was made for other actions or observations.
    """
    guardrails = simulation.guardrails()
    return {
        group: BatchRuntime(
            spec,
            controllers[group],
            config=config,
            policy=None if policies is None else policies.get(group),
            service=None if services is None else services.get(group),
            seed=seed,
            greedy=greedy and group not in drawn,
            guardrails=guardrails[group],
            asks_values=asks_values,
        )
        for group, spec in simulation.specs.items()
    }


def require_groups(
    actors: Mapping[str, object], simulation: GroupedSimulation, *, opponents: Collection[str] = ()
) -> None:
    """Refuse actors that are not one for each group.

    Args:
        actors: by group.
        simulation: that has the groups.
        opponents: the groups that are played by others.

    Raises:
        SimulationError: names the groups.
    """
    if unknown := sorted(set(opponents) - simulation.specs.keys()):
        raise SimulationError(f"expected opponents of the groups {sorted(simulation.specs)}, got {unknown}")
    expected = simulation.specs.keys() - set(opponents)
    if actors.keys() != expected:
        raise SimulationError(f"expected a policy for each group of {sorted(expected)}, got {sorted(actors)}")


def count_worlds(runtimes: Sequence[BatchRuntime], specs: Sequence[SimulationSpec]) -> int:
    """Count the worlds in which an agent of any group is about to act; one runtime and one spec for each group."""
    inhabited = []
    for index, spec in enumerate(specs):
        observed = runtimes[index].observed
        if observed is None:
            continue
        if len(observed.slots) == spec.capacity:  # everybody is there, which is usual and costs nothing to see
            return spec.num_worlds
        inhabited.append(observed.worlds)
    # Worlds are small numbers: counting them is faster than sorting them.
    return int(np.count_nonzero(np.bincount(np.concatenate(inhabited)))) if inhabited else 0


@dataclass(frozen=True, kw_only=True)
class LoopReport:
    """Counts and rates of the ticks of one `run_for`."""

    ticks: int
    env_steps: int
    """Worlds with an agent, summed over the ticks."""
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
    reward_terms: Mapping[str, float] = field(default_factory=dict)
    """Sums of the named parts of the reward over all agents and ticks."""
    policy_errors: int = 0
    """Agent-ticks at which the script stood in for unusable output of the policy."""

    @classmethod
    def of_all(cls, reports: Sequence[LoopReport]) -> LoopReport:
        """Add up `reports` of one loop, at least one."""
        agent_ticks = sum(report.agent_ticks for report in reports)
        reward_sum = sum(report.mean_reward * report.agent_ticks for report in reports)
        return cls(
            ticks=sum(report.ticks for report in reports),
            env_steps=sum(report.env_steps for report in reports),
            agent_ticks=agent_ticks,
            wall_time_s=sum(report.wall_time_s for report in reports),
            mean_reward=reward_sum / max(agent_ticks, 1),
            events=summed([report.events for report in reports]),
            decisions_by_source=summed([report.decisions_by_source for report in reports]),
            ticks_by_source=summed([report.ticks_by_source for report in reports]),
            vetoes=sum(report.vetoes for report in reports),
            reward_terms=summed([report.reward_terms for report in reports]),
            policy_errors=sum(report.policy_errors for report in reports),
        )

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
    """Steps a simulation as the runtimes of its groups decide. `reset` or `restore` comes first.

    Args:
        simulation: the worlds.
        runtimes: of its groups.
        telemetry: told of every tick; a reset or a restore ends its stretch. None: nothing is measured.
    """

    def __init__(
        self,
        simulation: GroupedSimulation,
        runtimes: Mapping[str, BatchRuntime],
        *,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._simulation = simulation
        self._runtimes = runtimes
        self._groups = tuple(runtimes.items())
        self._telemetry = telemetry
        if isinstance(simulation, Filling):
            rooms = ((group, room_of(simulation.specs[group], runtime.service)) for group, runtime in self._groups)
            simulation.write_into({group: room for group, room in rooms if room is not None})
        if telemetry is not None:
            telemetry.begin(self._readings)

    def reset(self, seed: int) -> None:
        """Begin the worlds anew, with seeds derived from `seed`; recorded rows that were not collected are dropped."""
        if self._telemetry is not None:
            self._telemetry.end_stretch()
        for runtime in self._runtimes.values():
            runtime.reset_state()
        num_worlds = first_spec(self._simulation).num_worlds
        observed = self._simulation.reset(seeds=training_seeds(seed, num_worlds))
        for group, runtime in self._runtimes.items():
            runtime.begin(observed[group], tick=runtime.tick)
        if self._telemetry is not None:
            self._telemetry.count_anew()

    def save_state(self) -> SavedState | None:
        """Save worlds and runtimes between two ticks, without policies and recorded rows.

        Returns:
            The state; None where the worlds cannot be saved.
        """
        worlds = self._simulation.save_state()
        if worlds is None:
            return None
        groups = {str(index): runtime.save_state() for index, (_, runtime) in enumerate(self._groups)}
        return join_groups({"worlds": worlds, "groups": join_groups(groups)})

    def restore(self, state: SavedState) -> None:
        """Go on as the loop that was saved; recorders must be empty.

        Raises:
            SimulationError, StateError: if `state` is of other worlds or runtimes.
        """
        worlds, groups = split_groups(state, ("worlds", "groups")).values()
        if self._telemetry is not None:
            self._telemetry.end_stretch()
        observed = self._simulation.restore(worlds)
        states = split_groups(groups, map(str, range(len(self._groups))))
        for saved, (group, runtime) in zip(states.values(), self._groups, strict=True):
            runtime.restore(saved, observed[group])
        if self._telemetry is not None:
            self._telemetry.count_anew()

    def step(self) -> Mapping[str, Stepped]:
        """Decide, step the world, record."""
        begun = time.perf_counter()
        actions = {}
        for group, runtime in self._groups:
            actions[group] = runtime.decide_batch().action
        stepped = self._simulation.step(actions)
        for group, runtime in self._groups:
            runtime.post_step(stepped[group])
        if self._telemetry is not None or log.isEnabledFor(logging.INFO):
            self._tell(stepped.values(), time.perf_counter() - begun)
        return stepped

    def _tell(self, stepped: Collection[Stepped], duration_s: float) -> None:
        """Tell telemetry and the log of a tick that is done."""
        tick = max(runtime.tick for runtime in self._runtimes.values())
        if log.isEnabledFor(logging.INFO):
            readings = self._readings().values()
            log_tick_health(
                tick=tick,
                duration_ms=1e3 * duration_s,
                queue=sum(reading.queue_rows for reading in readings),
                dropped=sum(reading.dropped_rows for reading in readings),
            )
        if self._telemetry is not None:
            self._telemetry.tick_done(
                tick=tick,
                duration_s=duration_s,
                agents=sum(len(one.rewards) for one in stepped),
                reward_sum=sum(float(np.add.reduce(one.rewards, dtype=np.float64)) for one in stepped),
            )

    def _readings(self) -> dict[str, Reading]:
        return {group: _reading_of(runtime) for group, runtime in self._groups}

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
        terms = dict.fromkeys((term for one in specs for term in one.reward_terms), 0.0)
        before = [runtime.counts() for runtime in runtimes]
        begun = time.perf_counter()
        for _ in range(ticks):
            env_steps += count_worlds(runtimes, specs)
            for stepped in self.step().values():
                if spec.event_names:
                    events += stepped.events
                agent_ticks += len(stepped.rewards)
                reward_sum += float(np.add.reduce(stepped.rewards, dtype=np.float64))
                for name, term in stepped.reward_terms.items():
                    terms[name] += float(term.sum(dtype=np.float64))
        if not math.isfinite(reward_sum):
            raise SimulationError(f"`{spec.name}`: expected finite rewards, got a sum of {reward_sum}")
        wall_time_s = time.perf_counter() - begun
        after = [runtime.counts() for runtime in runtimes]
        return LoopReport(
            ticks=ticks,
            env_steps=env_steps,
            agent_ticks=agent_ticks,
            wall_time_s=wall_time_s,
            mean_reward=reward_sum / max(agent_ticks, 1),
            events=dict(zip(spec.event_names, events.sum(axis=0).tolist(), strict=True)),
            decisions_by_source=summed([one.decisions for one in after], less=[one.decisions for one in before]),
            ticks_by_source=summed([one.ticks for one in after], less=[one.ticks for one in before]),
            vetoes=sum(sum(one.vetoes.values()) for one in after) - sum(sum(one.vetoes.values()) for one in before),
            reward_terms=terms,
            policy_errors=sum(one.policy_errors for one in after) - sum(one.policy_errors for one in before),
        )


class BatchLoop:
    """Steps a simulation as its runtime decides. `reset` or `restore` comes first; the tick counts on through resets.

    Examples:
        >>> from townlet_behavior import BridgeConfig
        >>> from townlet_runtime import BatchRuntime, BatchLoop
        >>> from townlet_runtime.testing import Corridor
        >>> corridor = Corridor(num_worlds=2)
        >>> script = corridor.scripted("scripted")
        >>> runtime = BatchRuntime(corridor.spec, script, config=BridgeConfig(), policy=None, service=None, seed=1)
        >>> loop = BatchLoop(corridor, runtime)
        >>> loop.reset(seed=3)
        >>> report = loop.run_for(10)
        >>> report.ticks, report.env_steps
        (10, 20)
    """

    def __init__(self, simulation: Simulation, runtime: BatchRuntime, *, telemetry: Telemetry | None = None) -> None:
        self._simulation = simulation
        self._runtime = runtime
        self._loop = GroupedLoop(OneGroup(simulation), {AGENTS: runtime}, telemetry=telemetry)

    @property
    def simulation(self) -> Simulation:
        return self._simulation

    @property
    def runtime(self) -> BatchRuntime:
        return self._runtime

    @property
    def tick(self) -> int:
        """The tick that is decided next."""
        return self._runtime.tick

    def reset(self, seed: int) -> None:
        """Begin the worlds anew, with seeds derived from `seed`; recorded rows that were not collected are dropped."""
        self._loop.reset(seed)

    def save_state(self) -> SavedState | None:
        """Save world and runtime between two ticks; None where the world cannot be saved. See `GroupedLoop`."""
        return self._loop.save_state()

    def restore(self, state: SavedState) -> None:
        """Go on as the loop that was saved. See `GroupedLoop`."""
        self._loop.restore(state)

    def step(self) -> Stepped:
        """Decide, step the world, record."""
        return self._loop.step()[AGENTS]

    def run_for(self, ticks: int) -> LoopReport:
        """Do `ticks` ticks.

        Raises:
            SimulationError: if `ticks` is below 1.
        """
        return self._loop.run_for(ticks)


def _reading_of(runtime: BatchRuntime) -> Reading:
    service = runtime.service
    return Reading(
        counts=runtime.counts(),
        policy=runtime.active_policy_hash(),
        ratio=runtime.current_anneal_ratio(),
        queue_rows=0 if service is None else service.num_rows,
        dropped_rows=0 if service is None else service.dropped_rows,
    )
