import pytest
from strategies import bools, ints

from townlet_behavior import time_to_leave


@pytest.mark.parametrize(
    ("tick_of_day", "shift_start", "at_workplace", "expected"),
    [
        (79, 100, False, False),
        (80, 100, False, True),  # shift_start - arrival_buffer
        (99, 100, False, True),
        (100, 100, False, False),  # the shift has begun
        (90, 100, True, False),
        (5, 10, False, True),  # a window that begins before the day does
        (0, -1, False, False),  # no job
    ],
)
def test_the_window_before_a_shift(tick_of_day: int, shift_start: int, at_workplace: bool, expected: bool) -> None:
    leave = time_to_leave(ints(tick_of_day), ints(shift_start), bools(at_workplace), arrival_buffer=20)
    assert leave.tolist() == [expected]
