"""Scores of whole episodes, played in worlds of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import BridgeConfig
from townlet_runtime.core.episodes import Cast, EpisodeSums, waves_of
from townlet_runtime.core.loop import runtimes_of
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.interface import GroupedSimulation, first_spec
from townlet_trajectory.evaluation.interfaces import NO_OPPONENTS, AnyActor, EpisodeScores, Opponents

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
        self.seed, self.num_worlds = seed, num_worlds

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
        return waves_of(seeds, num_worlds=self.num_worlds)

    def wave(
        self,
        players: Mapping[str, AnyActor | str] | str,
        *,
        seeds: NDArray[np.int64],
        sample: bool,
        opponents: Opponents = NO_OPPONENTS,
    ) -> EpisodeScores:
        """Play one of the `waves` alone, in worlds of its own.

        Args:
            players: as of `play`, or the name of a behavior, as of `baseline`.
            seeds: [size] of the wave.
            sample: draw the policies' actions, or take the most probable ones; a behavior's are what they are.
            opponents: play the other groups; their actions are drawn.

        Returns:
            Scores [size], those of repeated seeds included.
        """
        greedy = not sample and not isinstance(players, str)
        return self._score(players, [seeds], greedy=greedy, opponents=opponents)

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
            seed=self.seed,
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
