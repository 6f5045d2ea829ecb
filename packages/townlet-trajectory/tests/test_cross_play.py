"""Mean returns of policies that meet in the roles of agent groups."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_trajectory.errors import EvaluationError
from townlet_trajectory.evaluation.comparisons import mean_interval
from townlet_trajectory.evaluation.cross_play import MeanReturn, cross_play

NAMES = ("new", "old", "script")


def test_means_and_standings_by_hand() -> None:
    returns = {
        (0, 0): [1.0, 3.0],
        (0, 1): [5.0, 7.0],
        (0, 2): [1.0, 1.0],
        (1, 0): [0.0, 2.0],
        (2, 1): [4.0, 4.0],
        (2, 2): [9.0, 9.0],
    }
    found = cross_play("cat", NAMES, returns, seed=0, num_resamples=100)
    assert (found.group, found.policies) == ("cat", NAMES)
    means = [[None if cell is None else cell.mean for cell in row] for row in found.returns]
    assert means == [[2.0, 6.0, 1.0], [1.0, None, None], [None, 4.0, 9.0]]
    # of the others alone: new met old and script, (5 + 1) / 2 and (7 + 1) / 2; script met old
    assert [None if one is None else one.mean for one in found.standings] == [3.5, 1.0, 4.0]
    assert found.standings[2] == MeanReturn(mean=4.0, ci=(4.0, 4.0))


def test_a_policy_that_met_nobody_has_no_standing() -> None:
    found = cross_play("cat", ("new",), {(0, 0): [1.0, 2.0]}, seed=0, num_resamples=100)
    assert found.standings == (None,)


def test_the_interval_of_a_standing_is_over_episodes_with_all_opponents_in_each() -> None:
    # what one opponent gives the other takes: no episode differs from another
    returns = {(0, 1): [0.0, 10.0, 4.0], (0, 2): [10.0, 0.0, 6.0]}
    standing = cross_play("cat", NAMES, returns, seed=0, num_resamples=100).standings[0]
    assert standing == MeanReturn(mean=5.0, ci=(5.0, 5.0))


@given(st.lists(st.lists(st.floats(-1e3, 1e3), min_size=5, max_size=5), min_size=2, max_size=2))
def test_a_cell_is_the_mean_of_its_episodes_and_a_standing_the_mean_of_its_cells(rows: list[list[float]]) -> None:
    found = cross_play("cat", NAMES, {(0, 1): rows[0], (0, 2): rows[1]}, seed=3, num_resamples=100)
    cells = [cell for cell in found.returns[0] if cell is not None]
    assert [cell.mean for cell in cells] == [pytest.approx(float(np.mean(row))) for row in rows]
    assert cells[0].ci == mean_interval(rows[0], level=0.05, seed=3, num_resamples=100)
    standing = found.standings[0]
    assert standing is not None
    assert standing.mean == pytest.approx(sum(cell.mean for cell in cells) / 2)
    assert standing.ci[0] <= standing.mean + 1e-9
    assert standing.mean - 1e-9 <= standing.ci[1]


def test_pairs_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(EvaluationError, match=r"every pair must play as many episodes, got \[2, 3\]"):
        cross_play("cat", NAMES, {(0, 1): [1.0, 2.0], (1, 0): [1.0, 2.0, 3.0]}, seed=0, num_resamples=100)
    with pytest.raises(EvaluationError, match=r"pairs of the 3 policies, got \(0, 3\)"):
        cross_play("cat", NAMES, {(0, 3): [1.0, 2.0]}, seed=0, num_resamples=100)
