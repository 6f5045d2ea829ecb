"""How often 95 % intervals over n training runs cover what they are of, by the distribution of the runs' scores.

The truth is that of the distribution itself: its mean, or the mean of its middle half. Prints one JSON line per case:
the share of `NUM_SETS` sets of runs whose interval covers it; a share of 95 % then has a deviation of 0.7 %.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.evaluation.across_runs import (
    Statistic,
    bootstrap_interval,
    pooled_interquartile_mean,
    student_interval,
)

NUM_RUNS = (3, 5, 10)
NUM_SETS, NUM_RESAMPLES, LEVEL = 1000, 300, 0.05
Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]
SCORES: dict[str, Draw] = {
    "normal": lambda rng, size: rng.normal(size=size),
    "exponential": lambda rng, size: rng.exponential(size=size),
    "student-t (3)": lambda rng, size: rng.standard_t(3, size=size),
    "one in five fails": lambda rng, size: rng.normal(size=size) - 4.0 * (rng.random(size) < 0.2),
}


def mean(strata: Sequence[NDArray[np.float64]]) -> float:
    return float(strata[0].mean())


def resampled(runs: NDArray[np.float64], statistic: Statistic, seed: int) -> tuple[float, float]:
    return bootstrap_interval([runs], statistic, level=LEVEL, seed=seed, num_resamples=NUM_RESAMPLES)


def main() -> None:
    for name, draw in SCORES.items():
        large = draw(np.random.default_rng(1), 2_000_000)
        true_mean, true_middle = float(large.mean()), pooled_interquartile_mean([large])
        for count in NUM_RUNS:
            rng = np.random.default_rng(2)
            covered = dict.fromkeys(("student: mean", "bootstrap: mean", "bootstrap: IQM"), 0)
            for seed in range(NUM_SETS):
                runs = draw(rng, count)
                for interval, (low, high), truth in (
                    ("student: mean", student_interval(runs, level=LEVEL), true_mean),
                    ("bootstrap: mean", resampled(runs, mean, seed), true_mean),
                    ("bootstrap: IQM", resampled(runs, pooled_interquartile_mean, seed), true_middle),
                ):
                    covered[interval] += low <= truth <= high
            shares = {interval: number / NUM_SETS for interval, number in covered.items()}
            print(json.dumps({"scores": name, "runs": count, **shares}), flush=True)


if __name__ == "__main__":
    main()
