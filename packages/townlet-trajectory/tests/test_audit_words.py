"""Numbers as people read them."""

import math

import pytest

from townlet_trajectory.audit.words import percent, short, ticks


def test_shares_and_ticks_in_words() -> None:
    assert [percent(share) for share in (1.0, 0.12345, math.exp(-12))] == ["100 %", "12.3 %", "0.000614 %"]
    assert [ticks(count) for count in (1, 2, 1200)] == ["1 tick", "2 ticks", "1,200 ticks"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-0.0, "0"), (1234567.0, "1,234,567"), (0.123456, "0.1235"), (1e30, "1e+30"), (-2.5, "-2.5")],
)
def test_short_numbers(value: float, text: str) -> None:
    assert short(value) == text
