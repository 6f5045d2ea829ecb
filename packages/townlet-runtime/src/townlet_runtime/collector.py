"""Experience for a learner: worlds that live on between collections, and what happened in each."""

from __future__ import annotations

from dataclasses import dataclass

from townlet_behavior import BridgeConfig
from townlet_runtime.acting import Policy
from townlet_runtime.errors import SimulationError
from townlet_runtime.loop import LoopReport, SimulationLoop
from townlet_runtime.observing import schema_of
from townlet_runtime.runtime import PolicyRuntime
from townlet_runtime.simulation import Simulation, SimulationSpec
from townlet_trajectory import TrajectoryBatch, TrajectoryService

SCRIPTED = "scripted"


@dataclass(frozen=True, kw_only=True, eq=False)
class Collection:
    """One collection."""

    batch: TrajectoryBatch
    """Every agent-tick; trajectories that go on end with the observation the next collection begins with."""
    report: LoopReport
    """Counts over these ticks."""
    env_steps: int
    """Ticks, summed over parallel worlds."""


class SimulationCollector:
    """Lets script and policy live in a simulation, collection after collection.

    Args:
        simulation: its worlds are begun here and never reset again.
        config: of the bridge; its ratio is replaced by that of each collection.
        seed: of the worlds, and of the policy's draws.
        max_rows: agent-ticks that one collection may hold.

    Raises:
        SimulationError: if choices bind for several ticks and no observation shows it: the value of a forced step
            could not be learned.
    """

    def __init__(self, simulation: Simulation, *, config: BridgeConfig, seed: int, max_rows: int) -> None:
        self._spec = simulation.spec
        longest = int(config.commitment.lengths(self._spec.vocabulary).max())
        if self._spec.commitment_columns is None and longest > 1:
            raise SimulationError(
                f"`{self._spec.name}` must say where its observations show the option in force (`commitment_columns`), "
                f"or commitments must not bind; the longest binds for {longest} ticks"
            )
        self._max_rows = max_rows
        observed = simulation.reset(seed=seed)
        self._service = TrajectoryService(
            schema_of(self._spec, masked=observed.action_mask is not None), max_rows=max_rows, on_full="raise"
        )
        self._runtime = PolicyRuntime(
            self._spec,
            simulation.scripted(SCRIPTED),
            config=config,
            policy=None,
            service=self._service,
            seed=seed,
        )
        self._loop = SimulationLoop(simulation, self._runtime)
        self._runtime.begin(observed, tick=0)

    @property
    def spec(self) -> SimulationSpec:
        """Of the simulation."""
        return self._spec

    def collect(self, policy: Policy | None, *, num_ticks: int, ratio: float) -> Collection:
        """Live `num_ticks` ticks on and return them.

        Args:
            policy: its actions are always drawn, never the most probable ones; None: the script alone, at ratio 0.
            num_ticks: at least 1.
            ratio: share of decisions given to the policy, in [0, 1].

        Raises:
            SimulationError: if a ratio above 0 has no policy to go to, the policy does not fit, or so many ticks may be
                more than `max_rows`.
        """
        if policy is None and ratio != 0.0:
            raise SimulationError(f"`ratio` must be 0 without a policy, got {ratio}")
        most = num_ticks * self._spec.capacity
        if most > self._max_rows:
            raise SimulationError(
                f"{num_ticks} ticks of up to {self._spec.capacity} agents may be {most} rows,"
                f" `max_rows` is {self._max_rows}"
            )
        self._runtime.set_policy(policy)
        self._runtime.set_anneal_ratio(ratio)
        report = self._loop.run_for(num_ticks)
        return Collection(batch=self._service.collect(), report=report, env_steps=report.ticks * self._spec.num_worlds)
