"""The table of scores and the paired differences."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from report_samples import SAMPLE

from townlet_runtime.report.data import read_run
from townlet_runtime.report.scores import (
    ScoreRow,
    differences,
    fixed,
    normalized,
    number,
    score_of,
    score_rows,
    shared_decimals,
    zero_of,
)
from townlet_runtime.runs.records import Score


def score(mean: float) -> Score:
    return Score(mean=mean, iqm=mean, ci=(mean - 1, mean + 1))


def test_normalized_by_hand() -> None:
    scores = {"idle": score(-100.0), "scripted": score(100.0)}
    assert normalized(scores, -100.0) == 0.0
    assert normalized(scores, 100.0) == 1.0
    assert normalized(scores, 150.0) == 1.25


def test_where_nobody_idles_chance_is_zero() -> None:
    scores = {"random": score(10.0), "scripted": score(30.0)}
    assert normalized(scores, 25.0) == 0.75
    assert zero_of(scores) == "random"
    assert zero_of([*scores, "idle"]) == "idle"
    assert zero_of(["learned"]) is None


def test_there_is_no_scale_without_both_ends_or_upside_down() -> None:
    assert normalized({"idle": score(0.0)}, 1.0) is None
    assert normalized({"scripted": score(0.0)}, 1.0) is None
    assert normalized({"idle": score(1.0), "scripted": score(1.0)}, 1.0) is None


def test_score_of_by_hand() -> None:
    # Interquartile mean of 8: the middle four, (2 + 3 + 4 + 5) / 4.
    found = score_of(np.array([100.0, 5.0, 3.0, 4.0, 2.0, 1.0, 0.0, 6.0]))
    assert (found.mean, found.iqm) == (15.125, 3.5)
    assert found.ci[0] < 15.125 < found.ci[1]
    assert score_of(np.array([2.0])) == Score(mean=2.0, iqm=2.0, ci=(2.0, 2.0))


def test_the_bootstrap_interval_is_near_the_normal_one() -> None:
    returns = np.random.default_rng(5).normal(10.0, 2.0, size=200)
    half = 1.96 * returns.std() / np.sqrt(200)
    assert score_of(returns).ci == pytest.approx((returns.mean() - half, returns.mean() + half), abs=0.02)


def test_stated_scores_are_taken_and_the_clone_is_worked_out() -> None:
    run = read_run(SAMPLE)
    assert run.evaluation is not None
    rows = {row.policy: row for row in score_rows(run.summary, run.evaluation)}
    assert list(rows) == ["learned", "scripted", "nearest", "idle", "random", "clone"]
    assert rows["learned"].score.mean == run.summary.eval_return_mean
    assert rows["idle"].score == run.evaluation.baselines["idle"]
    assert rows["clone"].score == score_of(np.array(run.evaluation.final.clone))
    assert (rows["idle"].normalized, rows["scripted"].normalized) == (0.0, 1.0)


def test_without_an_evaluation_only_the_summary_speaks() -> None:
    summary = read_run(SAMPLE).summary
    (row,) = score_rows(summary, None)
    assert (row.policy, row.normalized) == ("learned", None)
    assert score_rows(dataclasses.replace(summary, eval_return_mean=None), None) == ()


def test_differences_are_learned_minus_the_other() -> None:
    evaluation = read_run(SAMPLE).evaluation
    assert evaluation is not None
    assert evaluation.final.scripted is not None
    found = differences(evaluation.final)
    assert [difference.other for difference in found] == ["scripted", "nearest"]
    assert found[0].values[0] == evaluation.final.learned[0] - evaluation.final.scripted[0]
    assert float(found[0].values.mean()) == pytest.approx(evaluation.final.paired["scripted"].mean)
    alone = dataclasses.replace(evaluation.final, scripted=None, paired={})
    assert differences(alone) == ()


def test_without_a_script_the_difference_is_that_from_chance() -> None:
    evaluation = read_run(SAMPLE).evaluation
    assert evaluation is not None and evaluation.final.random is not None
    paired = {"random": evaluation.final.paired["scripted"]}
    (found,) = differences(dataclasses.replace(evaluation.final, scripted=None, nearest=None, paired=paired))
    assert found.other == "random"
    assert found.values[0] == evaluation.final.learned[0] - evaluation.final.random[0]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.56, "1,234.6"), (-12.345, "\N{MINUS SIGN}12.3"), (0.0, "0.00"), (9.876, "9.88"), (0.00123, "0.0012")],
)
def test_numbers_for_a_reader(value: float, text: str) -> None:
    assert number(value) == text


def test_a_sign_where_asked() -> None:
    assert number(3.0, sign=True) == "+3.00"


@pytest.mark.parametrize(
    ("widths", "decimals"), [((2.0,), 1), ((0.5, 0.063), 2), ((0.0, 0.2), 1), ((1e-9,), 4), ((0.0,), 1), ((), 1)]
)
def test_a_column_shows_its_narrowest_interval(widths: tuple[float, ...], decimals: int) -> None:
    scores = [Score(mean=0.0, iqm=0.0, ci=(0.0, width)) for width in widths]
    rows = [ScoreRow(policy="learned", score=each, normalized=None) for each in scores]
    assert shared_decimals(rows) == decimals


def test_a_column_lines_up() -> None:
    assert [fixed(value, 2) for value in (1234.5, -0.036, 0.0)] == ["1,234.50", "\N{MINUS SIGN}0.04", "0.00"]
