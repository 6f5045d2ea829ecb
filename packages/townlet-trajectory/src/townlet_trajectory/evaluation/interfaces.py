"""The protocols between a simulation and a learner, and the record of one collection."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.errors import EvaluationError
from townlet_trajectory.evaluation.scores import EpisodeScores, require_name


class Actor(Protocol):
    """A policy that acts for all agents of a tick at once."""

    def act(
        self, observations: Mapping[str, NDArray[np.float32]], action_mask: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Say how likely each action is, and what the state is worth.

        Args:
            observations: each [N, ...]; names that the policy does not use are ignored.
            action_mask: [N, A], true where an action is legal; None if all are.

        Returns:
            Log-probabilities [N, A] of the masked distribution, and values [N] in reward units.
        """


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

    def __post_init__(self) -> None:
        num_rows = sum(batch.num_steps for batch in self.batches.values())
        if self.agent_steps != num_rows:
            raise EvaluationError(f"`agent_steps` must be the {num_rows} rows of the batches, got {self.agent_steps}")
        counts = {"vetoes": self.vetoes, "env_steps": self.env_steps}
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


class Collector(Protocol):
    """Runs worlds, and returns what every agent saw, decided and earned."""

    def collect(self, actors: Mapping[str, Actor] | None, *, num_ticks: int, ratio: float) -> Collected:
        """Let the blend of script and `actors` live for `num_ticks` ticks in every world.

        Args:
            actors: one for each agent group; always sampled from, never greedy. None: the script acts alone.
            num_ticks: per world, at least 1.
            ratio: share of decisions given to `actors`, in [0, 1].
        """

    def save_state(self) -> Mapping[str, NDArray[np.generic]] | None:
        """Everything that the next collections depend on: numbers, bools and text of fixed width, by name.

        None: these worlds cannot be saved, and a run in them cannot be taken up again.
        """

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on, bit for bit, as the collector whose `save_state` this is; this one has not collected yet."""


class Evaluator(Protocol):
    """Plays whole episodes in worlds of given seeds; nothing it does changes the worlds that are trained in."""

    def evaluate(self, actors: Mapping[str, Actor], *, seeds: NDArray[np.int64], sample: bool) -> EpisodeScores:
        """Let `actors` act alone, one episode for each seed.

        Args:
            actors: one for each agent group.
            seeds: [n], of the worlds; the score of an episode follows from its seed alone.
            sample: whether actions are drawn, or greedy.

        Returns:
            Returns [n], that of an episode being of all groups together.
        """

    def baseline(self, name: str, *, seeds: NDArray[np.int64]) -> EpisodeScores:
        """Score a behavior without weights, by its name, in the same worlds."""
