import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_behavior import urgent_need

EVERYTHING = np.ones((1, 3), np.bool_)


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        ([0.1, 0.1, 0.1], 0),  # all press: hunger is first, whatever presses more
        ([0.9, 0.3, 0.1], 1),
        ([0.9, 0.9, 0.1], 2),
        ([0.9, 0.9, 0.9], -1),
        ([0.4, 0.9, 0.9], -1),  # at the threshold is not below it
    ],
)
def test_the_first_need_below_its_threshold(needs: list[float], expected: int) -> None:
    assert urgent_need(np.array([needs], np.float32), (0.4, 0.4, 0.4), EVERYTHING).tolist() == [expected]


def test_each_need_has_its_own_threshold() -> None:
    needs = np.array([[0.5, 0.5, 0.5]], np.float32)
    assert urgent_need(needs, (0.4, 0.4, 0.6), EVERYTHING).tolist() == [2]


def test_a_need_that_nothing_satisfies_is_passed_over() -> None:
    needs = np.zeros((2, 3), np.float32)
    satisfiable = np.array([[False, False, True], [False, False, False]])
    assert urgent_need(needs, (0.4, 0.4, 0.4), satisfiable).tolist() == [2, -1]


@pytest.mark.property
@given(st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 3, *[st.booleans()] * 3), min_size=1, max_size=5))
def test_like_one_agent_at_a_time(rows: list[tuple[float, ...]]) -> None:
    thresholds = (0.25, 0.5, 0.75)
    expected = [next((k for k in range(3) if row[k] < thresholds[k] and row[3 + k]), -1) for row in rows]
    table = np.array(rows)
    assert urgent_need(table[:, :3].astype(np.float32), thresholds, table[:, 3:] > 0).tolist() == expected
