"""Round edges, full bars and 80 columns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_trajectory.audit.describe import WIDTH, Bar, bar_lines, binned, short


def bins(values: list[float], max_bins: int = 8) -> list[tuple[str, int]]:
    return [(bar.label, bar.count) for bar in binned(np.array(values, np.float64), max_bins=max_bins)]


def test_whole_numbers_have_whole_edges() -> None:
    assert bins([1, 2, 2, 4]) == [("1", 1), ("2", 2), ("3", 0), ("4", 1)]
    assert bins([3, 25, 29, 30, 59]) == [
        ("0 to 9", 1),
        ("10 to 19", 0),
        ("20 to 29", 2),
        ("30 to 39", 1),
        ("40 to 49", 0),
        ("50 to 59", 1),
    ]


def test_other_numbers_have_round_edges_too() -> None:
    assert bins([-0.13, 0.0, 0.31]) == [
        ("-0.2 to -0.1", 1),
        ("-0.1 to 0.0", 0),
        ("0.0 to 0.1", 1),
        ("0.1 to 0.2", 0),
        ("0.2 to 0.3", 0),
        ("0.3 to 0.4", 1),
    ]
    assert bins([1500.5, 9500.0], max_bins=3) == [("0 to 5,000", 1), ("5,000 to 10,000", 1)]


def test_there_are_never_more_bins_than_asked_for() -> None:
    assert bins([1e30, -1.0], max_bins=2) == [("-2e+30 to -1", 1), ("0 to 2e+30", 1)]


def test_equal_numbers_are_one_bin() -> None:
    assert bins([7, 7, 7]) == [("7", 3)]
    assert bins([-0.25, -0.25]) == [("-0.250", 2)]


def test_bars_by_hand() -> None:
    lines = bar_lines([Bar(label="wait", count=750), Bar(label="eat", count=249), Bar(label="go", count=1)])
    assert lines == [
        "  wait  " + "█" * 32 + "   75.0%          750",
        "  eat   " + "█" * 11 + " " * 21 + "   24.9%          249",
        "  go    " + "▏" + " " * 31 + "    0.1%            1",
    ]


def test_bars_of_a_total() -> None:
    (line,) = bar_lines([Bar(label="vetoed", count=5)], total=10)
    assert line == "  vetoed  " + "█" * 16 + " " * 16 + "   50.0%            5"


def test_nothing_has_no_bar() -> None:
    assert bar_lines([Bar(label="none", count=0)]) == ["  none  " + " " * 32 + "    0.0%            0"]


def test_long_labels_are_cut_and_the_bars_shrink() -> None:
    lines = bar_lines([Bar(label="a" * 50, count=10**9), Bar(label="b", count=1)])
    assert all(len(line) == WIDTH for line in lines)
    assert lines[0].startswith("  " + "a" * 35 + "…  ██")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-0.0, "0"), (1234567.0, "1,234,567"), (0.123456, "0.1235"), (1e30, "1e+30"), (-2.5, "-2.5")],
)
def test_short_numbers(value: float, text: str) -> None:
    assert short(value) == text


@pytest.mark.property
@given(
    st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=50) | st.lists(st.integers(-(10**9), 10**9), min_size=1),
    st.integers(2, 12),
)
def test_every_number_is_in_one_of_at_most_as_many_bins(values: list[float], max_bins: int) -> None:
    bars = binned(np.array(values, np.float64), max_bins=max_bins)
    assert sum(bar.count for bar in bars) == len(values)
    assert 1 <= len(bars) <= max_bins
    assert bars[0].count and bars[-1].count
    assert all(len(line) <= WIDTH for line in bar_lines(bars, right=True))
