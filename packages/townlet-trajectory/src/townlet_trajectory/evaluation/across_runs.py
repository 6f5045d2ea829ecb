"""Statistics over training runs that differ in their seed alone: the worth of a way of training, not of one policy.

The unit is the run. Episodes of one run share its policy, so they say nothing about another seed, however many.
Intervals need scipy (extra `statistics`), which is imported when one is computed. Of 95 % intervals over n runs with
normal, exponential and Student-t (3) scores, so many per cent cover (`benchmarks/bench_coverage.py`):

    interval                                        n = 3       n = 5       n = 10
    student_interval of the mean                    95 88 96    95 87 97    94 90 95
    bootstrap_interval of the interquartile mean    76 74 74    90 89 91    93 94 93
    bootstrap_interval of the mean                  76 68 74    84 77 84    89 86 89
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.errors import EvaluationError, require
from townlet_trajectory.evaluation.comparisons import Values, interquartile_mean, vector

MIN_RUNS = 5
"""With fewer runs an interval of the interquartile mean is a guess: see the table above."""
_NUM_PERMUTATIONS = 20_000
"""Two sets of up to 8 runs have fewer: then the p-value is exact."""

Array: TypeAlias = NDArray[np.float64]
Statistic: TypeAlias = Callable[[Sequence[Array]], float]
"""From strata, each [R, ...], to a number."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PerformanceProfile:
    """Share of runs with a score above each threshold, with a band at each."""

    thresholds: Array
    """[T], ascending."""
    share: Array
    """[T], in [0, 1], never rising."""
    low: Array
    """[T]; lower end of the band."""
    high: Array
    """[T]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LearningCurve:
    """Mean return of some runs while they trained."""

    env_steps: Array
    """[K], ascending."""
    mean: Array
    """[K]; over runs."""
    low: Array
    """[K]; lower end of the 95 % Student interval of each mean, NaN for a single run."""
    high: Array
    """[K]."""


def student_interval(values: Values, *, level: float) -> tuple[float, float]:
    """Compute Student's interval of the mean of independent values.

        x̄ ± t_{n-1}(1 - level / 2) s / √n,   s² = Σ (x_i - x̄)² / (n - 1)

    Exact for normal values; paired differences of runs are its case. Source: Student 1908.

    Args:
        values: [n], n >= 2; one for each run.
        level: chance in (0, 1) that the interval misses the mean.

    Returns:
        The lower and upper end.

    Raises:
        EvaluationError: if there are fewer than two values, or one is not finite.
    """
    array = _at_least_two(vector(values))
    return _around(float(array.mean()), float(array.var(ddof=1)) / len(array), len(array) - 1, level)


def welch_interval(first: Values, second: Values, *, level: float) -> tuple[float, float]:
    """Compute Welch's interval of the difference of two means of independent values.

        x̄ - ȳ ± t_ν(1 - level / 2) √(a + b),   a = s_x² / n,  b = s_y² / m,   ν = (a + b)² / (a² / (n-1) + b² / (m-1))

    Source: Welch 1947, The Generalization of `Student's' Problem When Several Different Population Variances Are
    Involved; Satterthwaite 1946 for ν.

    Args:
        first: [n], n >= 2; one for each run.
        second: [m], m >= 2.
        level: chance in (0, 1) that the interval misses the difference.

    Returns:
        The lower and upper end.

    Raises:
        EvaluationError: if one of the two has fewer than two values, or a value is not finite.
    """
    one, other = _at_least_two(vector(first)), _at_least_two(vector(second))
    parts = [(float(each.var(ddof=1)) / len(each), len(each) - 1) for each in (one, other)]
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / sum(part**2 / free for part, free in parts) if variance > 0.0 else 1.0
    return _around(float(one.mean() - other.mean()), variance, freedom, level)


def bootstrap_interval(
    strata: Sequence[Array], statistic: Statistic, *, level: float, seed: int, num_resamples: int
) -> tuple[float, float]:
    """Compute a stratified bootstrap interval (percentiles): within each stratum, whole runs are drawn anew.

    Strata are sets of runs made alike: those of one setting, or of one task, as in Agarwal et al. 2021,
    arXiv:2108.13264, sec. 4, where every pair of run and task is a training of its own. Episodes of a run are no tasks:
    they share its policy, and are drawn with it. With one stratum it is the plain bootstrap.

    Args:
        strata: each [R_k, ...], R_k >= 2; the first axis is the run.
        statistic: of the strata, in the same order.
        level: chance in (0, 1) that the interval misses.
        seed: of the resamples.
        num_resamples: at least 1.

    Returns:
        The quantiles level / 2 and 1 - level / 2 of the statistic over resamples.

    Raises:
        EvaluationError: if a stratum has fewer than two runs, or a value is not finite.
    """
    for stratum in strata:
        _at_least_two(stratum)
        vector(stratum.ravel())
    rng = np.random.default_rng(seed)
    found = [
        statistic([stratum[rng.integers(len(stratum), size=len(stratum))] for stratum in strata])
        for _ in range(num_resamples)
    ]
    low, high = np.quantile(found, [level / 2, 1.0 - level / 2])
    return float(low), float(high)


def pooled_interquartile_mean(strata: Sequence[Array]) -> float:
    """Compute the interquartile mean of all numbers in `strata`, as Agarwal et al. 2021 do of runs and tasks."""
    return interquartile_mean(np.concatenate([stratum.ravel() for stratum in strata]))


def probability_of_improvement(first: Values, second: Values) -> float:
    """Compute the chance that a run of the one is better than a run of the other: the Mann-Whitney statistic.

        P = 1 / (n m) Σ_i Σ_j (1[x_i > y_j] + ½ 1[x_i = y_j])

    Source: Mann & Whitney 1947; Agarwal et al. 2021, arXiv:2108.13264, sec. 4.3.

    Args:
        first: [n]; scores of runs.
        second: [m].

    Raises:
        EvaluationError: if there is no value, or one is not finite.
    """
    signs = np.sign(vector(first)[:, None] - vector(second)[None, :])
    return float((1.0 + signs).mean() / 2.0)


def mann_whitney_p(first: Values, second: Values, *, seed: int) -> float:
    """Compute the two-sided p-value that runs of both are equally good, ties included.

    All permutations of the runs are counted up to `_NUM_PERMUTATIONS`, else so many are drawn. Its least value with n
    runs each is 2 / C(2n, n): 0.1 for three, 0.008 for five.

    Args:
        first: [n], n >= 2; scores of runs.
        second: [m], m >= 2.
        seed: of the permutations, where there are too many to count.

    Raises:
        EvaluationError: if one of the two has fewer than two values, or a value is not finite.
    """
    one, other = _at_least_two(vector(first)), _at_least_two(vector(second))
    stats = require("scipy.stats", "statistics")
    method = stats.PermutationMethod(n_resamples=_NUM_PERMUTATIONS, rng=np.random.default_rng(seed))
    return float(stats.mannwhitneyu(one, other, alternative="two-sided", method=method).pvalue)


def performance_profile(scores: Values, thresholds: Values, *, level: float) -> PerformanceProfile:
    """Compute the share of runs above each threshold, with the exact binomial band.

        F(τ) = 1 / n Σ_i 1[x_i > τ];   band: B_{level/2}(k, n - k + 1) to B_{1 - level/2}(k + 1, n - k),  k = n F(τ)

    with B the quantile of the beta distribution. A bootstrap band would have no width where F is 0 or 1, however few
    the runs. Sources: Agarwal et al. 2021, arXiv:2108.13264, sec. 4.2; Clopper & Pearson 1934.

    Args:
        scores: [n]; one for each run.
        thresholds: [T], ascending.
        level: chance in (0, 1), at each threshold, that the band misses.

    Raises:
        EvaluationError: if there is no score or threshold, one is not finite, or the thresholds do not ascend.
    """
    array, at = vector(scores), vector(thresholds)
    if np.any(np.diff(at) < 0.0):
        raise EvaluationError("`thresholds` must be in ascending order")
    above = (array[:, None] > at[None, :]).sum(axis=0)
    quantile = require("scipy.special", "statistics").betaincinv
    n = len(array)
    low = np.where(above == 0, 0.0, quantile(np.maximum(above, 1), n - above + 1, level / 2))
    high = np.where(above == n, 1.0, quantile(above + 1, np.maximum(n - above, 1), 1.0 - level / 2))
    return PerformanceProfile(thresholds=at, share=above / n, low=low, high=high)


def learning_curve(points: Sequence[tuple[Values, Values]], *, level: float) -> LearningCurve:
    """Compute the mean over runs of curves that were measured at steps of their own, where all of them were.

    Between its points a curve is a straight line; of points at the same step the last one counts.

    Args:
        points: (steps [K_r], values [K_r]) of each run, K_r >= 1, steps never falling.
        level: chance in (0, 1), at each step, that the band misses.

    Raises:
        EvaluationError: if there is no run, the runs have no step in common, or a number is not finite.
    """
    curves = [_last_of_each_step(vector(steps), vector(values)) for steps, values in points]
    if not curves:
        raise EvaluationError("expected the curve of at least one run, got none")
    begin, end = max(steps[0] for steps, _ in curves), min(steps[-1] for steps, _ in curves)
    grid = np.unique(np.concatenate([steps for steps, _ in curves]))
    grid = grid[(begin <= grid) & (grid <= end)]
    if not grid.size:
        raise EvaluationError(f"the curves have no step in common: one begins at {begin:g}, one ends at {end:g}")
    values = np.array([np.interp(grid, steps, curve) for steps, curve in curves])
    bands = np.full((len(grid), 2), np.nan)
    if len(curves) > 1:
        bands = np.array([student_interval(column, level=level) for column in values.T])
    return LearningCurve(env_steps=grid, mean=values.mean(axis=0), low=bands[:, 0], high=bands[:, 1])


def _around(center: float, variance: float, freedom: float, level: float) -> tuple[float, float]:
    """The ends center ± t √variance."""
    half = float(require("scipy.special", "statistics").stdtrit(freedom, 1.0 - level / 2)) * math.sqrt(variance)
    if not math.isfinite(half):
        raise EvaluationError(f"the values spread too far for an interval: its half width is {half}")
    return center - half, center + half


def _at_least_two(array: Array) -> Array:
    if len(array) < 2:
        raise EvaluationError(f"an interval over runs needs at least 2 of them, got {len(array)}")
    return array


def _last_of_each_step(steps: Array, values: Array) -> tuple[Array, Array]:
    if len(steps) != len(values) or np.any(np.diff(steps) < 0.0):
        raise EvaluationError(f"a curve needs a value for each of its {len(steps)} steps, which never fall")
    last = np.append(np.diff(steps) > 0.0, True)
    return steps[last], values[last]
