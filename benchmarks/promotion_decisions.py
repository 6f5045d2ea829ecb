"""Simulated promotion passes: how often a policy that is no better wins one, and how often one that is better does.

Every decision is made as a run makes it (`compare`, `PromotionPass.outcome`), beside other tests of its differences.
Prints one JSON line for each case. `--decisions 10000` gives the table of docs/mathematics.md.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from townlet_trajectory.evaluation.comparisons import (
    compare,
    mean_interval,
    paired_differences,
    skewed_interval,
    symmetric_interval,
)
from townlet_trajectory.evaluation.interfaces import EpisodeScores
from townlet_trajectory.evaluation.promotion import PromotionPass

LEVEL = 0.025
Array = NDArray[np.float64]
Pair = tuple[Array, Array]


def jackpots(rng: np.random.Generator, n: int, *, share: float = 0.1, gain: float = 10.0) -> Array:
    """Returns of which one in 1 / `share` is a jackpot."""
    return rng.normal(size=n) + gain * (rng.random(n) < share)


CASES: dict[str, Callable[[np.random.Generator, int], Pair]] = {
    "normal": lambda rng, n: (rng.normal(size=n), rng.normal(size=n)),
    "jackpots of both": lambda rng, n: (jackpots(rng, n), jackpots(rng, n)),
    "jackpots of the incumbent": lambda rng, n: (1.0 + rng.normal(size=n), jackpots(rng, n)),
    "jackpots of the candidate": lambda rng, n: (jackpots(rng, n), 1.0 + rng.normal(size=n)),
    "bare jackpots of both": lambda rng, n: (10.0 * (rng.random(n) < 0.1), 10.0 * (rng.random(n) < 0.1)),
    "bare jackpots of the incumbent": lambda rng, n: (np.ones(n), 10.0 * (rng.random(n) < 0.1)),
    "one in twenty of the incumbent": lambda rng, n: (
        1.0 + rng.normal(size=n),
        jackpots(rng, n, share=0.05, gain=20.0),
    ),
    "log-normal of the incumbent": lambda rng, n: (np.full(n, math.exp(0.5)), rng.lognormal(size=n)),
    "normal, 0.3 sd better": lambda rng, n: (rng.normal(0.3 * math.sqrt(2.0), size=n), rng.normal(size=n)),
    # Differences of two such returns have the variance 2 (1 + 9).
    "jackpots of both, 0.3 sd better": lambda rng, n: (
        jackpots(rng, n) + 0.3 * math.sqrt(20.0),
        jackpots(rng, n),
    ),
}


def judge(pair: Pair, *, seed: int, resamples: int) -> dict[str, bool]:
    """Whether each test calls the candidate better."""
    seeds = np.arange(len(pair[0]))
    candidate, incumbent = (EpisodeScores.of(returns=returns, seeds=seeds) for returns in pair)
    comparison = compare(candidate, incumbent, seed=seed, num_resamples=resamples)
    passed = PromotionPass(candidate="c", incumbent="i", tail_margin=math.inf, comparison=comparison)
    with_tail = PromotionPass(candidate="c", incumbent="i", tail_margin=0.0, comparison=comparison)
    d = paired_differences(candidate, incumbent)
    if np.ptp(d) == 0.0:
        return dict.fromkeys(("better", "better, tail", "flips", "hall", "student", "bca"), bool(d[0] > 0.0))
    return {
        "better": passed.outcome == "better",
        "better, tail": with_tail.outcome == "better",
        "flips": symmetric_interval(d, level=2 * LEVEL, seed=seed, num_resamples=resamples)[0] > 0.0,
        "hall": skewed_interval(d, level=2 * LEVEL)[0] > 0.0,
        "student": bool(stats.ttest_1samp(d, 0.0, alternative="greater").pvalue <= LEVEL),
        "bca": mean_interval(d, level=2 * LEVEL, seed=seed, num_resamples=resamples)[0] > 0.0,
    }


def lower_bound(count: int, of: int) -> float:
    """The 99 % lower bound of a rate of Clopper and Pearson."""
    return float(stats.beta.ppf(0.005, count, of - count + 1)) if count else 0.0


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--episodes", type=int, nargs="+", default=[50, 100])
    parser.add_argument("--case", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for n in options.episodes:
        for name in options.case:
            rng = np.random.default_rng([options.seed, n])
            found = [
                judge(CASES[name](rng, n), seed=seed, resamples=options.resamples) for seed in range(options.decisions)
            ]
            counts = {test: sum(one[test] for one in found) for test in found[0]}
            rates = {test: count / options.decisions for test, count in counts.items()}
            bound = lower_bound(counts["better"], options.decisions)
            print(json.dumps({"case": name, "n": n, **rates, "lower bound": round(bound, 4)}), flush=True)


if __name__ == "__main__":
    main()
