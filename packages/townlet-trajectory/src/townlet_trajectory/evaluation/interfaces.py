"""The protocols between a simulation and a learner, their records, and the seeds of the worlds that they run."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from townlet_trajectory.errors import EvaluationError

if TYPE_CHECKING:
    from townlet_trajectory.data.batch import TrajectoryBatch


@dataclass(frozen=True, kw_only=True)
class EpisodeScores:
    """Returns and events of one policy in n episodes, as plain numbers that any file can hold.

    Examples:
        >>> scores = EpisodeScores.of(returns=[1.0, 3.0], seeds=[7, 8])
        >>> scores.mean
        2.0
    """

    returns: tuple[float, ...]
    """[n]; undiscounted return of each episode."""
    seeds: tuple[int, ...]
    """[n]; the seed of each episode's world."""
    events: Mapping[str, tuple[float, ...]]
    """Each [n]; how often something happened in each episode."""
    group_returns: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Each [n], by agent group: the sum of the group's rewards, divided by its agents at the start of the episode, if
    there were any. Empty where there is one group."""

    def __post_init__(self) -> None:
        num_episodes = len(self.returns)
        if num_episodes == 0:
            raise EvaluationError("`returns` must hold at least one episode, got none")
        for name in self.events:
            require_name("an event", name)
        for name in self.group_returns:
            require_name("an agent group", name)
        by_group = {f"group_returns.{group}": values for group, values in self.group_returns.items()}
        for name, values in {"seeds": self.seeds, **self.events, **by_group}.items():
            if len(values) != num_episodes:
                raise EvaluationError(f"`{name}` must hold {num_episodes} numbers like `returns`, got {len(values)}")
        for name, numbers in {"returns": self.returns, **self.events, **by_group}.items():
            for seed, value in zip(self.seeds, numbers, strict=True):
                if not math.isfinite(value):
                    raise EvaluationError(f"`{name}` must be finite, got {value} in the episode with seed {seed}")

    @classmethod
    def of(
        cls,
        *,
        returns: ArrayLike,
        seeds: ArrayLike,
        events: Mapping[str, ArrayLike] = {},
        group_returns: Mapping[str, ArrayLike] = {},
    ) -> EpisodeScores:
        """Make scores of arrays.

        Args:
            returns: [n] numbers.
            seeds: [n] whole numbers.
            events: each [n] numbers, by name.
            group_returns: each [n] numbers, by agent group.

        Returns:
            The scores, with plain numbers.

        Raises:
            EvaluationError: if the lengths differ, there is no episode, or a number is not finite.
        """
        return cls(
            returns=_vector(returns, "returns"),
            seeds=tuple(int(seed) for seed in _vector(seeds, "seeds")),
            events={name: _vector(values, name) for name, values in events.items()},
            group_returns={group: _vector(values, group) for group, values in group_returns.items()},
        )

    @property
    def mean(self) -> float:
        """Mean return over the episodes."""
        return float(np.mean(self.returns))

    def first(self, count: int) -> EpisodeScores:
        """Return the scores of the first `count` episodes."""
        return EpisodeScores(
            returns=self.returns[:count],
            seeds=self.seeds[:count],
            events={name: values[:count] for name, values in self.events.items()},
            group_returns={group: values[:count] for group, values in self.group_returns.items()},
        )

    def followed_by(self, other: EpisodeScores) -> EpisodeScores:
        """Return the episodes of both, those of `other` last. Raises `EvaluationError` if `other` counts other events,
        is of other groups, or has an episode with the same seed."""
        if self.group_returns.keys() != other.group_returns.keys():
            raise EvaluationError(
                f"scores that follow must be of the groups {sorted(self.group_returns)}, "
                f"got {sorted(other.group_returns)}"
            )
        if self.events.keys() != other.events.keys() or set(self.seeds) & set(other.seeds):
            raise EvaluationError(
                f"scores that follow must have the events {sorted(self.events)} and other seeds, "
                f"got {sorted(other.events)} and {len(set(self.seeds) & set(other.seeds))} of the same seeds"
            )
        return EpisodeScores(
            returns=self.returns + other.returns,
            seeds=self.seeds + other.seeds,
            events={name: values + other.events[name] for name, values in self.events.items()},
            group_returns={group: values + other.group_returns[group] for group, values in self.group_returns.items()},
        )


def require_name(kind: str, name: str) -> None:
    """Raise `EvaluationError` unless `name`, of `kind`, is printable text: files, pages and plots show it as it is."""
    if not name or not name.isprintable():
        raise EvaluationError(f"the name of {kind} must be printable text, got {name!r}")


def _vector(values: ArrayLike, name: str) -> tuple[float, ...]:
    array = np.asarray(values)
    if array.ndim != 1:
        raise EvaluationError(f"`{name}` must have one axis, got shape {array.shape}")
    return tuple(array.tolist())


class Actor(Protocol):
    """A policy that acts for all agents of a tick at once."""

    def act(
        self, observations: Mapping[str, NDArray[np.float32]], action_mask: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Say how likely each action is, and what the state is worth.

        Args:
            observations: each [N, ...]; names that the policy does not use are ignored.
            action_mask: [N, A], true where an action is legal; None if all are.

        Returns:
            Log-probabilities [N, A] of the masked distribution, and values [N] in reward units, None where the policy
            knows none.
        """


@runtime_checkable
class RecurrentActor(Protocol):
    """A policy with a memory of each agent, which is handed to it and handed back at every tick."""

    @property
    def state_size(self) -> int:
        """Numbers of memory that an agent has (S), at least 1."""
        ...

    def act(
        self,
        observations: Mapping[str, NDArray[np.float32]],
        action_mask: NDArray[np.bool_] | None,
        state: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None, NDArray[np.float32]]:
        """Say how likely each action is, what the state of the world is worth, and what is remembered.

        Args:
            observations: each [N, ...]; names that the policy does not use are ignored.
            action_mask: [N, A], true where an action is legal; None if all are.
            state: [N, S], as it was handed back for the same agents the tick before; zeros where an agent begins.

        Returns:
            Log-probabilities [N, A] of the masked distribution, values [N] or None, and the next state [N, S].
        """


AnyActor: TypeAlias = Actor | RecurrentActor

Opponents: TypeAlias = Mapping[str, AnyActor | None]
"""By agent group that does not learn, the policy that plays it; None: the script. They decide alone, whatever the ratio
is, and their actions are drawn, when experience is collected as when it is judged."""
NO_OPPONENTS: Opponents = MappingProxyType({})


@runtime_checkable
class CriticOptional(Protocol):
    """A policy that can leave its values out, which saves the work of its critic."""

    def without_values(self) -> AnyActor:
        """Return a policy that acts as this one, and answers None in the place of values."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Collected:
    """One collection: its rows by agent group, and counts over all groups together."""

    batches: Mapping[str, TrajectoryBatch]
    """By agent group; without a row where none of the group was there."""
    events: Mapping[str, float]
    """Sums over the collection, by name."""
    decisions_by_source: Mapping[str, int]
    """Decisions by who made the choice: `scripted`, `learned`, `external`."""
    ticks_by_source: Mapping[str, int]
    """Agent-ticks by whose choice was carried out."""
    vetoes: int
    """Agent-ticks at which a guardrail replaced the action."""
    env_steps: int
    """Ticks at which anybody was there, summed over parallel worlds."""
    agent_steps: int
    """Agent-ticks; the rows of all batches."""
    policy_age: int = 0
    """Collections that were taken since the policy which acted was the newest; 0: the learner's own."""
    ratio: float | None = None
    """Share of decisions given to the policy; None: what was asked for."""

    def __post_init__(self) -> None:
        num_rows = sum(batch.num_steps for batch in self.batches.values())
        if self.agent_steps != num_rows:
            raise EvaluationError(f"`agent_steps` must be the {num_rows} rows of the batches, got {self.agent_steps}")
        counts = {"vetoes": self.vetoes, "env_steps": self.env_steps, "policy_age": self.policy_age}
        counts |= {f"decisions_by_source[{name!r}]": count for name, count in self.decisions_by_source.items()}
        counts |= {f"ticks_by_source[{name!r}]": count for name, count in self.ticks_by_source.items()}
        for name, count in counts.items():
            if count < 0:
                raise EvaluationError(f"`{name}` is a count and must be at least 0, got {count!r}")
        for group, batch in self.batches.items():
            require_name("an agent group", group)
            for agent_id in set(batch.agent_ids.tolist()):
                require_name(f"an agent of group `{group}`", agent_id)
        for name, total in self.events.items():
            require_name("an event", name)
            if not math.isfinite(total):
                raise EvaluationError(f"event `{name}` must be a finite number, got {total!r}")

    @property
    def events_per_env_step(self) -> Mapping[str, float]:
        """Means of the events, by name; of at least one world step."""
        return {name: total / self.env_steps for name, total in self.events.items()}


class Collector(Protocol):
    """Runs worlds, and returns what every agent saw, decided and earned."""

    def collect(
        self, actors: Mapping[str, Actor] | None, *, num_ticks: int, ratio: float, opponents: Opponents = NO_OPPONENTS
    ) -> Collected:
        """Let the blend of script and `actors` live for `num_ticks` ticks in every world.

        Args:
            actors: one for each agent group that learns; always sampled from, never greedy. None: the script acts
                alone.
            num_ticks: per world, at least 1.
            ratio: share of decisions given to `actors`, in [0, 1].
            opponents: play the other groups, which need not be recorded.
        """

    def save_state(self) -> Mapping[str, NDArray[np.generic]] | None:
        """Everything that the next collections depend on: numbers, bools and text of fixed width, by name.

        None: these worlds cannot be saved, and a run in them cannot be taken up again.
        """

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on, bit for bit, as the collector whose `save_state` this is; this one has not collected yet."""


@runtime_checkable
class AheadCollector(Protocol):
    """A collector that begins collections before they are asked for, with the actors of now."""

    @property
    def max_ahead(self) -> int:
        """How many it can have begun beside the one that is waited for."""

    def collect(
        self,
        actors: Mapping[str, Actor] | None,
        *,
        num_ticks: int,
        ratio: float,
        opponents: Opponents = NO_OPPONENTS,
        ahead: Sequence[float] = (),
    ) -> Collected:
        """Return the next collection, and begin those after it.

        Args:
            actors: of what begins now; they, `num_ticks`, `ratio` and `opponents` are as of `Collector.collect`.
            ahead: the ratios of the collections that come next.
        """


class Evaluator(Protocol):
    """Plays whole episodes in worlds of given seeds; nothing it does changes the worlds that are trained in."""

    def evaluate(
        self,
        actors: Mapping[str, Actor],
        *,
        seeds: NDArray[np.int64],
        sample: bool,
        opponents: Opponents = NO_OPPONENTS,
    ) -> EpisodeScores:
        """Let `actors` act alone, one episode for each seed.

        Args:
            actors: one for each agent group that is judged.
            seeds: [n], of the worlds; the score of an episode follows from its seed alone.
            sample: whether actions are drawn, or greedy.
            opponents: play the other groups.

        Returns:
            Scores [n], each of all groups together but the opponents'.
        """

    def baseline(self, name: str, *, seeds: NDArray[np.int64], opponents: Opponents = NO_OPPONENTS) -> EpisodeScores:
        """Score a behavior without weights.

        Args:
            name: of the behavior.
            seeds: [n], of the worlds, as of `evaluate`.
            opponents: play the other groups.

        Returns:
            Scores [n].
        """


HELD_OUT = 2**31
"""Worlds with a seed below this are trained on; those from here on are only judged on."""
_SELECTION = HELD_OUT + 2**20
_RATIO = HELD_OUT + 2**21
_PROMOTION = HELD_OUT + 2**24
_END = 2**32


def derive_seed(seed: int, purpose: str, index: int = 0) -> int:
    """Derive a seed for one use: BLAKE2b-64 of the JSON of [seed, purpose, index], top 63 bits.

    Args:
        seed: of the run.
        purpose: of the use; uses with different purposes share nothing.
        index: of the use among those with this purpose.

    Returns:
        A seed in [0, 2**63).
    """
    text = json.dumps([seed, purpose, index], separators=(",", ":"))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def training_seeds(seed: int, count: int) -> NDArray[np.int64]:
    """Derive the seeds of `count` worlds to train in: [count] in [0, `HELD_OUT`), each from (seed, "world", index)."""
    seeds = [derive_seed(seed, "world", index) % HELD_OUT for index in range(_block_size(count))]
    return np.array(seeds, np.int64)


def selection_seeds(count: int) -> NDArray[np.int64]:
    """Return the seeds [count] of the episodes that gates and the choice of a checkpoint look at, equal in all runs."""
    return _SELECTION + np.arange(_block_size(count))


def final_seeds(count: int) -> NDArray[np.int64]:
    """Return the seeds [count] of the episodes of the final score: 2**31 + i in every run."""
    return HELD_OUT + np.arange(_block_size(count))


def ratio_seeds(seed: int, number: int, count: int) -> NDArray[np.int64]:
    """Derive the seeds [count] of comparison `number`, from 0, that moves the ratio of a blend; see `promotion_seeds`.

    There are 14 million of them.
    """
    num_blocks = (_PROMOTION - _RATIO) // _block_size(count)
    return _RATIO + (derive_seed(seed, "ratio") + number) % num_blocks * count + np.arange(count)


def promotion_seeds(seed: int, pass_number: int, count: int) -> NDArray[np.int64]:
    """Derive the seeds [count] of the episodes of one promotion pass.

    They are disjoint from those of selection, of the final score, and of every other pass with this `seed` (until the
    blocks have all been used once: 2 billion episodes).

    Args:
        seed: of the registry.
        pass_number: at least 0.
        count: episodes of a pass, 1 to 2**20.
    """
    num_blocks = (_END - _PROMOTION) // _block_size(count)
    return _PROMOTION + (derive_seed(seed, "promotion") + pass_number) % num_blocks * count + np.arange(count)


def _block_size(count: int) -> int:
    if not 1 <= count <= 2**20:
        raise EvaluationError(f"a block of seeds must have 1 to {2**20} of them, got {count!r}")
    return count
