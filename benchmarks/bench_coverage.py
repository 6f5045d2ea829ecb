"""How often 95 % intervals over n training runs cover what they are of, by the distribution of the runs' scores.

The methods of `townlet_trajectory.evaluation.across_runs` written out on arrays of many sets of runs: one call for each
of the millions of resamples would take an hour. The truth is that of the distribution: its mean, or the mean of its
middle half. Prints one JSON line per case; a share of 95 % has a deviation of 0.4 %.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

NUM_RUNS = (3, 5, 10)
NUM_SETS, NUM_RESAMPLES, LEVEL = 3000, 2000, 0.05

Array = NDArray[np.float64]
RNG = np.random.default_rng(0)
SCORES: dict[str, Callable[[tuple[int, ...]], Array]] = {
    "normal": lambda shape: RNG.normal(size=shape),
    "exponential": lambda shape: RNG.exponential(size=shape),
    "student-t (3)": lambda shape: RNG.standard_t(3, size=shape),
    "one in five far off": lambda shape: RNG.normal(size=shape) + 4.0 * (RNG.random(shape) < 0.2),
}


def mean(values: Array) -> Array:
    """Over the last axis."""
    averages: Array = values.mean(axis=-1)
    return averages


def middle_mean(values: Array) -> Array:
    """The interquartile mean over the last axis."""
    cut = values.shape[-1] // 4
    return mean(np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut])


def bootstrap_coverage(runs: Array, statistic: Callable[[Array], Array], truth: float) -> float:
    """Share of the sets `runs` [S, n] whose percentile interval covers `truth`."""
    indices = RNG.integers(runs.shape[1], size=(len(runs), NUM_RESAMPLES, runs.shape[1]))
    found = statistic(np.take_along_axis(runs[:, None, :], indices, axis=-1))
    low, high = np.quantile(found, [LEVEL / 2, 1.0 - LEVEL / 2], axis=1)
    return float(np.mean((low <= truth) & (truth <= high)))


def student_coverage(runs: Array, truth: float) -> float:
    """Share of the sets `runs` [S, n] whose Student interval covers `truth`."""
    count = runs.shape[1]
    half = stats.t.ppf(1.0 - LEVEL / 2, count - 1) * runs.std(axis=1, ddof=1) / np.sqrt(count)
    return float(np.mean(np.abs(mean(runs) - truth) <= half))


def main() -> None:
    for name, draw in SCORES.items():
        large = draw((2_000_000,))
        true_mean, true_middle = float(mean(large)), float(middle_mean(large))
        for count in NUM_RUNS:
            runs = draw((NUM_SETS, count))
            shares = {
                "student: mean": student_coverage(runs, true_mean),
                "bootstrap: mean": bootstrap_coverage(runs, mean, true_mean),
                "bootstrap: IQM": bootstrap_coverage(runs, middle_mean, true_middle),
            }
            print(json.dumps({"scores": name, "runs": count, **shares}), flush=True)


if __name__ == "__main__":
    main()
