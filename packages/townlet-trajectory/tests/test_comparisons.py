"""Comparisons of scores, against numbers worked out by hand."""

import numpy as np
import pytest
from strategies import scores

from townlet_trajectory.errors import EvaluationError
from townlet_trajectory.evaluation.comparisons import compare, normalized, paired_differences, summarize
from townlet_trajectory.evaluation.scores import EpisodeScores


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
