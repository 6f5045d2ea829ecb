"""Scores of whole episodes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from townlet_trajectory.errors import EvaluationError


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

    def __post_init__(self) -> None:
        num_episodes = len(self.returns)
        if num_episodes == 0:
            raise EvaluationError("`returns` must hold at least one episode, got none")
        for name in self.events:
            require_name("an event", name)
        for name, values in {"seeds": self.seeds, **self.events}.items():
            if len(values) != num_episodes:
                raise EvaluationError(f"`{name}` must hold {num_episodes} numbers like `returns`, got {len(values)}")
        for name, numbers in {"returns": self.returns, **self.events}.items():
            for seed, value in zip(self.seeds, numbers, strict=True):
                if not math.isfinite(value):
                    raise EvaluationError(f"`{name}` must be finite, got {value} in the episode with seed {seed}")

    @classmethod
    def of(cls, *, returns: ArrayLike, seeds: ArrayLike, events: Mapping[str, ArrayLike] = {}) -> EpisodeScores:
        """Make scores of arrays.

        Args:
            returns: [n] numbers.
            seeds: [n] whole numbers.
            events: each [n] numbers, by name.

        Returns:
            The scores, with plain numbers.

        Raises:
            EvaluationError: if the lengths differ, there is no episode, or a number is not finite.
        """
        return cls(
            returns=_vector(returns, "returns"),
            seeds=tuple(int(seed) for seed in _vector(seeds, "seeds")),
            events={name: _vector(values, name) for name, values in events.items()},
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
        )

    def followed_by(self, other: EpisodeScores) -> EpisodeScores:
        """Return the episodes of both, those of `other` last. Raises `EvaluationError` if `other` counts other events,
        or an episode with the same seed."""
        if self.events.keys() != other.events.keys() or set(self.seeds) & set(other.seeds):
            raise EvaluationError(
                f"scores that follow must have the events {sorted(self.events)} and other seeds, "
                f"got {sorted(other.events)} and {len(set(self.seeds) & set(other.seeds))} of the same seeds"
            )
        return EpisodeScores(
            returns=self.returns + other.returns,
            seeds=self.seeds + other.seeds,
            events={name: values + other.events[name] for name, values in self.events.items()},
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
