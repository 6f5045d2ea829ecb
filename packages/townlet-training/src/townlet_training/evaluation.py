"""Scores of whole episodes, and what may be said about the difference of two policies on the same episodes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from townlet_training.errors import EvaluationError, NonFiniteError, ShapeError
from townlet_training.interfaces import Actor

BASELINES = ("scripted", "nearest", "idle", "random")
"""Behaviors without weights that every evaluator can score."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EpisodeScores:
    """What one policy earned in n episodes."""

    returns: NDArray[np.float64]
    """[n]; undiscounted return of each episode."""
    events: Mapping[str, NDArray[np.float64]]
    """Each [n]; how often something happened in each episode."""
    seeds: NDArray[np.int64]
    """[n]; the seed of each episode's world."""

    def __post_init__(self) -> None:
        (num_episodes,) = _vector(self.returns, "returns").shape
        if num_episodes == 0:
            raise EvaluationError("`returns` must hold at least one episode, got none")
        for name, values in {"seeds": self.seeds, **self.events}.items():
            if values.shape != (num_episodes,):
                raise ShapeError(f"`{name}` must be {(num_episodes,)} like `returns`, got {values.shape}")
        if not np.isfinite(self.returns).all():
            raise NonFiniteError("evaluation", "`returns` of an evaluation must be finite")

    @property
    def mean(self) -> float:
        """Mean return over the episodes."""
        return float(self.returns.mean())


@dataclass(frozen=True, kw_only=True)
class StoredScores:
    """`EpisodeScores` as plain numbers, for a file."""

    returns: tuple[float, ...]
    events: Mapping[str, tuple[float, ...]]
    seeds: tuple[int, ...]

    @classmethod
    def of(cls, scores: EpisodeScores) -> StoredScores:
        """The numbers of `scores`."""
        return cls(
            returns=tuple(scores.returns.tolist()),
            events={name: tuple(values.tolist()) for name, values in scores.events.items()},
            seeds=tuple(scores.seeds.tolist()),
        )

    def scores(self) -> EpisodeScores:
        """The inverse of `of`."""
        return EpisodeScores(
            returns=np.array(self.returns, np.float64),
            events={name: np.array(values, np.float64) for name, values in self.events.items()},
            seeds=np.array(self.seeds, np.int64),
        )


class Evaluator(Protocol):
    """Plays whole episodes in worlds with given seeds; nothing it does changes what is trained on."""

    def evaluate(
        self, actors: Mapping[str, Actor], *, num_episodes: int, first_seed: int, sample: bool
    ) -> EpisodeScores:
        """Let `actors`, one for each agent group, act alone in worlds `first_seed .. first_seed + num_episodes - 1`.

        Their actions are drawn (`sample`) or greedy. The return of an episode is that of all groups together.
        """
        ...

    def baseline(self, name: str, *, num_episodes: int, first_seed: int) -> EpisodeScores:
        """Score one of `BASELINES` in the same worlds."""
        ...


@dataclass(frozen=True, kw_only=True)
class ScoreSummary:
    """Mean, its interval, and interquartile mean of some scores."""

    mean: float
    ci: tuple[float, float]
    """95 % bootstrap interval of the mean."""
    iqm: float


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """Candidate minus incumbent, episode by episode of the same seeds."""

    num_episodes: int
    mean: float
    """Mean of the differences."""
    ci: tuple[float, float]
    """95 % bootstrap interval of `mean`."""
    iqm: float
    """Interquartile mean of the differences; reported, and decides nothing: it does not see rare disasters."""
    candidate_tail: float
    """Mean return of the candidate's own worst tenth."""
    incumbent_tail: float

    @property
    def tail_difference(self) -> float:
        """Worst tenth of the candidate minus worst tenth of the incumbent."""
        return self.candidate_tail - self.incumbent_tail


def mean_interval(values: NDArray[np.float64], *, level: float, seed: int, num_resamples: int) -> tuple[float, float]:
    """Bootstrap interval of the mean that covers it with probability 1 - `level` (BCa, Efron 1987).

    Args:
        values: [n], n >= 2; the independent units (episodes, or their differences).
    """
    (num_values,) = _vector(values, "values").shape
    if num_values < 2:
        raise EvaluationError(f"an interval needs at least 2 `values`, got {num_values}")
    if float(np.ptp(values)) == 0.0:
        # Resamples of equal values are all equal, and BCa divides by their spread.
        return float(values[0]), float(values[0])
    interval = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=1.0 - level,
        n_resamples=num_resamples,
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    low, high = float(interval.low), float(interval.high)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise NonFiniteError("evaluation", f"the bootstrap interval of {num_values} values is ({low}, {high})")
    return low, high


def interquartile_mean(values: NDArray[np.float64]) -> float:
    """Mean of the middle half of `values` [n]: a quarter (rounded down) is cut at each end (Agarwal et al. 2021)."""
    return float(stats.trim_mean(_vector(values, "values"), 0.25))


def worst_tenth_mean(values: NDArray[np.float64]) -> float:
    """Mean of the lowest tenth (rounded up) of `values` [n]."""
    (num_values,) = _vector(values, "values").shape
    return float(np.sort(values)[: math.ceil(num_values / 10)].mean())


def summarize(scores: EpisodeScores, *, seed: int, num_resamples: int) -> ScoreSummary:
    """Mean with its 95 % interval, and interquartile mean, of the returns."""
    return ScoreSummary(
        mean=scores.mean,
        ci=mean_interval(scores.returns, level=0.05, seed=seed, num_resamples=num_resamples),
        iqm=interquartile_mean(scores.returns),
    )


def paired_differences(candidate: EpisodeScores, incumbent: EpisodeScores) -> NDArray[np.float64]:
    """Returns of `candidate` minus those of `incumbent` [n]; EvaluationError unless both played the same seeds."""
    if not np.array_equal(candidate.seeds, incumbent.seeds):
        raise EvaluationError(
            f"paired scores must have the same seeds, got {_span(candidate.seeds)} and {_span(incumbent.seeds)}"
        )
    return candidate.returns - incumbent.returns


def compare(candidate: EpisodeScores, incumbent: EpisodeScores, *, seed: int, num_resamples: int) -> PairedComparison:
    """Compare two policies that played the same episodes; `seed` draws the resamples."""
    differences = paired_differences(candidate, incumbent)
    return PairedComparison(
        num_episodes=len(differences),
        mean=float(differences.mean()),
        ci=mean_interval(differences, level=0.05, seed=seed, num_resamples=num_resamples),
        iqm=interquartile_mean(differences),
        candidate_tail=worst_tenth_mean(candidate.returns),
        incumbent_tail=worst_tenth_mean(incumbent.returns),
    )


def normalized(score: float, zero: float, script: float) -> float | None:
    """`score` on the scale where `zero`, what idling earns, is 0 and the script is 1; None where that is no better."""
    if script <= zero:
        return None
    return (score - zero) / (script - zero)


def _vector(values: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    if values.ndim != 1:
        raise ShapeError(f"`{name}` must have one axis, got {values.shape}")
    return values


def _span(seeds: NDArray[np.int64]) -> str:
    return f"{seeds[0]}..{seeds[-1]} ({len(seeds)})"
