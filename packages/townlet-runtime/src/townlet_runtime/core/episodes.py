"""Who plays which group in the episodes of an evaluation, and what the episodes add up to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import BatchController
from townlet_runtime.core.loop import require_groups
from townlet_runtime.errors import SimulationError
from townlet_runtime.policy.policy import UniformPolicy
from townlet_runtime.simulation.interface import GroupedSimulation, Observed, Stepped
from townlet_runtime.simulation.script import script_side
from townlet_trajectory.evaluation.interfaces import AnyActor, Opponents
from townlet_trajectory.evaluation.results import RANDOM, SCRIPTED

_LEAST_SHARED = 16
"""Episodes of a wave below which nothing is divided for the sake of a second process: a tick costs much by itself."""


def waves_of(seeds: NDArray[np.int64], *, num_worlds: int) -> list[NDArray[np.int64]]:
    """Divide `seeds` [n] into the episodes that are played at once: each [size], none above `num_worlds`.

    From 32 episodes on there are at least two waves, so that two processes can share them. How many rows a matrix
    product has may change its last bit, so the division is the same whoever plays. What is missing in the last wave
    repeats its last seed.

    Raises:
        SimulationError: if there is no seed.
    """
    if not len(seeds):
        raise SimulationError("`seeds` must hold at least one seed, got none")
    number = max(-(-len(seeds) // num_worlds), 2 if len(seeds) >= 2 * _LEAST_SHARED else 1)
    size = -(-len(seeds) // number)
    full = np.concatenate([seeds, np.repeat(seeds[-1:], -len(seeds) % size)])
    return np.split(full, len(full) // size)


@dataclass(frozen=True, kw_only=True)
class Cast:
    """Who plays which group of the worlds of an evaluation."""

    policies: Mapping[str, AnyActor]
    """Of the groups that a policy plays."""
    behaviors: Mapping[str, str]
    """Of the groups that a behavior of the simulation plays."""
    drawn: frozenset[str]
    """Groups whose actions are drawn in any case."""
    judged: frozenset[str]
    """Groups whose rewards count in the return."""

    @classmethod
    def of(cls, simulation: GroupedSimulation, players: Mapping[str, AnyActor | str], opponents: Opponents) -> Cast:
        """Cast `players`, which are judged, and `opponents`.

        Args:
            simulation: whose groups are cast.
            players: by group, a policy, or the name of a behavior of the simulation or of `random`.
            opponents: by group, a policy; None for the script.

        Returns:
            The cast, in which each group has one player.

        Raises:
            SimulationError: if a group is left without a player, or a behavior is not the simulation's.
        """
        require_groups(players, simulation, opponents=opponents)
        named = {group: one for group, one in players.items() if isinstance(one, str)}
        for name in named.values():
            if name not in (*simulation.behaviors, RANDOM):
                known = ", ".join((*simulation.behaviors, RANDOM))
                raise SimulationError(f"expected a behavior of the simulation ({known}), got {name!r}")
        if SCRIPTED not in simulation.behaviors and (
            scripted := [group for group, one in opponents.items() if one is None]
        ):
            raise SimulationError(f"expected a policy as the opponent of `{scripted[0]}`: there is no script")
        policies: dict[str, AnyActor] = {
            group: one
            for group, one in {**players, **opponents}.items()
            if one is not None and not isinstance(one, str)
        }
        by_chance = [group for group, name in named.items() if name == RANDOM]
        policies |= {group: UniformPolicy.of(simulation.specs[group]) for group in by_chance}
        return cls(
            policies=policies,
            behaviors={group: name for group, name in named.items() if name != RANDOM},
            drawn=frozenset([*by_chance, *opponents]),
            judged=frozenset(players),
        )

    def controllers(self, simulation: GroupedSimulation) -> dict[str, BatchController]:
        """Make the scripted side of each group: its behavior, and the script of the others."""
        made = {name: simulation.scripted(name) for name in dict.fromkeys(self.behaviors.values())}
        if SCRIPTED not in made and self.behaviors.keys() != simulation.specs.keys():
            made[SCRIPTED] = script_side(simulation)
        return {group: made[self.behaviors.get(group, SCRIPTED)][group] for group in simulation.specs}


class EpisodeSums:
    """Sums over the first episode of each world; `judged` are the groups that count in the return."""

    def __init__(
        self, observed: Mapping[str, Observed], *, num_worlds: int, num_events: int, judged: Collection[str]
    ) -> None:
        self._judged = judged
        self._agents_of = {group: np.bincount(one.worlds, minlength=num_worlds) for group, one in observed.items()}
        self.agents = np.zeros(num_worlds, np.int64)
        """[W]; of the judged groups, at the start."""
        self._first = np.full(num_worlds, -1, np.int64)
        for group, one in observed.items():
            self.agents += self._agents_of[group] * (group in judged)
            self._first[one.worlds] = one.episodes
        if not self.agents.all():
            raise SimulationError(f"expected agents in every world at the start, got {self.agents}")
        self.rewards = np.zeros(num_worlds)
        """[W]; of the judged groups."""
        self._rewards_of = {group: np.zeros(num_worlds) for group in observed}
        self.events = np.zeros((num_worlds, num_events))
        """[W, number of events]."""
        self._open = np.ones(num_worlds, np.bool_)

    def return_of(self, group: str) -> NDArray[np.float64]:
        """[W]; rewards of a group per agent at the start; where it had none, their sum."""
        returns: NDArray[np.float64] = self._rewards_of[group] / np.maximum(self._agents_of[group], 1)
        return returns

    def add(self, observed: Mapping[str, Observed], stepped: Mapping[str, Stepped]) -> None:
        """Add one tick: the views that were acted on and their outcomes, of every group."""
        for group, outcome in stepped.items():
            worlds = observed[group].worlds
            counted = np.where(self._open[worlds], outcome.rewards, 0.0)
            rewards = np.bincount(worlds, weights=counted, minlength=len(self.rewards))
            self._rewards_of[group] += rewards
            if group in self._judged:
                self.rewards += rewards
            self.events[self._open] += outcome.events[self._open]

    def close(self, observed: Mapping[str, Observed]) -> bool:
        """A world counts until its episode number changes; whether no world counts any more."""
        for one in observed.values():
            another = one.episodes != self._first[one.worlds]
            if np.count_nonzero(another):
                self._open[one.worlds[another]] = False
        return not np.count_nonzero(self._open)
