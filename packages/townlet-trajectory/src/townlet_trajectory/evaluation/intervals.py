"""Statistics of independent values: interval and upper bound of their mean, interquartile mean, worst tenth.

The interval needs scipy (extra `statistics`), which is imported when one is computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.errors import EvaluationError
from townlet_trajectory.storage.extras import require

MIN_EPISODES = 10
"""Least number of episodes that a run is configured to judge by. Of 95 % BCa intervals of normal values, 50 % cover the
mean at n = 2, 82 % at n = 5 and 90 % at n = 10."""

_TAIL_DRAWS = 50
"""Draws of `mean_upper_bound` beyond the bound: its own level is then exact within about 14 %."""
_CHUNK = 1 << 20
"""Random numbers that `mean_upper_bound` holds at once."""

Values: TypeAlias = "Sequence[float] | NDArray[np.float64]"
"""[n] independent values, such as returns of episodes, or differences of paired ones."""


def mean_interval(values: Values, *, level: float, seed: int, num_resamples: int) -> tuple[float, float]:
    """Compute a bootstrap interval of the mean (BCa: Efron 1987, Better Bootstrap Confidence Intervals).

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
    interval = (
        require("scipy.stats", "statistics")
        .bootstrap(
            ((scaled - center) / spread,),
            np.mean,
            confidence_level=1.0 - level,
            n_resamples=num_resamples,
            method="BCa",
            rng=np.random.default_rng(seed),
        )
        .confidence_interval
    )
    ends = [float(np.clip((center + spread * float(end)) * magnitude, least, greatest)) for end in interval]
    if not all(map(math.isfinite, ends)):
        raise EvaluationError(f"the bootstrap interval of {len(array)} values is {tuple(ends)}")
    return ends[0], ends[1]


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
