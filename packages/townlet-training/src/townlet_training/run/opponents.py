"""Opponents: who plays the agent groups that do not learn.

A frozen policy or the script is the same in the whole run. An earlier self is a copy of a learner's weights, taken
after every update and kept in the checkpoints (Bansal et al. 2018, arXiv:1710.03748, section 3, play against such
copies, because a learner that meets its present self alone forgets how to beat others).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from townlet_training.config import PastSelf, TrainingConfig
from townlet_training.errors import ConfigError, ShapeError
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.spec import PolicySpec
from townlet_training.network.weights import set_weights, weights_digest, weights_of
from townlet_trajectory.evaluation.interfaces import (
    Actor,
    AheadCollector,
    AnyActor,
    Collected,
    Collector,
    EpisodeScores,
    Evaluator,
    Opponents,
)

_PAST = "@past/"
"""Beginning of the names of snapshots among the tensors of learners; no agent group is called so."""


class EarlierSelf(NamedTuple):
    """The weights that a learning group had so many updates ago."""

    learner: str
    updates: int


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Who plays which agent group."""

    learning: Mapping[str, PolicySpec]
    fixed: Opponents
    """Frozen policies, and None for the script."""
    past: Mapping[str, EarlierSelf]

    @classmethod
    def of(cls, config: TrainingConfig, specs: Mapping[str, PolicySpec], frozen: Mapping[str, AnyActor]) -> Roles:
        """Return the roles that `config` gives to the groups of a world.

        Args:
            config: of the run.
            specs: of every group.
            frozen: the policies of the groups that are played by one from a file.

        Raises:
            ConfigError: if a group is not there, none learns, a frozen policy is missing, or an earlier self is of no
                learning group with the same actions and observations, or of one of several.
        """
        if unknown := sorted(config.groups.keys() - specs.keys()):
            raise ConfigError(f"`groups` must be of {', '.join(specs)}, got {', '.join(unknown)}")
        opponents = {group: one for group, one in config.groups.items() if one.policy != "learn"}
        learning = {group: spec for group, spec in specs.items() if group not in opponents}
        if not learning:
            raise ConfigError(f"`groups` must leave one of {', '.join(specs)} to learn, got none")
        files = {group for group, one in opponents.items() if one.file is not None}
        if files != frozen.keys():
            raise ConfigError(f"expected frozen policies of {sorted(files)}, got those of {sorted(frozen)}")
        past = {
            group: EarlierSelf(_learner_of(group, one.past, specs, learning), one.past.updates)
            for group, one in opponents.items()
            if one.past is not None
        }
        fixed = {group: frozen.get(group) for group in opponents if group not in past}
        return cls(learning=learning, fixed=fixed, past=past)


def _learner_of(group: str, past: PastSelf, specs: Mapping[str, PolicySpec], learning: Mapping[str, PolicySpec]) -> str:
    """The learning group whose earlier self plays `group`."""
    alike = [name for name, spec in learning.items() if _seen_and_done(spec) == _seen_and_done(specs[group])]
    if past.group is not None and past.group in alike:
        return past.group
    if past.group is None and len(alike) == 1:
        return alike[0]
    got = f"past({past.updates})" if past.group is None else f"past({past.group}, {past.updates})"
    raise ConfigError(
        f"`groups.{group}` must be an earlier self of one learning group with the same actions and observations "
        f"(there is {', '.join(alike) or 'none'}), got {got}"
    )


def _seen_and_done(spec: PolicySpec) -> tuple[object, ...]:
    """All of a spec but the name of its world."""
    return (spec.vocabulary, dict(spec.observation_shapes), spec.feature_names, spec.commitment)


class GroupOpponents:
    """The opponents of a run, and the snapshots of learners that earlier selves are made of.

    Until there is a first snapshot (of the clone; in mode `ppo`, of the untrained networks), the script plays in the
    place of earlier selves: the learners are the script then, too.
    """

    def __init__(self, roles: Roles, networks: Mapping[str, ActorCritic]) -> None:
        """Take a network for each earlier self, of which nothing else has the memory."""
        self._roles = roles
        self._networks = networks
        self._depths: dict[str, int] = {}
        for past in roles.past.values():
            self._depths[past.learner] = max(past.updates, self._depths.get(past.learner, 0))
        self._snapshots: dict[str, list[dict[str, Tensor]]] = {group: [] for group in self._depths}
        """By learning group, the newest first."""

    @property
    def moving(self) -> bool:
        """Whether an opponent changes as the run goes on: scores of different moments cannot be compared then."""
        return bool(self._roles.past)

    def playing(self) -> Opponents:
        """Return who plays at this moment; networks of earlier selves are overwritten by later moments."""
        past = {
            group: self._networks[group] if self._snapshots[one.learner] else None
            for group, one in self._roles.past.items()
        }
        return {**self._roles.fixed, **past}

    def earlier_selves(self) -> dict[str, tuple[str, ActorCritic]]:
        """Return the learner and the network of each earlier self at this moment, by the group that it plays."""
        return {group: (past.learner, self._networks[group]) for group, past in self._roles.past.items()}

    def digest(self) -> str:
        """Return a digest of the weights of the earlier selves; empty where there is none."""
        weights = {
            f"{group}/{name}": tensor
            for group, one in self._roles.past.items()
            if self._snapshots[one.learner]
            for name, tensor in self._weights_of(one).items()
        }
        return weights_digest(weights) if weights else ""

    def begin(self, networks: Mapping[str, ActorCritic]) -> None:
        """Take the first snapshots."""
        for snapshots in self._snapshots.values():
            snapshots.clear()
        self.note_update(networks)

    def note_update(self, networks: Mapping[str, ActorCritic]) -> None:
        """Take snapshots of the learners after an update."""
        for group, depth in self._depths.items():
            self._snapshots[group].insert(0, weights_of(networks[group]))
            del self._snapshots[group][depth + 1 :]
        self._show()

    def state(self) -> dict[str, Tensor]:
        """Return all snapshots, to be kept with the state of the learners."""
        return {
            f"{_PAST}{group}/{age}/{name}": tensor
            for group, snapshots in self._snapshots.items()
            for age, snapshot in enumerate(snapshots)
            for name, tensor in snapshot.items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take the snapshots out of a state that `state` is part of; returns the rest.

        Raises:
            ShapeError: if they are of other networks.
        """
        snapshots: dict[str, list[dict[str, Tensor]]] = {group: [] for group in self._depths}
        rest = {name: tensor for name, tensor in state.items() if not name.startswith(_PAST)}
        saved = {name.removeprefix(_PAST): tensor for name, tensor in state.items() if name not in rest}
        for name in sorted(saved, key=lambda name: (name.split("/")[0], int(name.split("/")[1]))):
            group, age, own = name.split("/", 2)
            if group not in snapshots or not len(snapshots[group]) - 1 <= int(age) <= len(snapshots[group]):
                raise ShapeError(f"expected snapshots of the groups {sorted(snapshots)}, got `{name}`")
            if int(age) == len(snapshots[group]):
                snapshots[group].append({})
            snapshots[group][int(age)][own] = saved[name]
        self._snapshots = snapshots
        self._show()
        return rest

    def against(
        self, collector: Collector | None, evaluator: Evaluator | None
    ) -> tuple[Collector | None, Evaluator | None]:
        """Return both as they are against these opponents; as they are, where there is none, or no world."""
        if collector is None or evaluator is None or not (self._roles.fixed or self._roles.past):
            return collector, evaluator
        opposed = _OpposedEvaluator(evaluator, self)
        if isinstance(collector, AheadCollector):
            return _OpposedAheadCollector(collector, self, early=collector), opposed
        return _OpposedCollector(collector, self), opposed

    def _weights_of(self, past: EarlierSelf) -> dict[str, Tensor]:
        """The snapshot of so many updates ago, or the oldest there is."""
        snapshots = self._snapshots[past.learner]
        return snapshots[min(past.updates, len(snapshots) - 1)]

    def _show(self) -> None:
        for group, past in self._roles.past.items():
            if self._snapshots[past.learner]:
                set_weights(self._networks[group], self._weights_of(past))


@dataclass(frozen=True)
class _OpposedCollector:
    collector: Collector
    opponents: GroupOpponents

    def collect(
        self, actors: Mapping[str, Actor] | None, *, num_ticks: int, ratio: float, opponents: Opponents | None = None
    ) -> Collected:
        playing = self.opponents.playing() if opponents is None else opponents
        return self.collector.collect(actors, num_ticks=num_ticks, ratio=ratio, opponents=playing)

    def save_state(self) -> Mapping[str, NDArray[np.generic]] | None:
        return self.collector.save_state()

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        self.collector.restore(state)


@dataclass(frozen=True)
class _OpposedAheadCollector(_OpposedCollector):
    early: AheadCollector
    """The same collector. What it begins ahead is against the opponents of now."""

    @property
    def max_ahead(self) -> int:
        return self.early.max_ahead

    def collect(
        self,
        actors: Mapping[str, Actor] | None,
        *,
        num_ticks: int,
        ratio: float,
        opponents: Opponents | None = None,
        ahead: Sequence[float] = (),
    ) -> Collected:
        playing = self.opponents.playing() if opponents is None else opponents
        return self.early.collect(actors, num_ticks=num_ticks, ratio=ratio, opponents=playing, ahead=ahead)


@dataclass(frozen=True)
class _OpposedEvaluator:
    evaluator: Evaluator
    opponents: GroupOpponents

    def evaluate(
        self,
        actors: Mapping[str, Actor],
        *,
        seeds: NDArray[np.int64],
        sample: bool,
        opponents: Opponents | None = None,
    ) -> EpisodeScores:
        playing = self.opponents.playing() if opponents is None else opponents
        return self.evaluator.evaluate(actors, seeds=seeds, sample=sample, opponents=playing)

    def baseline(self, name: str, *, seeds: NDArray[np.int64], opponents: Opponents | None = None) -> EpisodeScores:
        playing = self.opponents.playing() if opponents is None else opponents
        return self.evaluator.baseline(name, seeds=seeds, opponents=playing)
