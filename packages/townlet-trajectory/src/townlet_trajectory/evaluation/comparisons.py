"""Statistics of independent values, and comparisons of paired ones: means, intervals, bounds, worst tenths.

Intervals need scipy (extra `statistics`), which is imported when one is computed.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.errors import EvaluationError, require
from townlet_trajectory.evaluation.interfaces import EpisodeScores

MIN_EPISODES = 10
"""Least number of episodes that a run is configured to judge by. Of 95 % BCa intervals of normal values, 50 % cover the
mean at n = 2, 82 % at n = 5 and 90 % at n = 10."""
MIN_FLIPPED = 6
"""Least number of differences whose signs can be flipped in so many ways that one of them is rare: 2^-6 < 0.025."""
_ALL_SUBSETS = 12
"""Of so many differences all subsets are taken, of more some are drawn."""
_ROUNDING = 1e-12
"""Share of the returns, or differences, below which a number is rounding."""

_TAIL_DRAWS = 50
"""Draws of `mean_upper_bound` beyond the bound: its own level is then exact within about 14 %."""
_CHUNK = 1 << 20
"""Random numbers that are held at once."""

Values: TypeAlias = "Sequence[float] | NDArray[np.float64]"
"""[n] independent values, such as returns of episodes, or differences of paired ones."""


def mean_interval(values: Values, *, level: float, seed: int, num_resamples: int) -> tuple[float, float]:
    """Compute a bootstrap interval of the mean (BCa: Efron 1987, Better Bootstrap Confidence Intervals, 2.3, 6.6).

        b = Φ⁻¹(share of the resampled means below the mean, of equal ones half)     a = Σ d_i³ / (6 (Σ d_i²)^1.5)
        ends: the quantiles Φ(b + z / (1 - a z)) of the resampled means,   z = b ± Φ⁻¹(1 - level / 2)

    with the deviations d_i from the mean. It is `scipy.stats.bootstrap`, whose import takes most of a second.

    Args:
        values: [n], n >= 2; the independent units (episodes, or their differences).
        level: chance in (0, 1) that the interval misses the mean.
        seed: of the resamples.
        num_resamples: at least 1.

    Returns:
        The lower and upper end of the interval, both within the range of `values`.

    Raises:
        EvaluationError: if there are fewer than two values, or one is not finite.
        MissingExtraError: if scipy is not installed.
    """
    array = vector(values)
    if len(array) < 2:
        raise EvaluationError(f"an interval needs at least 2 `values`, got {len(array)}")
    least, greatest = float(array.min()), float(array.max())
    # BCa divides by the spread of means without one value, which rounds to nothing beside a large common part. So it
    # sees values that are centred and of unit size, whatever their magnitude.
    magnitude = max(abs(least), abs(greatest)) or 1.0
    scaled = array / magnitude
    center = float(scaled.mean())
    spread = float(np.abs(scaled - center).max())
    if least == greatest or spread == 0.0:
        return least, greatest
    interval = _accelerated((scaled - center) / spread, level=level, seed=seed, num_resamples=num_resamples)
    ends = [float(np.clip((center + spread * float(end)) * magnitude, least, greatest)) for end in interval]
    if not all(map(math.isfinite, ends)):
        raise EvaluationError(f"the bootstrap interval of {len(array)} values is {tuple(ends)}")
    return ends[0], ends[1]


def _accelerated(values: NDArray[np.float64], *, level: float, seed: int, num_resamples: int) -> NDArray[np.float64]:
    """The ends [2] of `mean_interval`; NaN where all resampled means lie on one side of the mean."""
    special = require("scipy.special", "statistics")
    count, mean = len(values), values.mean()
    drawn = np.random.default_rng(seed).integers(0, count, (num_resamples, count))
    means = values[drawn].mean(axis=1)
    bias = special.ndtri(((means < mean).mean() + (means <= mean).mean()) / 2)
    deviations = values - mean
    acceleration = (deviations**3).sum() / (6.0 * (deviations**2).sum() ** 1.5)
    z = bias + special.ndtri(level / 2) * np.array([1.0, -1.0])
    with np.errstate(invalid="ignore"):
        shares = special.ndtr(bias + z / (1.0 - acceleration * z))
    return np.quantile(means, shares) if np.isfinite(shares).all() else np.full(2, np.nan)


def difference_interval(values: Values, *, level: float, seed: int, num_resamples: int) -> tuple[float, float]:
    """Compute an interval of the mean of paired differences: at each end the wider of two.

    `symmetric_interval` holds its level where neither policy is better in any way, however heavy the tails are;
    `skewed_interval` where one of them earns its return in rare episodes. Each alone fails where the other is needed.

    Args:
        values: [n], n >= 2; the differences of independent pairs.
        level: chance in (0, 1) that the interval misses the mean.
        seed: of the subsets of `symmetric_interval`.
        num_resamples: number of these subsets, at least 2 / `level` - 1.

    Returns:
        The lower and upper end; of fewer than `MIN_FLIPPED` values, those of `skewed_interval` alone.

    Raises:
        EvaluationError: if there are fewer than two values or too few subsets, or a value is not finite.
        MissingExtraError: if scipy is not installed.
    """
    array = vector(values)
    if len(array) < 2:
        raise EvaluationError(f"an interval needs at least 2 `values`, got {len(array)}")
    if num_resamples + 1 < 2.0 / level:
        raise EvaluationError(f"`num_resamples` must be at least {math.ceil(2.0 / level) - 1}, got {num_resamples!r}")
    least, greatest = float(array.min()), float(array.max())
    magnitude = max(abs(least), abs(greatest)) or 1.0
    center = float((array / magnitude).mean())
    deviations = array / magnitude - center
    if least == greatest or not deviations.any():
        return least, greatest
    low, high = skewed_interval(deviations, level=level)
    if len(array) >= MIN_FLIPPED:
        lower, higher = symmetric_interval(deviations, level=level, seed=seed, num_resamples=num_resamples)
        low, high = min(low, lower), max(high, higher)
    # Means of subsets that are 0 but for rounding are ties, which the test counts as not rejected.
    ends = [0.0 if abs(center + end) <= _ROUNDING else (center + end) * magnitude for end in (low, high)]
    largest = sys.float_info.max
    return float(np.clip(ends[0], -largest, largest)), float(np.clip(ends[1], -largest, largest))


def symmetric_interval(
    values: NDArray[np.float64], *, level: float, seed: int, num_resamples: int
) -> tuple[float, float]:
    """Compute the interval of all means that a sign-flip test does not reject (Fisher 1935, The Design of Experiments).

        p(m) = P(Σ s_i (x_i - m) >= Σ (x_i - m)),   s_i = ±1 with probability 1/2 each
             = P(mean of the x_i with s_i = -1 is at most m, or there is none)

    so the ends are quantiles of the means of random subsets (Hartigan 1969, Using Subsample Values as Typical Values).
    The values as they are count as one of the draws (Phipson & Smyth 2010). For every n, the level is exact for values
    that are symmetric about their mean, such as differences of two policies whose returns are distributed alike.

    Args:
        values: [n], n >= `MIN_FLIPPED`; finite.
        level: chance in (0, 1) that the interval misses the mean.
        seed: of the subsets; of up to 12 values all subsets are taken.
        num_resamples: number of subsets, at least 2 / `level` - 1.

    Returns:
        The lower and upper end, both within the range of `values`.
    """
    means, is_empty = _subset_means(values, seed=seed, num_resamples=num_resamples)
    rank = math.floor(level / 2 * len(means))
    low = np.partition(np.where(is_empty, -np.inf, means), rank)[rank]
    high = -np.partition(np.where(is_empty, -np.inf, -means), rank)[rank]
    return float(max(low, values.min())), float(min(high, values.max()))


def skewed_interval(values: NDArray[np.float64], *, level: float) -> tuple[float, float]:
    """Compute Student's interval of the mean, corrected for skewness (Hall 1992, On the Removal of Skewness by
    Transformation).

        T = (mean - m) / s,   g(T) = T + γ T² / 3 + γ² T³ / 27 + γ / (6 n),   |g(T)| <= t / √n

    with the standard deviation s (over n - 1), the skewness γ of the values, and Student's quantile t at 1 - level / 2.
    g rises, and its inverse is g⁻¹(x) = 3 y / (c² + c + 1) with y = x - γ / (6 n), c³ = 1 + γ y. Where γ = 0 this is
    Student's interval.

    Args:
        values: [n], n >= 2; finite, not all equal.
        level: chance in (0, 1) that the interval misses the mean.

    Returns:
        The lower and upper end.

    Raises:
        MissingExtraError: if scipy is not installed.
    """
    count, mean = len(values), float(values.mean())
    deviations = values - mean
    skewness = float((deviations**3).mean() / (deviations**2).mean() ** 1.5)
    quantile = float(require("scipy.special", "statistics").stdtrit(count - 1, 1.0 - level / 2))

    def inverse(x: float) -> float:
        y = x - skewness / (6 * count)
        c = float(np.cbrt(1.0 + skewness * y))
        return 3.0 * y / (c * c + c + 1.0)

    s, width = float(values.std(ddof=1)), quantile / math.sqrt(count)
    return mean - s * inverse(width), mean - s * inverse(-width)


def _subset_means(
    values: NDArray[np.float64], *, seed: int, num_resamples: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the means [m] of subsets, and which of them are empty; at least one is."""
    sums, sizes = [], []
    for block in _subsets(len(values), seed=seed, num_resamples=num_resamples):
        sums.append(block @ values)
        sizes.append(block.sum(axis=1))
    size = np.concatenate(sizes)
    return np.concatenate(sums) / np.maximum(size, 1.0), size == 0.0


def _subsets(count: int, *, seed: int, num_resamples: int) -> Iterator[NDArray[np.float64]]:
    """Yield blocks [., count] of subsets, 1 where a value is in: all there are of a few values, else some and none."""
    if count <= _ALL_SUBSETS:
        yield (np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(np.float64)
        return
    rng, rows = np.random.default_rng(seed), max(1, _CHUNK // count)
    for start in range(0, num_resamples, rows):
        shape = (min(rows, num_resamples - start), count)
        yield rng.integers(2, size=shape, dtype=np.int8).astype(np.float64)
    yield np.zeros((1, count))


def mean_upper_bound(values: Values, *, largest: float, level: float, seed: int) -> float:
    """Compute an upper confidence bound of the mean of values that are known not to exceed `largest`.

        P(m > bound) = level,   m = Σ w_i x_i + w_{n+1} largest,   w ~ Dirichlet(1, ..., 1) over n + 1 points

    It makes no other assumption, however skewed the values are; of values that are 0 or 1 it is the exact bound of
    Clopper and Pearson. Source: Gaffke 2005, Three test statistics for a nonparametric one-sided hypothesis on the
    mean; Learned-Miller & Thomas 2019, arXiv:1905.06208, who found no distribution for which its level does not hold.

    Args:
        values: [n], n >= 1; the independent units.
        largest: that a value can be; at least the greatest of `values`.
        level: chance in (0, 1) that the bound is below the mean.
        seed: of the weights.

    Returns:
        The bound, in [mean of `values`, `largest`] but for the chance in the draws.

    Raises:
        EvaluationError: if there is no value, or one is above `largest` or not finite.
    """
    array = vector(values)
    if not array.max() <= largest < math.inf:
        raise EvaluationError(f"`largest` must be at least {array.max():.6g} and finite, got {largest!r}")
    points = np.append(array, largest)
    rng = np.random.default_rng(seed)
    num_draws = math.ceil(_TAIL_DRAWS / level)
    means = np.empty(num_draws)
    for part in np.array_split(means, math.ceil(num_draws * len(points) / _CHUNK)):
        # Exponential numbers over their sum are Dirichlet weights.
        weights = rng.exponential(size=(len(part), len(points)))
        part[:] = weights @ points / weights.sum(axis=1)
    return float(np.quantile(means, 1.0 - level))


def interquartile_mean(values: Values) -> float:
    """Compute the mean of the middle half of `values` [n]: a quarter (rounded down) is cut at each end.

    Source: Agarwal et al. 2021, Deep Reinforcement Learning at the Edge of the Statistical Precipice.
    """
    array = np.sort(vector(values))
    cut = len(array) // 4
    return float(array[cut : len(array) - cut].mean())


def worst_tenth_mean(values: Values) -> float:
    """Compute the mean of the lowest tenth (rounded up) of `values` [n]."""
    array = vector(values)
    return float(np.sort(array)[: math.ceil(len(array) / 10)].mean())


def vector(values: Values) -> NDArray[np.float64]:
    """Return `values` as a finite array [n] of float64. Raises `EvaluationError` if it is empty, has another number of
    axes, or a value is not finite."""
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not array.size:
        raise EvaluationError(f"`values` must have one axis and a number in it, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise EvaluationError(f"`values` must be finite, got {array[~np.isfinite(array)][0]}")
    return array


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
    """95 % interval of `mean`, as `difference_interval`: a decision holds where it is on one side of 0."""
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
    """Return the returns of `candidate` minus those of `incumbent` [n], where what is rounding is 0.

    Raises `EvaluationError` unless both played the same seeds in the same order.
    """
    if candidate.seeds != incumbent.seeds:
        raise EvaluationError(
            f"paired scores must have the same seeds, got {_span(candidate.seeds)} and {_span(incumbent.seeds)}"
        )
    differences = np.subtract(candidate.returns, incumbent.returns, dtype=np.float64)
    magnitude = np.abs([candidate.returns, incumbent.returns]).max(axis=0)
    return np.where(np.abs(differences) <= _ROUNDING * magnitude, 0.0, differences)


def compare(candidate: EpisodeScores, incumbent: EpisodeScores, *, seed: int, num_resamples: int) -> PairedComparison:
    """Compare two policies that played the same episodes.

    Examples:
        >>> from townlet_trajectory.evaluation.interfaces import EpisodeScores
        >>> ours = EpisodeScores.of(returns=[3.0, 1.0, 8.0, 6.0], seeds=[1, 2, 3, 4])
        >>> theirs = EpisodeScores.of(returns=[1.0, 2.0, 4.0, 7.0], seeds=[1, 2, 3, 4])
        >>> found = compare(ours, theirs, seed=0, num_resamples=1000)
        >>> found.mean, found.iqm, found.ci[0] < 1.0 < found.ci[1]
        (1.0, 0.5, True)

    Args:
        candidate: scores of the one.
        incumbent: scores of the other, on the same seeds.
        seed: of the interval.
        num_resamples: of the interval, at least 39.

    Returns:
        Statistics of candidate minus incumbent.

    Raises:
        EvaluationError: if the seeds differ, there is a single episode, or too few resamples.
    """
    differences = paired_differences(candidate, incumbent)
    return PairedComparison(
        num_episodes=len(differences),
        mean=float(differences.mean()),
        ci=difference_interval(differences, level=0.05, seed=seed, num_resamples=num_resamples),
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
