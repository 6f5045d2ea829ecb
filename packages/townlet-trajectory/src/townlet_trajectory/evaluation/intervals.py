"""Statistics of independent values: bootstrap interval of their mean, interquartile mean, worst tenth.

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
        The lower and upper end of the interval.

    Raises:
        EvaluationError: if there are fewer than two values, or the interval is not finite.
        MissingExtraError: if scipy is not installed.
    """
    array = vector(values)
    if len(array) < 2:
        raise EvaluationError(f"an interval needs at least 2 `values`, got {len(array)}")
    if float(np.ptp(array)) == 0.0:
        # Resamples of equal values are all equal, and BCa divides by their spread.
        return float(array[0]), float(array[0])
    interval = (
        require("scipy.stats", "statistics")
        .bootstrap(
            (array,),
            np.mean,
            confidence_level=1.0 - level,
            n_resamples=num_resamples,
            method="BCa",
            rng=np.random.default_rng(seed),
        )
        .confidence_interval
    )
    low, high = float(interval.low), float(interval.high)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise EvaluationError(f"the bootstrap interval of {len(array)} values is ({low}, {high})")
    return low, high


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
    """Return `values` as an array [n] of float64; EvaluationError if it is empty or has another number of axes."""
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not array.size:
        raise EvaluationError(f"`values` must have one axis and a number in it, got shape {array.shape}")
    return array
