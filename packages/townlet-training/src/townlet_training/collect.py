"""What the learner needs from whoever produces experience."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from townlet_training.errors import ConfigError, NonFiniteError, ShapeError
from townlet_trajectory import TrajectoryBatch


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
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Collected:
    """One collection: what happened, and the counts of the world and the bridge over it."""

    batch: TrajectoryBatch
    """R rows of B trajectories."""
    events: Mapping[str, float]
    """Sums over the collection, by name."""
    decisions_by_source: Mapping[str, int]
    """Decisions by who made the choice: `scripted`, `learned`, `external`."""
    ticks_by_source: Mapping[str, int]
    """Agent-ticks by whose choice was carried out."""
    vetoes: int
    """Agent-ticks at which a guardrail replaced the action."""
    env_steps: int
    """Ticks, summed over parallel worlds."""
    agent_steps: int
    """Agent-ticks; the R rows of the batch."""

    def __post_init__(self) -> None:
        if self.agent_steps != self.batch.num_steps:
            raise ShapeError(
                f"`agent_steps` must be the {self.batch.num_steps} rows of the batch, got {self.agent_steps}"
            )
        counts = {"vetoes": self.vetoes, "env_steps": self.env_steps}
        counts |= {f"decisions_by_source[{name!r}]": count for name, count in self.decisions_by_source.items()}
        counts |= {f"ticks_by_source[{name!r}]": count for name, count in self.ticks_by_source.items()}
        for name, count in counts.items():
            if count < 0:
                raise ConfigError(f"`{name}` is a count and must be at least 0, got {count!r}")
        for name, total in self.events.items():
            if not math.isfinite(total):
                raise NonFiniteError("events", f"`{name}` is {total!r}")


class Collector(Protocol):
    """Runs worlds, and returns what every agent saw, decided and earned."""

    def collect(self, actor: Actor | None, *, num_ticks: int, ratio: float) -> Collected:
        """Let the blend of script and `actor` live for `num_ticks` ticks in every world.

        Args:
            actor: always sampled from, never greedy; None: the script acts alone.
            num_ticks: per world, at least 1.
            ratio: share of decisions given to `actor`, in [0, 1].
        """
        ...
