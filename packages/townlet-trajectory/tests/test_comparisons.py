"""Statistics of independent values, against numbers worked out by hand, a bootstrap written out, and simulations."""

import itertools
import subprocess
import sys
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import bootstrap
from strategies import scores

from townlet_trajectory.errors import EvaluationError
from townlet_trajectory.evaluation.comparisons import (
    MIN_EPISODES,
    MIN_FLIPPED,
    compare,
    difference_interval,
    interquartile_mean,
    mean_interval,
    mean_upper_bound,
    normalized,
    paired_differences,
    skewed_interval,
    summarize,
    symmetric_interval,
    worst_tenth_mean,
)
from townlet_trajectory.evaluation.interfaces import EpisodeScores


def test_interquartile_mean_by_hand() -> None:
    # Of nine values two are cut at each end, -100, 1 and 7, 100: (2 + 3 + 4 + 5 + 6) / 5.
    assert interquartile_mean(np.array([100.0, 1, 2, 3, 4, 5, 6, 7, -100])) == 4.0
    assert interquartile_mean(np.array([0.0, 1.0, 3.0, 1000.0])) == 2.0


def test_worst_tenth_by_hand() -> None:
    assert worst_tenth_mean(np.array([5.0, 4.0, 3.0])) == 3.0
    assert worst_tenth_mean(np.arange(10, 0, -1, dtype=np.float64)) == 1.0
    # A tenth of eleven, rounded up, is two.
    assert worst_tenth_mean(np.array([9.0, 1, 9, 2, 9, 9, 9, 9, 9, 9, 9])) == 1.5


def test_the_interval_agrees_with_the_normal_one_on_symmetric_data() -> None:
    values = np.random.default_rng(3).normal(5.0, 2.0, size=400)
    half = 1.96 * values.std(ddof=1) / 20.0
    low, high = mean_interval(values, level=0.05, seed=1, num_resamples=10_000)
    assert low == pytest.approx(values.mean() - half, abs=0.02)
    assert high == pytest.approx(values.mean() + half, abs=0.02)


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(11)
    covered = 0
    for run in range(300):
        low, high = mean_interval(rng.exponential(size=60), level=0.1, seed=run, num_resamples=500)
        covered += low <= 1.0 <= high
    # Binomial(300, 0.9) has deviation 5.2; skewed data of 60 cost a little.
    assert 252 <= covered <= 285


def test_a_smaller_level_gives_a_wider_interval() -> None:
    values = np.random.default_rng(0).normal(size=30)
    low, high = mean_interval(values, level=0.05, seed=1, num_resamples=5000)
    lower, higher = mean_interval(values, level=0.005, seed=1, num_resamples=5000)
    assert lower < low < values.mean() < high < higher


def test_the_interval_is_a_function_of_its_seed() -> None:
    values = np.random.default_rng(0).normal(size=30)
    first = mean_interval(values, level=0.05, seed=1, num_resamples=200)
    assert mean_interval(values, level=0.05, seed=1, num_resamples=200) == first
    assert mean_interval(values, level=0.05, seed=2, num_resamples=200) != first


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert mean_interval(np.full(7, 0.1), level=0.05, seed=1, num_resamples=200) == (0.1, 0.1)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=30))
def test_the_interval_is_finite_and_within_the_data(values: list[float]) -> None:
    low, high = mean_interval(np.array(values), level=0.01, seed=1, num_resamples=200)
    slack = 1e-9 * (1.0 + max(abs(value) for value in values))
    assert min(values) - slack <= low <= high <= max(values) + slack


def test_one_value_has_no_interval() -> None:
    with pytest.raises(EvaluationError, match="at least 2"):
        mean_interval(np.array([1.0]), level=0.05, seed=1, num_resamples=100)


def interval(values: NDArray[np.float64] | list[float], seed: int = 1) -> tuple[float, float]:
    return mean_interval(np.array(values, np.float64), level=0.05, seed=seed, num_resamples=400)


def bca_by_hand(values: NDArray[np.float64], resamples: NDArray[np.float64], level: float) -> list[float]:
    """Efron 1987, eq. 2.3 and 6.6, written out with the normal distribution of the standard library."""
    normal, mean = NormalDist(), float(values.mean())
    bias = normal.inv_cdf(float(np.mean((resamples < mean) + 0.5 * (resamples == mean))))
    deviations = values - mean
    acceleration = float((deviations**3).sum() / (6.0 * (deviations**2).sum() ** 1.5))
    ends = [bias + normal.inv_cdf(share) for share in (level / 2, 1 - level / 2)]
    shares = [normal.cdf(bias + end / (1 - acceleration * end)) for end in ends]
    return np.quantile(resamples, shares).tolist()


def test_the_interval_is_the_formula_of_its_source() -> None:
    values = np.random.default_rng(4).exponential(size=20)
    resamples = np.random.default_rng(9).choice(values, size=(200_000, 20)).mean(axis=1)
    expected = bca_by_hand(values, resamples, 0.1)
    assert mean_interval(values, level=0.1, seed=2, num_resamples=50_000) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("count", [3, 10, 100])
@pytest.mark.parametrize("level", [0.05, 0.2])
def test_the_interval_is_that_of_scipy(count: int, level: float) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        values = rng.exponential(size=count) if seed % 2 else rng.integers(-3, 4, count) + np.arange(count) % 2 / 2
        # The same numbers for both, so that ties among the means are the same.
        magnitude = np.abs(values).max()
        center = (values / magnitude).mean()
        spread = np.abs(values / magnitude - center).max()
        expected = bootstrap(
            ((values / magnitude - center) / spread,),
            np.mean,
            confidence_level=1.0 - level,
            n_resamples=999,
            method="BCa",
            rng=np.random.default_rng(seed),
        ).confidence_interval
        ends = [(center + spread * end) * magnitude for end in expected]
        found = mean_interval(values, level=level, seed=seed, num_resamples=999)
        assert found == pytest.approx(ends, rel=1e-12, abs=1e-12)


def test_intervals_import_no_more_than_they_need() -> None:
    code = "import sys; from townlet_trajectory.evaluation.interfaces import EpisodeScores; "
    code += "from townlet_trajectory.evaluation.comparisons import compare, summarize; "
    code += "scores = EpisodeScores.of(returns=[3.0, 1.0, 8.0, 6.0], seeds=[1, 2, 3, 4]); "
    code += "summarize(scores, seed=0, num_resamples=99), compare(scores, scores, seed=0, num_resamples=99); "
    code += "raise SystemExit(str({'scipy.stats', 'scipy.optimize', 'pandas'} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_one_resample_has_no_interval() -> None:
    with pytest.raises(EvaluationError, match="the bootstrap interval of 3 values is"):
        mean_interval([0.0, 1.0, 5.0], level=0.05, seed=1, num_resamples=1)


@pytest.mark.parametrize("magnitude", [0.5, 1e3, 1e9])
def test_differences_that_are_equal_but_for_rounding_have_an_interval_of_no_width(magnitude: float) -> None:
    # Ten agents share whole numbers; the candidate earns exactly 1 more in each of 16 episodes.
    sums = np.random.default_rng(0).integers(5, 8, size=16) + np.floor(10 * magnitude)
    differences = (sums + 1) / 10 - sums / 10
    assert np.ptp(differences) > 0.0
    low, high = interval(differences)
    assert differences.min() <= low <= high <= differences.max()
    assert low == pytest.approx(0.1, abs=1e-15 * 10 * magnitude + 1e-15)


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e300])
def test_the_interval_has_the_unit_of_the_values(scale: float) -> None:
    values = np.random.default_rng(2).exponential(size=12)
    low, high = interval(values)
    assert interval(values * scale) == pytest.approx((low * scale, high * scale), rel=1e-9)
    assert interval(-values * scale)[0] >= -values.max() * scale


@pytest.mark.parametrize(
    "values",
    [
        [0.0, 1.0],
        [5.0, 5.0 + 1e-15],
        [1e308, -1e308],
        [1.7e308] * 9 + [1.6e308],
        [5e-324, 0.0, 0.0],
        [0.0] * 99 + [1.0],
        [0.0] * 9 + [-1e12],
        [1e16] * 9 + [1e16 + 2],
        [1.0] + [1.0 + 2e-16 * each for each in range(9)],
    ],
)
def test_degenerate_values_have_an_interval(values: list[float]) -> None:
    for seed in range(3):
        low, high = interval(values, seed)
        assert min(values) <= low <= high <= max(values)


def test_few_episodes_are_why_there_is_a_floor() -> None:
    # Of 300, the deviation of a share of 0.9 is 0.017. At n = 2 half of the intervals miss.
    shares = {}
    for size in (2, 5, MIN_EPISODES):
        rng = np.random.default_rng(size)
        intervals = [interval(rng.normal(size=size), seed) for seed in range(300)]
        shares[size] = np.mean([low <= 0.0 <= high for low, high in intervals])
    assert shares[2] < 0.6
    assert shares[5] < 0.87
    assert shares[MIN_EPISODES] > 0.86


def test_the_symmetric_interval_by_hand() -> None:
    # The 64 means of the subsets of 1..6 begin none, 1, 1.5, 2, 2, 2, 7/3, 5/2, 5/2, 5/2; a share of 0.125 are eight.
    values = np.arange(1.0, 7.0)
    low, high = symmetric_interval(values, level=0.25, seed=0, num_resamples=100)
    assert (low, high) == (2.5, 4.5)
    assert symmetric_interval(values, level=0.05, seed=0, num_resamples=100) == (1.0, 6.0)


def flipped_share(values: NDArray[np.float64], mean: float) -> float:
    """The test written out: over all signs, how often the sum about `mean` is at least the one that was seen."""
    about = values - mean
    sums = [float(np.dot(signs, about)) for signs in itertools.product((1.0, -1.0), repeat=len(values))]
    return float(np.mean([total >= about.sum() - 1e-9 for total in sums]))


@pytest.mark.parametrize("size", [6, 8, 9])
def test_the_symmetric_interval_is_what_the_sign_flip_test_does_not_reject(size: int) -> None:
    values = np.random.default_rng(size).exponential(size=size)
    low, high = symmetric_interval(values, level=0.1, seed=0, num_resamples=100)
    assert flipped_share(values, low - 1e-6) <= 0.05 < flipped_share(values, low + 1e-6)
    assert flipped_share(-values, -high - 1e-6) <= 0.05 < flipped_share(-values, -high + 1e-6)


def test_drawn_subsets_are_near_all_of_them() -> None:
    values = np.random.default_rng(6).normal(size=14)
    every = [values[[bool(code >> at & 1) for at in range(14)]].mean() for code in range(1, 2**14)]
    drawn = symmetric_interval(values, level=0.1, seed=3, num_resamples=40_000)
    assert drawn == pytest.approx(np.quantile(every, [0.05, 0.95]), abs=0.01)
    assert symmetric_interval(values, level=0.1, seed=3, num_resamples=40_000) == drawn
    assert symmetric_interval(values, level=0.1, seed=4, num_resamples=40_000) != drawn


def test_the_skewed_interval_of_symmetric_values_is_students() -> None:
    # s = 1 and n = 3: 2 ± t(0.975, 2) / sqrt(3), t = 4.302653.
    assert skewed_interval(np.array([1.0, 2.0, 3.0]), level=0.05) == pytest.approx(
        (2 - 2.484138, 2 + 2.484138), abs=1e-6
    )


def test_the_skewed_interval_solves_the_equation_of_its_source() -> None:
    # mean 1, s = sqrt(3), skewness 2 / 2^1.5 = 0.707107, t(0.9, 2) = 1.885618.
    values, skewness = np.array([0.0, 0.0, 3.0]), 0.7071067811865476
    ends = skewed_interval(values, level=0.2)
    for end, sign in zip(ends, (1.0, -1.0), strict=True):
        t = (1.0 - end) / 3**0.5
        g = t + skewness * t**2 / 3 + skewness**2 * t**3 / 27 + skewness / 18
        assert g == pytest.approx(sign * 1.885618 / 3**0.5, abs=1e-6)
    assert 1.0 - ends[0] < ends[1] - 1.0  # the mean of values with a tail above is more likely to be higher


def interval_of(values: NDArray[np.float64] | list[float], num_resamples: int = 200) -> tuple[float, float]:
    return difference_interval(np.array(values, np.float64), level=0.05, seed=1, num_resamples=num_resamples)


def test_an_interval_of_differences_is_the_wider_one_at_each_end() -> None:
    values = np.random.default_rng(8).exponential(size=30)
    flipped = symmetric_interval(values, level=0.05, seed=1, num_resamples=4000)
    skewed = skewed_interval(values, level=0.05)
    assert flipped[0] < skewed[0] and flipped[1] < skewed[1]
    found = difference_interval(values, level=0.05, seed=1, num_resamples=4000)
    assert found == pytest.approx((flipped[0], skewed[1]), rel=1e-9)
    few = values[: MIN_FLIPPED - 1]
    assert interval_of(few) == pytest.approx(skewed_interval(few, level=0.05), rel=1e-9)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=30), st.integers(-9, 9))
def test_the_interval_of_differences_holds_their_mean_and_mirrors(values: list[float], power: int) -> None:
    low, high = interval_of(values)
    slack = 1e-9 * (1.0 + max(abs(value) for value in values))
    assert low - slack <= np.mean(values) <= high + slack
    assert interval_of([-value for value in values]) == pytest.approx((-high, -low), rel=1e-9, abs=slack)
    scaled = interval_of([value * 2.0**power for value in values])
    assert scaled == pytest.approx((low * 2.0**power, high * 2.0**power), rel=1e-9, abs=2.0**power * slack)


@pytest.mark.parametrize(
    "values",
    [[0.0, 1.0], [5.0, 5.0 + 1e-15], [1e308, -1e308], [1.7e308] * 9 + [1.6e308], [5e-324, 0.0, 0.0], [0.1] * 7],
)
def test_degenerate_differences_have_a_finite_interval(values: list[float]) -> None:
    low, high = interval_of(values)
    assert np.isfinite([low, high]).all() and low <= high
    assert (low == high) == (len(set(values)) == 1)


def test_a_subset_whose_mean_is_rounding_is_a_tie() -> None:
    # 8 of the 256 subsets, the empty one among them, sum to 0 or less: more than 0.025. In binary, one sums to 6e-17.
    tenths = [2, 7, -2, 2, 7, 0, 6, 4]
    subsets = (itertools.compress(tenths, code) for code in itertools.product((0, 1), repeat=8))
    assert sum(sum(part) <= 0 for part in subsets) / 256 > 0.025
    assert interval_of([each / 10 for each in tenths])[0] == 0.0


def test_an_interval_of_differences_needs_values_and_subsets() -> None:
    with pytest.raises(EvaluationError, match="at least 2 `values`, got 1"):
        interval_of([1.0])
    with pytest.raises(EvaluationError, match="`num_resamples` must be at least 39, got 38"):
        interval_of([1.0, 2.0], num_resamples=38)
    assert interval_of([1.0, 2.0], num_resamples=39)[0] < 1.5


JACKPOTS = {
    # Returns of (candidate, incumbent) with the same mean, from a generator.
    "normal": lambda rng, n: (rng.normal(size=n), rng.normal(size=n)),
    "jackpots of both": lambda rng, n: tuple(rng.normal(size=n) + 10.0 * (rng.random(n) < 0.1) for _ in range(2)),
    "jackpots of the incumbent": lambda rng, n: (
        1.0 + rng.normal(size=n),
        rng.normal(size=n) + 10.0 * (rng.random(n) < 0.1),
    ),
}


def false_wins(name: str, judge, *, num: int = 1500, size: int = 50) -> int:
    rng = np.random.default_rng(20)
    return sum(judge(np.subtract(*JACKPOTS[name](rng, size)), seed)[0] > 0.0 for seed in range(num))


def flipped(values: NDArray[np.float64], seed: int) -> tuple[float, float]:
    return symmetric_interval(values, level=0.05, seed=seed, num_resamples=200)


def corrected(values: NDArray[np.float64], seed: int) -> tuple[float, float]:
    return skewed_interval(values, level=0.05)


def both(values: NDArray[np.float64], seed: int) -> tuple[float, float]:
    return difference_interval(values, level=0.05, seed=seed, num_resamples=200)


LIMIT = 54
"""The most of 1,500 whose 99 % lower bound (Clopper and Pearson) of the rate is at most 0.025."""


def test_policies_that_do_not_differ_win_no_more_often_than_the_level_says() -> None:
    for name in JACKPOTS:
        assert false_wins(name, both) <= LIMIT, name


def test_each_of_the_two_intervals_is_needed() -> None:
    assert false_wins("jackpots of both", corrected, size=20) > LIMIT
    assert false_wins("jackpots of both", both, size=20) <= LIMIT
    assert false_wins("jackpots of the incumbent", flipped) > LIMIT


@pytest.mark.parametrize(("wrong", "size"), [(0, 10), (3, 10), (12, 40)])
def test_of_shares_the_upper_bound_is_that_of_clopper_and_pearson(wrong: int, size: int) -> None:
    # P(Binomial(n, bound) <= k) = level, the definition of their bound.
    values = np.ones(size)
    values[: size - wrong] = 0.0
    bound = mean_upper_bound(values, largest=1.0, level=0.05, seed=3)
    draws = np.random.default_rng(1).binomial(size, bound, size=200_000)
    assert np.mean(draws <= wrong) == pytest.approx(0.05, abs=0.015)


def test_the_upper_bound_of_one_value_by_hand() -> None:
    # The weight of 0.2 is uniform in (0, 1): bound = 0.2 level + 1 (1 - level).
    assert mean_upper_bound([0.2], largest=1.0, level=0.1, seed=1) == pytest.approx(0.92, abs=0.015)


def test_the_upper_bound_holds_its_level_however_skewed_the_shares_are() -> None:
    rng = np.random.default_rng(5)
    for first, second in ((9.0, 1.0), (0.9, 0.1), (0.3, 2.7)):
        mean = first / (first + second)
        missed = [
            mean_upper_bound(rng.beta(first, second, size=12), largest=1.0, level=0.1, seed=seed) < mean
            for seed in range(300)
        ]
        # Binomial(300, 0.1) has deviation 5.2.
        assert sum(missed) <= 30 + 3 * 5.2


def test_a_smaller_level_gives_a_higher_bound() -> None:
    values = np.random.default_rng(0).normal(size=20)
    bounds = [mean_upper_bound(values, largest=4.0, level=level, seed=1) for level in (0.5, 0.1, 0.01, 0.001)]
    assert all(lower < higher for lower, higher in itertools.pairwise(bounds))
    assert values.mean() < bounds[0] and bounds[-1] < 4.0


def test_a_value_above_the_largest_is_refused() -> None:
    with pytest.raises(EvaluationError, match="`largest` must be at least 2 and finite, got 1.0"):
        mean_upper_bound([0.0, 2.0], largest=1.0, level=0.1, seed=1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_are_finite(bad: float) -> None:
    with pytest.raises(EvaluationError, match="`values` must be finite"):
        interval([1.0, bad])
    with pytest.raises(EvaluationError, match="`values` must be finite"):
        mean_upper_bound([1.0, bad], largest=9.0, level=0.1, seed=1)


def test_normalized_by_hand() -> None:
    assert normalized(6.0, zero=2.0, script=10.0) == 0.5
    assert normalized(2.0, zero=2.0, script=10.0) == 0.0
    assert normalized(10.0, zero=2.0, script=10.0) == 1.0
    assert normalized(12.0, zero=2.0, script=10.0) == 1.25


@pytest.mark.parametrize("script", [2.0, 1.0])
def test_nothing_is_normalized_by_a_script_that_is_no_better_than_idling(script: float) -> None:
    assert normalized(6.0, zero=2.0, script=script) is None


def test_comparison_by_hand() -> None:
    result = compare(scores([3.0, 1.0, 8.0, 6.0]), scores([1.0, 2.0, 4.0, 7.0]), seed=1, num_resamples=1000)
    assert result.num_episodes == 4
    assert result.mean == 1.0  # of 2, -1, 4, -1
    assert result.iqm == 0.5  # of -1 and 2
    assert (result.candidate_tail, result.incumbent_tail, result.tail_difference) == (1.0, 1.0, 0.0)
    assert result.ci[0] < 1.0 < result.ci[1]


def test_rare_disasters_show_in_mean_and_tail_but_not_in_the_interquartile_mean() -> None:
    steady, reckless = np.full(100, 10.0), np.full(100, 12.0)
    reckless[:15] = -50.0
    result = compare(scores(list(reckless)), scores(list(steady)), seed=1, num_resamples=1000)
    assert result.iqm == 2.0
    assert result.mean == pytest.approx(-7.3)
    assert result.tail_difference == -60.0


def test_swapping_the_two_changes_the_sign() -> None:
    first, second = scores([3.0, 1.0, 8.0, 6.0]), scores([1.0, 2.0, 4.0, 7.0])
    forward = compare(first, second, seed=1, num_resamples=1000)
    backward = compare(second, first, seed=1, num_resamples=1000)
    assert backward.mean == -forward.mean
    assert backward.tail_difference == -forward.tail_difference


def test_a_difference_that_is_rounding_is_none() -> None:
    # 0.1 + 0.2 is not 0.3 in binary, and ten episodes of that would be a win.
    result = compare(scores([0.1 + 0.2] * 10), scores([0.3] * 10), seed=1, num_resamples=100)
    assert (result.mean, result.ci) == (0.0, (0.0, 0.0))
    assert paired_differences(scores([1.0 + 1e-11]), scores([1.0]))[0] > 0.0


def test_only_the_same_seeds_are_paired() -> None:
    with pytest.raises(EvaluationError, match=r"2147483648..2147483649 \(2\) and 2147483649..2147483650 \(2\)"):
        paired_differences(scores([1.0, 2.0]), scores([1.0, 2.0], first_seed=2**31 + 1))


def test_a_summary_holds_mean_interval_and_interquartile_mean() -> None:
    summary = summarize(scores([0.0, 1.0, 3.0, 1000.0]), seed=1, num_resamples=1000)
    assert summary.mean == 251.0
    assert summary.iqm == 2.0
    assert summary.ci[0] < 251.0 < summary.ci[1]


def test_scores_of_the_wrong_shape_are_refused() -> None:
    seeds = np.arange(2)
    with pytest.raises(EvaluationError, match="one axis"):
        EpisodeScores.of(returns=np.zeros((2, 1)), seeds=seeds)
    with pytest.raises(EvaluationError, match="`seeds`"):
        EpisodeScores.of(returns=np.zeros(3), seeds=seeds)
    with pytest.raises(EvaluationError, match="`meals`"):
        EpisodeScores.of(returns=np.zeros(2), events={"meals": np.zeros(3)}, seeds=seeds)
    with pytest.raises(EvaluationError, match="at least one episode"):
        EpisodeScores.of(returns=np.zeros(0), seeds=np.arange(0))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_are_finite(bad: float) -> None:
    with pytest.raises(EvaluationError, match="must be finite, got .* in the episode with seed 2147483649"):
        scores([1.0, bad])
