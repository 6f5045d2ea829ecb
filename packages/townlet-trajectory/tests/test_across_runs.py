"""Statistics over training runs, against numbers worked out by hand, scipy, brute force, and simulations."""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from townlet_trajectory.errors import EvaluationError
from townlet_trajectory.evaluation.across_runs import (
    bootstrap_interval,
    learning_curve,
    mann_whitney_p,
    performance_profile,
    pooled_interquartile_mean,
    probability_of_improvement,
    student_interval,
    welch_interval,
)

SCORES = st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=8)


def test_students_interval_by_hand() -> None:
    # mean 2, s^2 = (1 + 0 + 1) / 2 = 1, t_2(0.975) = 4.302653: 2 +- 4.302653 / sqrt(3)
    low, high = student_interval([1.0, 2.0, 3.0], level=0.05)
    assert (low, high) == (pytest.approx(2 - 2.484138, abs=1e-6), pytest.approx(2 + 2.484138, abs=1e-6))


def test_welchs_interval_by_hand() -> None:
    # a = 1/3, b = 4/3; nu = (5/3)^2 / ((1/9)/2 + (16/9)/2) = 50/17; t_2.941(0.975) = 3.2180; half = t * sqrt(5/3)
    low, high = welch_interval([1.0, 2.0, 3.0], [2.0, 4.0, 6.0], level=0.05)
    half = float(stats.t.ppf(0.975, 50 / 17)) * math.sqrt(5 / 3)
    assert (low, high) == (pytest.approx(-2 - half), pytest.approx(-2 + half))


@given(SCORES, SCORES)
def test_scipy_computes_the_same_intervals(first: list[float], second: list[float]) -> None:
    if len(set(first)) > 1 and np.std(first) > 1e-6 * np.abs(first).max():
        judge = stats.ttest_1samp(first, 0.0).confidence_interval(0.9)
        assert student_interval(first, level=0.1) == pytest.approx((judge.low, judge.high), rel=1e-9, abs=1e-9)
        if len(set(second)) > 1 and np.std(second) > 1e-6 * np.abs(second).max():
            judge = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.9)
            assert welch_interval(first, second, level=0.1) == pytest.approx(
                (judge.low, judge.high), rel=1e-6, abs=1e-6
            )


@given(SCORES, st.floats(-100, 100, width=32), st.floats(0.5, 8.0, width=32))
def test_an_interval_moves_and_stretches_with_its_values(values: list[float], shift: float, scale: float) -> None:
    low, high = student_interval(values, level=0.05)
    moved = student_interval(scale * np.array(values) + shift, level=0.05)
    assert moved == pytest.approx((scale * low + shift, scale * high + shift), rel=1e-6, abs=1e-6)


def test_equal_runs_have_an_interval_of_no_width() -> None:
    assert student_interval([0.5] * 4, level=0.05) == (0.5, 0.5)
    assert welch_interval([0.5] * 4, [0.25] * 3, level=0.05) == (0.25, 0.25)


@pytest.mark.parametrize(
    "compute",
    [
        lambda: student_interval([1.0], level=0.05),
        lambda: welch_interval([1.0, 2.0], [1.0], level=0.05),
        lambda: mann_whitney_p([1.0], [1.0, 2.0], seed=0),
        lambda: bootstrap_interval([np.ones(3), np.ones(1)], mean_of_all, level=0.05, seed=0, num_resamples=10),
    ],
)
def test_one_run_has_no_interval(compute: Callable[[], object]) -> None:
    with pytest.raises(EvaluationError, match="needs at least 2 of them, got 1"):
        compute()


def test_numbers_that_are_not_finite_stop_here() -> None:
    with pytest.raises(EvaluationError, match="must be finite, got inf"):
        student_interval([1.0, math.inf], level=0.05)
    with pytest.raises(EvaluationError, match="must be finite, got nan"):
        bootstrap_interval([np.array([1.0, math.nan])], mean_of_all, level=0.05, seed=0, num_resamples=10)
    with np.errstate(over="ignore"), pytest.raises(EvaluationError, match="spread too far"):
        student_interval([-1e300, 1e300], level=0.05)


def mean_of_all(strata: Sequence[NDArray[np.float64]]) -> float:
    return float(np.concatenate([stratum.ravel() for stratum in strata]).mean())


def test_the_bootstrap_is_the_quantiles_of_every_resample() -> None:
    # Brute force: all 3^3 resamples of one stratum with all 2^2 of the other, each equally likely.
    first, second = np.array([0.0, 1.0, 5.0]), np.array([10.0, 30.0])
    means = [
        mean_of_all([first[list(i)], second[list(j)]])
        for i in itertools.product(range(3), repeat=3)
        for j in itertools.product(range(2), repeat=2)
    ]
    expected = np.quantile(means, [0.1, 0.9], method="inverted_cdf")
    low, high = bootstrap_interval([first, second], mean_of_all, level=0.2, seed=3, num_resamples=20_000)
    assert (low, high) == (pytest.approx(expected[0]), pytest.approx(expected[1]))


def test_strata_never_mix() -> None:
    # Each stratum is of equal runs, so every resample is the same; pooled, the interval would be wide.
    strata = [np.zeros(4), np.ones(4)]
    assert bootstrap_interval(strata, mean_of_all, level=0.05, seed=0, num_resamples=50) == (0.5, 0.5)
    low, high = bootstrap_interval([np.concatenate(strata)], mean_of_all, level=0.05, seed=0, num_resamples=500)
    assert high - low > 0.4


def test_runs_are_drawn_with_all_their_episodes() -> None:
    # Two runs whose episodes are all 0 or all 1: a resample holds 0, 1 or 2 of the latter.
    returns = np.repeat([[0.0], [1.0]], 100, axis=1)
    seen: set[float] = set()

    def note(strata: Sequence[NDArray[np.float64]]) -> float:
        seen.add(mean_of_all(strata))
        return mean_of_all(strata)

    bootstrap_interval([returns], note, level=0.05, seed=1, num_resamples=200)
    assert seen == {0.0, 0.5, 1.0}


def test_the_bootstrap_is_a_function_of_its_seed() -> None:
    values = [np.random.default_rng(0).normal(size=9)]

    def interval(seed: int) -> tuple[float, float]:
        return bootstrap_interval(values, pooled_interquartile_mean, level=0.05, seed=seed, num_resamples=200)

    assert interval(1) == interval(1) != interval(2)


def test_the_pooled_interquartile_mean_by_hand() -> None:
    # 0 0 1 2 3 4 9 9: two are cut at each end
    assert pooled_interquartile_mean([np.array([[9.0, 0.0], [1.0, 2.0]]), np.array([9.0, 0.0, 3.0, 4.0])]) == 2.5


@given(SCORES)
def test_the_interquartile_mean_of_scipy(values: list[float]) -> None:
    # `rliable.metrics.aggregate_iqm` is this call.
    ours = pooled_interquartile_mean([np.array(values)])
    assert ours == pytest.approx(stats.trim_mean(values, 0.25, axis=None), rel=1e-9, abs=1e-9)


def test_the_probability_of_improvement_by_hand() -> None:
    # Of six pairs 3 > 1, 3 > 2, 1 = 1 and 3 = 3 (halves), 1 < 2, 1 < 3.
    assert probability_of_improvement([1.0, 3.0], [1.0, 2.0, 3.0]) == 3.0 / 6.0
    assert probability_of_improvement([2.0, 3.0], [1.0]) == 1.0


@given(SCORES, SCORES)
def test_laws_of_the_probability_of_improvement(first: list[float], second: list[float]) -> None:
    there, back = probability_of_improvement(first, second), probability_of_improvement(second, first)
    assert there + back == pytest.approx(1.0)
    statistic = stats.mannwhitneyu(first, second).statistic
    assert there == pytest.approx(statistic / (len(first) * len(second)))


def test_the_p_value_by_hand() -> None:
    # Of C(6, 3) = 20 ways to choose the three best two are as extreme as complete separation.
    assert mann_whitney_p([4.0, 5.0, 6.0], [1.0, 2.0, 3.0], seed=0) == pytest.approx(2 / 20)
    assert mann_whitney_p([1.0, 1.0], [1.0, 1.0], seed=0) == 1.0


def test_the_p_value_counts_permutations_with_ties() -> None:
    # Twice the smaller tail, over all C(7, 4) ways to choose the first.
    first, second = [1.0, 2.0, 2.0, 3.0], [2.0, 4.0, 4.0]
    pooled = np.array(first + second)
    found = probability_of_improvement(first, second)
    everything = [
        probability_of_improvement(pooled[list(chosen)], np.delete(pooled, chosen))
        for chosen in itertools.combinations(range(7), 4)
    ]
    tail = np.mean(np.array(everything) <= found + 1e-12)
    assert tail < 0.5
    assert mann_whitney_p(first, second, seed=0) == pytest.approx(2.0 * tail)


def test_the_profile_by_hand() -> None:
    profile = performance_profile([1.0, 2.0, 3.0], [0.0, 1.0, 2.5, 9.0], level=0.05)
    # above means above: a score of 1 is not above 1
    assert profile.share.tolist() == [1.0, 2 / 3, 1 / 3, 0.0]
    # All of three: the lower end p solves p^3 = 0.025. None of three: the upper one is its mirror.
    assert profile.low[0] == pytest.approx(0.025 ** (1 / 3)) and profile.high[0] == 1.0
    assert profile.high[3] == pytest.approx(1 - 0.025 ** (1 / 3)) and profile.low[3] == 0.0
    # Two of three: 3 p^2 (1 - p) + p^3 = 0.025 at the lower end.
    low = profile.low[1]
    assert 3 * low**2 * (1 - low) + low**3 == pytest.approx(0.025)


@given(SCORES, st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=6).map(sorted))
def test_laws_of_the_profile(scores: list[float], thresholds: list[float]) -> None:
    profile = performance_profile(scores, thresholds, level=0.1)
    assert np.all(np.diff(profile.share) <= 0.0)
    assert np.all((profile.low <= profile.share) & (profile.share <= profile.high))
    for at, share, low, high in zip(thresholds, profile.share, profile.low, profile.high, strict=True):
        above = sum(score > at for score in scores)
        assert share == above / len(scores)
        judge = stats.binomtest(above, len(scores)).proportion_ci(0.9, method="exact")
        assert (low, high) == (pytest.approx(judge.low, abs=1e-9), pytest.approx(judge.high, abs=1e-9))


def test_thresholds_ascend() -> None:
    with pytest.raises(EvaluationError, match="ascending"):
        performance_profile([1.0], [1.0, 0.0], level=0.05)


def test_a_curve_by_hand() -> None:
    # The second run is measured from step 5 to step 25: at 10 and 20 it is 1.5 and 2.5 between its points.
    curve = learning_curve([([0, 10, 20], [0.0, 4.0, 8.0]), ([5, 25], [1.0, 3.0])], level=0.05)
    assert curve.env_steps.tolist() == [5.0, 10.0, 20.0]
    assert curve.mean.tolist() == [(2.0 + 1.0) / 2, (4.0 + 1.5) / 2, (8.0 + 2.5) / 2]
    assert (curve.low[1], curve.high[1]) == student_interval([4.0, 1.5], level=0.05)


def test_of_two_points_at_one_step_the_last_counts() -> None:
    curve = learning_curve([([0, 5, 5, 9], [0.0, 1.0, 3.0, 4.0])], level=0.05)
    assert curve.mean.tolist() == [0.0, 3.0, 4.0]
    assert np.isnan(curve.low).all() and np.isnan(curve.high).all()


@pytest.mark.parametrize(
    ("points", "problem"),
    [
        ([], "at least one run"),
        ([([0, 1], [0.0, 1.0]), ([2, 3], [0.0, 1.0])], "no step in common: one begins at 2, one ends at 1"),
        ([([1, 0], [0.0, 1.0])], "never fall"),
        ([([0, 1], [0.0])], "a value for each of its 2 steps"),
    ],
)
def test_curves_that_do_not_meet_are_refused(points: list[tuple[list[float], list[float]]], problem: str) -> None:
    with pytest.raises(EvaluationError, match=problem):
        learning_curve(points, level=0.05)


def test_the_intervals_cover_as_often_as_their_table_says() -> None:
    # Five normal runs, 400 times: 95 % have deviation 1.1, 90 % have 1.5.
    rng = np.random.default_rng(5)
    student = bootstrap = 0
    for index in range(400):
        runs = rng.normal(size=5)
        low, high = student_interval(runs, level=0.05)
        student += low <= 0.0 <= high
        low, high = bootstrap_interval([runs], pooled_interquartile_mean, level=0.05, seed=index, num_resamples=300)
        bootstrap += low <= 0.0 <= high
    assert 0.91 <= student / 400 <= 0.985
    assert 0.85 <= bootstrap / 400 <= 0.945


def test_episodes_of_one_run_are_no_runs() -> None:
    # Runs differ, episodes hardly do. A bootstrap of whole runs covers; one that pools all episodes does not.
    rng = np.random.default_rng(8)
    whole = pooled = 0
    for index in range(200):
        returns = rng.normal(size=(10, 1)) + 0.1 * rng.normal(size=(10, 20))
        low, high = bootstrap_interval([returns], mean_of_all, level=0.05, seed=index, num_resamples=200)
        whole += low <= 0.0 <= high
        low, high = bootstrap_interval([returns.ravel()], mean_of_all, level=0.05, seed=index, num_resamples=200)
        pooled += low <= 0.0 <= high
    assert whole / 200 > 0.8
    assert pooled / 200 < 0.6
