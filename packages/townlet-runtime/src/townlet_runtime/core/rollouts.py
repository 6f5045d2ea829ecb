"""Rollouts of a simulation: experience for a learner."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import BridgeConfig, SavedState, join_groups, proposers_of, split_groups, veto_reasons_of
from townlet_runtime.core.counts import conflict_events, summed
from townlet_runtime.core.loop import GroupedLoop, require_groups, runtimes_of
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.interface import GroupedSimulation, SimulationSpec, first_spec
from townlet_runtime.simulation.recorded import schema_of
from townlet_runtime.simulation.saved_state import saved_number
from townlet_runtime.simulation.script import script_side
from townlet_trajectory import TrajectoryService
from townlet_trajectory.evaluation.interfaces import (
    NO_OPPONENTS,
    AnyActor,
    Collected,
    Opponents,
    training_seeds,
)

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
        >>> policy = UniformPolicy.of(spec)
        >>> collector = Collector(worlds, config=BridgeConfig(), seed=1, max_rows=1000)
        >>> collected = collector.collect({"agents": policy}, num_ticks=20, ratio=0.5)
        >>> collected.env_steps, collected.agent_steps == collected.batches["agents"].num_steps
        (40, True)

    Args:
        simulation: its worlds are begun here and never reset again; `OneGroup` makes one of a plain `Simulation`.
        config: of the bridges; its ratio is replaced by that of each collection.
        seed: of the worlds, and of the policies' draws.
        max_rows: agent-ticks of one group that one collection may hold.
        unrecorded: groups that opponents play; nothing of them is collected.
        state_sizes: by group, the numbers of memory that its actors have, recorded before every tick as `policy_state`;
            groups without memory are left out.
        asks_values: whether the column `value` is what the actors say. Learners compute values anew, and by default
            actors that can leave them out do (`CriticOptional`): the column is 0 then.
        world_seeds: [W], with which the worlds begin; None: those that follow from `seed`.

    Raises:
        SimulationError: if choices bind for several ticks and no observation shows it: the value of a forced step
            could not be learned.
    """

    def __init__(
        self,
        simulation: GroupedSimulation,
        *,
        config: BridgeConfig,
        seed: int,
        max_rows: int,
        unrecorded: Collection[str] = (),
        state_sizes: Mapping[str, int] | None = None,
        asks_values: bool = False,
        world_seeds: NDArray[np.int64] | None = None,
    ) -> None:
        self._recorded = {group: spec for group, spec in simulation.specs.items() if group not in unrecorded}
        for spec in self._recorded.values():
            _require_shown(spec, config)
        self._simulation = simulation
        self._config = config
        self._seed = seed
        self._max_rows = max_rows
        self._state_sizes = {} if state_sizes is None else dict(state_sizes)
        self._asks_values = asks_values
        if world_seeds is None:
            world_seeds = training_seeds(seed, first_spec(simulation).num_worlds)
        beginning = simulation.reset(seeds=world_seeds)
        self._masked = {group: observed.action_mask is not None for group, observed in beginning.items()}
        self._populate()
        for group, observed in beginning.items():
            self._runtimes[group].begin(observed, tick=0)

    def _populate(self) -> None:
        """Make recorders and runtimes that have seen nothing yet."""
        script, guardrails = script_side(self._simulation), self._simulation.guardrails()
        self._services = {
            group: TrajectoryService(
                schema_of(
                    spec,
                    masked=self._masked[group],
                    proposers=proposers_of(script[group]),
                    veto_reasons=veto_reasons_of(guardrails[group]),
                    state_size=self._state_sizes.get(group, 0),
                ),
                max_rows=self._max_rows,
                on_full="raise",
            )
            for group, spec in self._recorded.items()
        }
        self._runtimes = runtimes_of(
            self._simulation,
            script,
            config=self._config,
            policies=None,
            services=self._services,
            seed=self._seed,
            asks_values=self._asks_values,
        )
        self._loop = GroupedLoop(self._simulation, self._runtimes)

    @property
    def specs(self) -> Mapping[str, SimulationSpec]:
        """Of the simulation, by group."""
        return self._simulation.specs

    def collect(
        self,
        actors: Mapping[str, AnyActor] | None,
        *,
        num_ticks: int,
        ratio: float,
        opponents: Opponents = NO_OPPONENTS,
    ) -> Collected:
        """Step every world `num_ticks` ticks on and return the recorded experience.

        Args:
            actors: one for each group, made for its spec; actions are always drawn, never the most probable ones.
                None: the script alone, at ratio 0.
            num_ticks: at least 1.
            ratio: share of decisions given to the actors, in [0, 1].
            opponents: play the groups that are not recorded, alone: what they decide does not depend on the ratio.

        Returns:
            Every agent-tick by recorded group, and decisions, ticks and vetoes of these groups; trajectories that go on
            end with the observation the next collection begins with. A world that is only reset makes no step.

        Raises:
            SimulationError: if a ratio above 0 has no actor to go to, a group has none, or so many ticks may be more
                than `max_rows`.
        """
        if actors is None and ratio != 0.0:
            raise SimulationError(f"`ratio` must be 0 without a policy, got {ratio}")
        require_groups(self._recorded if actors is None else actors, self._simulation, opponents=opponents)
        for spec in self._recorded.values():
            most = num_ticks * spec.capacity
            if most > self._max_rows:
                raise SimulationError(
                    f"{num_ticks} ticks of up to {spec.capacity} agents may be {most} rows,"
                    f" `max_rows` is {self._max_rows}"
                )
        for group, runtime in self._runtimes.items():
            # Newer weights of the same network: what it remembers goes on.
            playing = opponents[group] if group in opponents else None if actors is None else actors[group]
            runtime.set_policy(playing, keep_state=True)
            runtime.set_anneal_ratio(1.0 if group in opponents else ratio)
        before = [self._runtimes[group].counts() for group in self._recorded]
        report = self._loop.run_for(num_ticks)
        batches = {group: service.collect() for group, service in self._services.items()}
        after = [self._runtimes[group].counts() for group in self._recorded]
        return Collected(
            batches=batches,
            events={**report.events, **conflict_events(batches, self.specs)},
            decisions_by_source=summed([one.decisions for one in after], less=[one.decisions for one in before]),
            ticks_by_source=summed([one.ticks for one in after], less=[one.ticks for one in before]),
            vetoes=sum(sum(one.vetoes.values()) for one in after) - sum(sum(one.vetoes.values()) for one in before),
            env_steps=report.env_steps,
            agent_steps=sum(batch.num_steps for batch in batches.values()),
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
    longest = int(config.commitment.lengths(spec.vocabulary).max(initial=0))
    if spec.commitment_columns is None and longest > 1:
        raise SimulationError(
            f"`{spec.name}` must say where its observations show the option in force (`commitment_columns`), "
            f"or commitments must not bind; the longest binds for {longest} ticks"
        )
