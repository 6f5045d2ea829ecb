import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_behavior import pressing_needs
from townlet_behavior.needs import ENERGY, HUNGER, HYGIENE


def test_by_hand() -> None:
    needs = np.array([[0.1, 0.9, 0.5], [0.4, 0.39, 0.6]], np.float32)
    pressing = pressing_needs(needs, np.array([0.4, 0.4, 0.6], np.float32))
    # Each need has its own threshold; at the threshold it does not press.
    assert pressing.tolist() == [[True, False, True], [False, True, False]]
    assert (HUNGER, HYGIENE, ENERGY) == (0, 1, 2)


@pytest.mark.property
@given(st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 3), min_size=1, max_size=5))
def test_like_one_agent_at_a_time(rows: list[tuple[float, ...]]) -> None:
    thresholds = (0.25, 0.5, 0.75)
    expected = [[need < threshold for need, threshold in zip(row, thresholds, strict=True)] for row in rows]
    assert pressing_needs(np.array(rows, np.float32), np.array(thresholds, np.float32)).tolist() == expected
