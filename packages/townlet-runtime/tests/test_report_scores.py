"""The table of scores and the paired differences."""

from __future__ import annotations

import dataclasses

import pytest
from report_samples import data_of

from townlet_runtime.report.scores import ScoreRow, differences, fixed, number, score_rows, shared_decimals
from townlet_trajectory.evaluation.comparisons import ScoreSummary
from townlet_trajectory.evaluation.results import FinalEvaluation


def only(final: FinalEvaluation, *names: str) -> FinalEvaluation:
    """`final` with these baselines alone."""
    return dataclasses.replace(
        final,
        baselines={name: final.baselines[name] for name in names},
        paired={name: final.paired[name] for name in names},
    )


def test_rows_are_the_summaries_of_the_evaluation() -> None:
    final = data_of().evaluation.final
    rows = {row.policy: row for row in score_rows(final)}
    assert list(rows) == ["learned", "scripted", "nearest", "idle", "random", "clone"]
    # the clone's as well: no interval is computed a second time, by another method
    assert all(row.score is final.summaries[name] for name, row in rows.items())
    assert (rows["idle"].normalized, rows["scripted"].normalized) == (0.0, 1.0)
    # (226.34 + 419.37) / (182.10 + 419.37)
    assert rows["learned"].normalized == pytest.approx(1.07357, abs=1e-5)


def test_without_an_idle_behavior_chance_is_zero() -> None:
    rows = {row.policy: row.normalized for row in score_rows(only(data_of().evaluation.final, "scripted", "random"))}
    assert (rows["random"], rows["scripted"]) == (0.0, 1.0)


@pytest.mark.parametrize("names", [("idle",), ("scripted",), ()])
def test_there_is_no_scale_without_both_ends(names: tuple[str, ...]) -> None:
    assert {row.normalized for row in score_rows(only(data_of().evaluation.final, *names))} == {None}


def test_differences_are_learned_minus_each_behavior_that_does_something() -> None:
    final = data_of().evaluation.final
    found = differences(final)
    assert [difference.other for difference in found] == ["scripted", "nearest"]
    assert found[0].values[0] == final.learned.returns[0] - final.baselines["scripted"].returns[0]
    assert float(found[0].values.mean()) == pytest.approx(final.paired["scripted"].mean)
    assert differences(only(final)) == ()


def test_without_a_script_the_difference_is_that_from_chance() -> None:
    final = data_of().evaluation.final
    (found,) = differences(only(final, "random", "idle"))
    assert found.other == "random"
    assert found.values[0] == final.learned.returns[0] - final.baselines["random"].returns[0]


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
    scores = [ScoreSummary(mean=0.0, iqm=0.0, ci=(0.0, width)) for width in widths]
    rows = [ScoreRow(policy="learned", score=each, normalized=None) for each in scores]
    assert shared_decimals(rows) == decimals


def test_a_column_lines_up() -> None:
    assert [fixed(value, 2) for value in (1234.5, -0.036, 0.0)] == ["1,234.50", "\N{MINUS SIGN}0.04", "0.00"]
