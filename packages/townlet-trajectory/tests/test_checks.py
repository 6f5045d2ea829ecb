"""Whether every element is finite."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from townlet_trajectory import NonFiniteError
from townlet_trajectory.data.checks import is_finite, refuse_infinite

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
