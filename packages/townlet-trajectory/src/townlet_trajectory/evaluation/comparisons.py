"""Comparisons of two policies on the same episodes, and scores on the scale from the zero to the script."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.errors import EvaluationError
from townlet_trajectory.evaluation.intervals import interquartile_mean, mean_interval, worst_tenth_mean
from townlet_trajectory.evaluation.scores import EpisodeScores


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


def summarize(scores: EpisodeScores, *, seed: int, num_resamples: int) -> ScoreSummary:
    """Summarize the returns of `scores`.

    Args:
        scores: of at least two episodes.
        seed: of the resamples of the interval.
        num_resamples: of the interval.

    Returns:
        Mean with its 95 % interval, and interquartile mean.

    Raises:
        EvaluationError: if there is a single episode.
    """
    return ScoreSummary(
        mean=scores.mean,
        ci=mean_interval(scores.returns, level=0.05, seed=seed, num_resamples=num_resamples),
        iqm=interquartile_mean(scores.returns),
    )


def paired_differences(candidate: EpisodeScores, incumbent: EpisodeScores) -> NDArray[np.float64]:
    """Return the returns of `candidate` minus those of `incumbent` [n]. Raises `EvaluationError` unless both played the
    same seeds in the same order."""
    if candidate.seeds != incumbent.seeds:
        raise EvaluationError(
            f"paired scores must have the same seeds, got {_span(candidate.seeds)} and {_span(incumbent.seeds)}"
        )
    return np.subtract(candidate.returns, incumbent.returns, dtype=np.float64)


def compare(candidate: EpisodeScores, incumbent: EpisodeScores, *, seed: int, num_resamples: int) -> PairedComparison:
    """Compare two policies that played the same episodes.

    Examples:
        >>> from townlet_trajectory.evaluation.scores import EpisodeScores
        >>> ours = EpisodeScores.of(returns=[3.0, 1.0, 8.0, 6.0], seeds=[1, 2, 3, 4])
        >>> theirs = EpisodeScores.of(returns=[1.0, 2.0, 4.0, 7.0], seeds=[1, 2, 3, 4])
        >>> found = compare(ours, theirs, seed=0, num_resamples=1000)
        >>> found.mean, found.iqm, found.ci[0] < 1.0 < found.ci[1]
        (1.0, 0.5, True)

    Args:
        candidate: scores of the one.
        incumbent: scores of the other, on the same seeds.
        seed: of the resamples of the interval.
        num_resamples: of the interval.

    Returns:
        Statistics of candidate minus incumbent.

    Raises:
        EvaluationError: if the seeds differ, or there is a single episode.
    """
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
    """Put `score` on the scale where `zero` is 0 and `script` is 1: (s - z) / (script - z).

    Args:
        score: mean return to put on the scale.
        zero: mean return of the behavior that earns nothing.
        script: mean return of the script.

    Returns:
        The normalized score; None where the script is no better than zero.
    """
    if script <= zero:
        return None
    return (score - zero) / (script - zero)


def _span(seeds: tuple[int, ...]) -> str:
    return f"{seeds[0]}..{seeds[-1]} ({len(seeds)})"
