"""Whether every element is finite."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from townlet_trajectory import NonFiniteError
from townlet_trajectory.audit.content import RowSample
from townlet_trajectory.data.checks import is_finite, refuse_infinite
from townlet_trajectory.errors import ShapeError

GREATEST = float(np.finfo(np.float32).max)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(
    st_numpy.arrays(
        st.sampled_from([np.float32, np.float64]),
        st_numpy.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4),
        elements=st.one_of(st.floats(width=32), st.sampled_from([GREATEST, -GREATEST, 0.0])),
    )
)
def test_as_looking_at_each(column: np.ndarray) -> None:
    assert is_finite(column) == np.isfinite(column).all()


@pytest.mark.parametrize(
    ("values", "expected"), [([GREATEST, -GREATEST], True), ([1, np.inf], False), ([np.nan, 0], False), ([], True)]
)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_where_warnings_are_errors(values: list[float], expected: bool) -> None:
    assert is_finite(np.array(values, np.float32)) == expected


def test_the_first_one_is_named() -> None:
    column = np.array([[1, 2], [3, -np.inf], [np.nan, 4]], np.float32)
    with pytest.raises(NonFiniteError, match="`x` must be finite, got -inf at tick 8, row 1"):
        refuse_infinite("x", column, 8)


def sampled(num_rows: int, max_rows: int, block_rows: int) -> np.ndarray:
    sample = RowSample(max_rows)
    for first in range(0, num_rows, block_rows):
        rows = np.arange(first, min(num_rows, first + block_rows))
        sample.add({"row": rows, "pair": np.stack((rows, -rows), axis=1)})
    columns = sample.columns()
    np.testing.assert_array_equal(columns["pair"], np.stack((columns["row"], -columns["row"]), axis=1))
    return columns["row"]


def test_few_rows_are_all_kept() -> None:
    np.testing.assert_array_equal(sampled(7, 10, 3), np.arange(7))


def test_before_the_first_block_there_is_no_column() -> None:
    assert RowSample(5).columns() == {}


def test_the_rows_are_evenly_spread_also_over_every_seventh() -> None:
    rows = sampled(100_000, 1_000, 4_096)
    assert len(rows) == 1_000
    # A thousandth of 100,000 rows is 100 rows; the gaps of a golden-ratio sequence have at most three lengths.
    assert len(set(np.diff(rows).tolist())) <= 3
    np.testing.assert_allclose(np.bincount(rows % 7), 1_000 / 7, rtol=0.1)
    np.testing.assert_allclose(np.bincount(rows // 10_000), 100, rtol=0.05)


def test_a_sample_needs_room_for_a_row() -> None:
    with pytest.raises(ShapeError, match="`max_rows` must be at least 1, got 0"):
        RowSample(0)


@given(st.integers(1, 500), st.integers(1, 60), st.integers(1, 100), st.integers(1, 100))
def test_how_the_stream_is_cut_changes_nothing(num_rows: int, max_rows: int, one: int, other: int) -> None:
    rows = sampled(num_rows, max_rows, one)
    np.testing.assert_array_equal(rows, sampled(num_rows, max_rows, other))
    assert len(rows) == min(num_rows, max_rows)
    assert np.all(np.diff(rows) > 0)
