"""Sets of training runs that differ in their seed alone: their scores, the summary of a set, and two sets compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from townlet_trajectory.errors import EvaluationError
from townlet_trajectory.evaluation.across_runs import (
    Array,
    bootstrap_interval,
    mann_whitney_p,
    pooled_interquartile_mean,
    probability_of_improvement,
    student_interval,
    welch_interval,
)
from townlet_trajectory.evaluation.comparisons import interquartile_mean
from townlet_trajectory.evaluation.interfaces import EpisodeScores

LEVEL = 0.05
"""Chance that the interval of a summary or a difference misses."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RunScores:
    """Returns of the policies (or of one behavior in the worlds) of runs that differ in their seed alone.

    Examples:
        >>> from townlet_trajectory.evaluation.interfaces import EpisodeScores
        >>> first = EpisodeScores.of(returns=[1.0, 3.0], seeds=[7, 8])
        >>> second = EpisodeScores.of(returns=[2.0, 6.0], seeds=[7, 8])
        >>> RunScores.of({0: first, 1: second}).means.tolist()
        [2.0, 4.0]
    """

    seeds: tuple[int, ...]
    """[R]; of training, in ascending order."""
    returns: Array
    """[R, E]; each run in the same E episodes."""
    episode_seeds: tuple[int, ...]
    """[E]."""

    @classmethod
    def of(cls, scores: Mapping[int, EpisodeScores]) -> RunScores:
        """Put the scores of runs, by seed of training, side by side.

        Raises:
            EvaluationError: if there is no run, or the runs did not play the same episodes.
        """
        if not scores:
            raise EvaluationError("expected the scores of at least one run, got none")
        seeds = tuple(sorted(scores))
        episodes = scores[seeds[0]].seeds
        if others := [seed for seed in seeds if scores[seed].seeds != episodes]:
            raise EvaluationError(f"runs must have played the same episodes: {seeds[0]} and {others[0]} have not")
        returns = np.array([scores[seed].returns for seed in seeds], np.float64)
        return cls(seeds=seeds, returns=returns, episode_seeds=episodes)

    @property
    def means(self) -> Array:
        """[R]; mean return of each run: its score."""
        means: Array = self.returns.mean(axis=1)
        return means


@dataclass(frozen=True, kw_only=True)
class RunsSummary:
    """The scores of some runs in a few numbers; intervals are over runs, and None for a single one."""

    num_runs: int
    num_episodes: int
    """Of each run."""
    mean: float
    ci: tuple[float, float] | None
    """95 % Student interval of `mean`."""
    iqm: float
    """Interquartile mean of the runs' scores."""
    iqm_ci: tuple[float, float] | None
    """95 % bootstrap interval of `iqm`."""
    episodes_iqm: float
    """Interquartile mean of all episodes of all runs."""
    episodes_iqm_ci: tuple[float, float] | None
    """95 % interval of `episodes_iqm`, from a bootstrap of whole runs."""


@dataclass(frozen=True, kw_only=True)
class RunsDifference:
    """Scores of some runs minus scores of others."""

    num_runs: tuple[int, int]
    """Of the first and of the second."""
    paired: bool
    """Whether both had the same seeds of training, and were compared seed by seed."""
    mean: float
    ci: tuple[float, float] | None
    """95 % interval of `mean` over runs: Student's of the paired differences, or Welch's. None: too few runs."""
    probability: float
    """Chance that a run of the first is better than a run of the second; see `probability_of_improvement`."""
    p_value: float | None
    """Two-sided, of the Mann-Whitney test. None: too few runs, or the second is a behavior, of which there is one."""


def summarize_runs(scores: RunScores, *, seed: int, num_resamples: int) -> RunsSummary:
    """Summarize the scores of some runs.

    Args:
        scores: of the runs.
        seed: of the resamples of the intervals.
        num_resamples: of each interval.

    Returns:
        Mean and interquartile means with their 95 % intervals over runs.

    Raises:
        MissingExtraError: if scipy is not installed.
    """
    means, several = scores.means, len(scores.seeds) > 1

    def interval(values: Array) -> tuple[float, float] | None:
        if not several:
            return None
        return bootstrap_interval(
            [values], pooled_interquartile_mean, level=LEVEL, seed=seed, num_resamples=num_resamples
        )

    return RunsSummary(
        num_runs=len(scores.seeds),
        num_episodes=len(scores.episode_seeds),
        mean=float(means.mean()),
        ci=student_interval(means, level=LEVEL) if several else None,
        iqm=interquartile_mean(means),
        iqm_ci=interval(means),
        episodes_iqm=interquartile_mean(scores.returns.ravel()),
        episodes_iqm_ci=interval(scores.returns),
    )


def compare_runs(first: RunScores, second: RunScores, *, trained: bool, seed: int) -> RunsDifference:
    """Compare two sets of runs: seed by seed where both have the same seeds of training, else as independent runs.

    The episodes are the same for all runs, so the interval is over seeds of training in these episodes' worlds.

    Args:
        first: scores of the one.
        second: scores of the other, in the same episodes.
        trained: whether the second were trained too; else they are one behavior, scored in each run of the first.
        seed: of the permutations of `mann_whitney_p`.

    Raises:
        EvaluationError: if the episodes differ.
        MissingExtraError: if scipy is not installed.
    """
    if first.episode_seeds != second.episode_seeds:
        raise EvaluationError("runs can be compared in the same episodes only, and these have played others")
    one, other, paired = first.means, second.means, first.seeds == second.seeds
    several = min(len(one), len(other)) > 1
    if not several:
        ci = None
    elif paired:
        ci = student_interval(one - other, level=LEVEL)
    else:
        ci = welch_interval(one, other, level=LEVEL)
    return RunsDifference(
        num_runs=(len(one), len(other)),
        paired=paired,
        mean=float(one.mean() - other.mean()),
        ci=ci,
        probability=probability_of_improvement(one, other),
        p_value=mann_whitney_p(one, other, seed=seed) if trained and several else None,
    )
