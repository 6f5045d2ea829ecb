"""Experience for a learner, from worlds that keep running between collections."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from townlet_behavior import BridgeConfig, SavedState, join_groups, split_groups
from townlet_runtime.core.loop import GroupedLoop, require_groups, runtimes_of, script_side
from townlet_runtime.core.observing import schema_of
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.interface import GroupedSimulation, SimulationSpec, first_spec
from townlet_runtime.simulation.saved_state import saved_number
from townlet_trajectory import TrajectoryService
from townlet_trajectory.evaluation.interfaces import Actor, Collected
from townlet_trajectory.evaluation.seeds import training_seeds

_PARTS = ("collector", "loop")
"""Of a saved state."""


class Collector:
    """Collects experience from worlds that keep running between calls. Without a script, undecided agents wait.

    Examples:
        >>> from townlet_behavior import BridgeConfig
        >>> from townlet_runtime import Collector, OneGroup, UniformPolicy
        >>> from townlet_runtime.testing import Corridor
        >>> worlds = OneGroup(Corridor(num_worlds=2))
        >>> spec = worlds.specs["agents"]
        >>> policy = UniformPolicy(vocabulary=spec.vocabulary.keys, observation_shapes=spec.observation_shapes)
        >>> collector = Collector(worlds, config=BridgeConfig(), seed=1, max_rows=1000)
        >>> collected = collector.collect({"agents": policy}, num_ticks=20, ratio=0.5)
        >>> collected.env_steps, collected.agent_steps == collected.batches["agents"].num_steps
        (40, True)

    Args:
        simulation: its worlds are begun here and never reset again; `OneGroup` makes one of a plain `Simulation`.
        config: of the bridges; its ratio is replaced by that of each collection.
        seed: of the worlds, and of the policies' draws.
        max_rows: agent-ticks of one group that one collection may hold.

    Raises:
        SimulationError: if choices bind for several ticks and no observation shows it: the value of a forced step
            could not be learned.
    """

    def __init__(self, simulation: GroupedSimulation, *, config: BridgeConfig, seed: int, max_rows: int) -> None:
        for spec in simulation.specs.values():
            _require_shown(spec, config)
        self._simulation = simulation
        self._config = config
        self._seed = seed
        self._max_rows = max_rows
        beginning = simulation.reset(seeds=training_seeds(seed, first_spec(simulation).num_worlds))
        self._masked = {group: observed.action_mask is not None for group, observed in beginning.items()}
        self._populate()
        for group, observed in beginning.items():
            self._runtimes[group].begin(observed, tick=0)

    def _populate(self) -> None:
        """Make recorders and runtimes that have seen nothing yet."""
        self._services = {
            group: TrajectoryService(
                schema_of(spec, masked=self._masked[group]),
                max_rows=self._max_rows,
                on_full="raise",
            )
            for group, spec in self._simulation.specs.items()
        }
        self._runtimes = runtimes_of(
            self._simulation,
            script_side(self._simulation),
            config=self._config,
            policies=None,
            services=self._services,
            seed=self._seed,
        )
        self._loop = GroupedLoop(self._simulation, self._runtimes)

    @property
    def specs(self) -> Mapping[str, SimulationSpec]:
        """Of the simulation, by group."""
        return self._simulation.specs

    def collect(self, actors: Mapping[str, Actor] | None, *, num_ticks: int, ratio: float) -> Collected:
        """Step every world `num_ticks` ticks on and return the recorded experience.

        Args:
            actors: one for each group, made for its spec; actions are always drawn, never the most probable ones.
                None: the script alone, at ratio 0.
            num_ticks: at least 1.
            ratio: share of decisions given to the actors, in [0, 1].

        Returns:
            Every agent-tick by group; trajectories that go on end with the observation the next collection begins
            with. A world that is only reset makes no step.

        Raises:
            SimulationError: if a ratio above 0 has no actor to go to, a group has none, or so many ticks may be more
                than `max_rows`.
        """
        if actors is None and ratio != 0.0:
            raise SimulationError(f"`ratio` must be 0 without a policy, got {ratio}")
        if actors is not None:
            require_groups(actors, self._simulation)
        for spec in self.specs.values():
            most = num_ticks * spec.capacity
            if most > self._max_rows:
                raise SimulationError(
                    f"{num_ticks} ticks of up to {spec.capacity} agents may be {most} rows,"
                    f" `max_rows` is {self._max_rows}"
                )
        for group, runtime in self._runtimes.items():
            runtime.set_policy(None if actors is None else actors[group])
            runtime.set_anneal_ratio(ratio)
        report = self._loop.run_for(num_ticks)
        batches = {group: service.collect() for group, service in self._services.items()}
        return Collected(
            batches=batches,
            events=report.events,
            decisions_by_source=report.decisions_by_source,
            ticks_by_source=report.ticks_by_source,
            vetoes=report.vetoes,
            env_steps=report.env_steps,
            agent_steps=report.agent_ticks,
        )

    def save_state(self) -> SavedState | None:
        """Save all state of later collections but the policies; None where the worlds cannot be saved."""
        state = self._loop.save_state()
        if state is None:
            return None
        return join_groups(dict(zip(_PARTS, ({"seed": np.array(self._seed, np.int64)}, state), strict=True)))

    def restore(self, state: SavedState) -> None:
        """Go on as the collector that was saved: from here on both collect the same, bit for bit.

        Raises:
            SimulationError, StateError: if `state` is of other worlds, or of another seed.
            EnvironmentFaultError: if the worlds cannot be brought back to where they were.
        """
        own, loop = split_groups(state, _PARTS).values()
        seed = saved_number(own, "seed")
        if seed != self._seed:
            raise SimulationError(f"expected the saved state of a collector with seed {self._seed}, got {seed}")
        self._populate()
        self._loop.restore(loop)


def _require_shown(spec: SimulationSpec, config: BridgeConfig) -> None:
    longest = int(config.commitment.lengths(spec.vocabulary).max())
    if spec.commitment_columns is None and longest > 1:
        raise SimulationError(
            f"`{spec.name}` must say where its observations show the option in force (`commitment_columns`), "
            f"or commitments must not bind; the longest binds for {longest} ticks"
        )
