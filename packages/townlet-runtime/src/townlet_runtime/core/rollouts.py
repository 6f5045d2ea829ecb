"""Rollouts of a simulation: experience for a learner, and scores of whole episodes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import BridgeConfig, SavedState, join_groups, proposers_of, split_groups, veto_reasons_of
from townlet_runtime.core.episodes import Cast, EpisodeSums, waves_of
from townlet_runtime.core.loop import GroupedLoop, require_groups, runtimes_of, summed
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.interface import GroupedSimulation, SimulationSpec, first_spec
from townlet_runtime.simulation.recorded import schema_of
from townlet_runtime.simulation.saved_state import saved_number
from townlet_runtime.simulation.script import script_side
from townlet_trajectory import TrajectoryBatch, TrajectoryService
from townlet_trajectory.evaluation.interfaces import (
    NO_OPPONENTS,
    AnyActor,
    Collected,
    EpisodeScores,
    Opponents,
    training_seeds,
)

CONFLICT_FEATURES = ("rivalry_max", "rivalry_avoid_count")
"""Features that are logged as `conflict.NAME_mean_avg` and `conflict.NAME_max_avg`; neither is negative."""
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
        beginning = simulation.reset(seeds=training_seeds(seed, first_spec(simulation).num_worlds))
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
            events={**report.events, **_conflict(batches, self.specs)},
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


def _conflict(batches: Mapping[str, TrajectoryBatch], specs: Mapping[str, SimulationSpec]) -> dict[str, float]:
    """Mean and maximum over all rows of the features that say how agents get on, where a world shows them."""
    found: dict[str, float] = {}
    for name in CONFLICT_FEATURES:
        columns = [
            batch.observations["features"][:, specs[group].feature_names.index(name)]
            for group, batch in batches.items()
            if name in specs[group].feature_names
        ]
        if columns:
            column = np.concatenate(columns)
            found[f"conflict.{name}_mean_avg"] = float(column.mean(dtype=np.float64)) if len(column) else 0.0
            found[f"conflict.{name}_max_avg"] = float(column.max(initial=0.0))
    return found


def _require_shown(spec: SimulationSpec, config: BridgeConfig) -> None:
    longest = int(config.commitment.lengths(spec.vocabulary).max(initial=0))
    if spec.commitment_columns is None and longest > 1:
        raise SimulationError(
            f"`{spec.name}` must say where its observations show the option in force (`commitment_columns`), "
            f"or commitments must not bind; the longest binds for {longest} ticks"
        )


MakeSimulation = Callable[[int], GroupedSimulation]
"""Builds a simulation of so many parallel worlds."""


class Evaluator:
    """Plays whole episodes in worlds of its own; nothing it does is seen by any other simulation.

    Examples:
        >>> from townlet_behavior import BridgeConfig
        >>> from townlet_runtime import Evaluator, OneGroup
        >>> from townlet_runtime.testing import Corridor
        >>> from townlet_trajectory.evaluation.interfaces import final_seeds
        >>> make = lambda n: OneGroup(Corridor(num_worlds=n))
        >>> evaluator = Evaluator(make, config=BridgeConfig(), seed=1, num_worlds=8)
        >>> scores = evaluator.baseline("scripted", seeds=final_seeds(20))  # in three waves of seven worlds
        >>> len(scores.returns)
        20

    An episode is the first one of a world that begins with its seed. World and draws follow from that seed, not from
    the episode's place or the episodes beside it, so that policies can be compared seed by seed. Its return is the sum
    of all rewards of the world, all groups together, divided by the agents at its start: leaving early cannot help.
    Groups that opponents play do not count in it. Where there are several groups, each has a return of its own too.
    Commitments are those of `config`.

    This class decides how many worlds are alive in an evaluation: never more than `num_worlds`, nor than episodes. More
    episodes are played in waves in the same worlds, which are closed at the end, after an error or a signal too. A
    wave is a unit that another process may play: it follows from the seeds and `num_worlds` alone (`waves`).

    Args:
        make: builds so many worlds; called once for each evaluation and baseline.
        config: of the bridge, as deployed; its ratio is ignored.
        seed: of the policy's own draws.
        num_worlds: alive at once, at least 1. No score depends on it.

    Raises:
        SimulationError: if `num_worlds` is below 1.
    """

    def __init__(self, make: MakeSimulation, *, config: BridgeConfig, seed: int, num_worlds: int) -> None:
        if num_worlds < 1:
            raise SimulationError(f"`num_worlds` must be at least 1, got {num_worlds}")
        self._make = make
        self._config = config
        self._seed = seed
        self._num_worlds = num_worlds

    def evaluate(
        self,
        actors: Mapping[str, AnyActor],
        *,
        seeds: NDArray[np.int64],
        sample: bool,
        opponents: Opponents = NO_OPPONENTS,
    ) -> EpisodeScores:
        """Let `actors` act alone, one episode for each seed.

        Args:
            actors: one for each group, made for the worlds' specs.
            seeds: [n], one for each episode, not negative: its world and its draws follow from it, not from its place.
            sample: draw actions, or take the most probable ones.
            opponents: play the other groups; their actions are drawn.

        Raises:
            SimulationError: if there is no episode to play, or a group without an actor.
        """
        return self.play(actors, seeds=seeds, sample=sample, opponents=opponents)

    def baseline(self, name: str, *, seeds: NDArray[np.int64], opponents: Opponents = NO_OPPONENTS) -> EpisodeScores:
        """Score a script of the simulation by name, or `random`: any legal action is as likely as another.

        Args:
            name: of the behavior, which plays every group but those of `opponents`.
            seeds: [n], as of `evaluate`.
            opponents: play the other groups; their actions are drawn.

        Raises:
            SimulationError: if there is no episode to play, or the simulation has no such behavior.
        """
        return self._score(name, self.waves(seeds), greedy=False, opponents=opponents).first(len(seeds))

    def play(
        self,
        players: Mapping[str, AnyActor | str],
        *,
        seeds: NDArray[np.int64],
        sample: bool,
        opponents: Opponents = NO_OPPONENTS,
    ) -> EpisodeScores:
        """Let each group be played by a policy or a behavior of its own, one episode for each seed.

        Args:
            players: a policy, or the name of a behavior of the simulation or `random`, for each group.
            seeds: [n], as of `evaluate`.
            sample: draw the policies' actions, or take the most probable ones.
            opponents: play the other groups; their actions are drawn.

        Raises:
            SimulationError: if there is no episode to play, a group without a player, or no such behavior.
        """
        return self._score(players, self.waves(seeds), greedy=not sample, opponents=opponents).first(len(seeds))

    def waves(self, seeds: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Divide `seeds` [n] into waves, each [size]; see `waves_of`."""
        return waves_of(seeds, num_worlds=self._num_worlds)

    def wave(self, players: Mapping[str, AnyActor] | str, *, seeds: NDArray[np.int64], sample: bool) -> EpisodeScores:
        """Play one of the `waves` alone, in worlds of its own.

        Args:
            players: as of `evaluate`, or the name of a behavior, as of `baseline`.
            seeds: [size] of the wave.
            sample: draw the policies' actions, or take the most probable ones; a behavior's are what they are.

        Returns:
            Scores [size], those of repeated seeds included.
        """
        return self._score(players, [seeds], greedy=not sample and not isinstance(players, str))

    def _score(
        self,
        players: Mapping[str, AnyActor | str] | str,
        waves: Sequence[NDArray[np.int64]],
        *,
        greedy: bool,
        opponents: Opponents = NO_OPPONENTS,
    ) -> EpisodeScores:
        """Play wave after wave in the same worlds, which are closed at the end, after an error too."""
        with closing(self._make(len(waves[0]))) as simulation:
            if isinstance(players, str):
                players = {group: players for group in simulation.specs if group not in opponents}
            cast = Cast.of(simulation, players, opponents)
            played = [self._play_wave(simulation, cast, seeds=seeds, greedy=greedy) for seeds in waves]
            spec, specs = first_spec(simulation), simulation.specs
        events = np.concatenate([one.events for one in played])
        return EpisodeScores.of(
            returns=np.concatenate([one.rewards / one.agents for one in played]),
            events={name: events[:, column] for column, name in enumerate(spec.event_names)},
            seeds=np.concatenate(waves),
            group_returns={
                group: np.concatenate([one.return_of(group) for one in played])
                for group in (specs if len(specs) > 1 else ())
            },
        )

    def _play_wave(
        self, simulation: GroupedSimulation, cast: Cast, *, seeds: NDArray[np.int64], greedy: bool
    ) -> EpisodeSums:
        """Play the first episode of every world, beginning with `seeds` [W]."""
        spec = first_spec(simulation)
        runtimes = runtimes_of(
            simulation,
            cast.controllers(simulation),
            # Groups without a policy are left to their controllers.
            config=replace(self._config, ratio=1.0),
            policies=cast.policies,
            services=None,
            seed=self._seed,
            greedy=greedy,
            drawn=cast.drawn,
        )
        observed = simulation.reset(seeds=seeds)
        scores = EpisodeSums(observed, num_worlds=spec.num_worlds, num_events=len(spec.event_names), judged=cast.judged)
        for group, runtime in runtimes.items():
            runtime.begin(observed[group], tick=0)
        for _ in range(spec.episode_ticks):
            actions = {group: runtime.decide_batch().action for group, runtime in runtimes.items()}
            stepped = simulation.step(actions)
            scores.add(observed, stepped)
            for group, runtime in runtimes.items():
                runtime.post_step(stepped[group])
            observed = {group: one.observed for group, one in stepped.items()}
            if scores.close(observed):
                break
        return scores
