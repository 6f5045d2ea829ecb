"""Moments by hand, against numpy, and merged."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_trajectory import ShapeError
from townlet_trajectory.data.moments import Moments

NUMBERS = st.lists(st.floats(-(2.0**126), 2.0**126, width=32), max_size=12)


def assert_same_moments(actual: Moments, expected: Moments, *, scale: float) -> None:
    """Equal to 1e-9 of `scale`, the greatest magnitude of the numbers; counts and ranges exactly."""
    assert actual.count == expected.count
    np.testing.assert_array_equal(actual.minimum, expected.minimum, strict=True)
    np.testing.assert_array_equal(actual.maximum, expected.maximum, strict=True)
    np.testing.assert_allclose(actual.mean, expected.mean, rtol=1e-9, atol=1e-9 * scale, strict=True)
    np.testing.assert_allclose(actual.squares, expected.squares, rtol=1e-9, atol=1e-9 * scale**2, strict=True)


def test_by_hand() -> None:
    moments = Moments.of(np.array([1, 2, 6], np.int8))
    assert moments.count == 3
    assert (moments.mean, moments.squares, moments.total) == (3.0, 14.0, 9.0)
    assert (moments.minimum, moments.maximum) == (1.0, 6.0)
    assert moments.std == np.sqrt(14 / 3)
    assert Moments.of(np.array([True, False, True, True])).mean == 0.75


def test_each_place_of_a_row_by_itself() -> None:
    values = np.arange(12.0).reshape(3, 2, 2)
    moments = Moments.of(values)
    assert moments.mean.tolist() == values.mean(axis=0).tolist()
    assert moments.maximum.tolist() == [[8, 9], [10, 11]]
    assert moments.squares.tolist() == [[32, 32], [32, 32]]


def test_of_nothing() -> None:
    nothing = Moments.of(np.empty((0, 2)))
    assert (nothing.count, nothing.mean.tolist(), nothing.std.tolist()) == (0, [0, 0], [0, 0])
    assert nothing.minimum.tolist() == [np.inf, np.inf]
    some = Moments.of(np.array([[0.1, 3.0]]))
    assert nothing.merged(some) is some
    assert some.merged(nothing) is some
    assert nothing.merged(nothing).count == 0


def test_many_rows_are_looked_at_in_chunks() -> None:
    values = np.random.default_rng(0).standard_normal((30_000, 5)) + 1e6
    moments = Moments.of(values)
    np.testing.assert_allclose(moments.mean, values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.std, values.std(axis=0), rtol=1e-9)
    constant = Moments.of(np.full(100_000, 7, np.int64))
    assert (constant.mean, constant.squares, constant.total) == (7.0, 0.0, 700_000.0)


def test_extreme_numbers() -> None:
    most = np.finfo(np.float32).max
    moments = Moments.of(np.array([most, -most], np.float32))
    assert (moments.mean, moments.maximum) == (0.0, float(most))
    assert np.isfinite(moments.squares)
    beyond = Moments.of(np.array([1e200, -1e200])).merged(Moments.of(np.array([3.0])))
    assert beyond.squares == np.inf


def test_bad_arguments() -> None:
    with pytest.raises(ShapeError, match="moments must be of one shape"):
        Moments.of(np.zeros(3)).merged(Moments.of(np.zeros((3, 2))))
    with pytest.raises(ShapeError, match="of no less than 0 rows"):
        Moments(count=-1, mean=np.zeros(2), squares=np.zeros(2), minimum=np.zeros(2), maximum=np.zeros(2))
    with pytest.raises(ValueError, match="read-only"):
        Moments.of(np.zeros((3, 2))).mean[0] = 1


@pytest.mark.property
@given(NUMBERS, NUMBERS, NUMBERS)
def test_merged_are_those_of_the_whole(one: list[float], two: list[float], three: list[float]) -> None:
    parts = [Moments.of(np.array(part, np.float32)) for part in (one, two, three)]
    whole = Moments.of(np.array([*one, *two, *three], np.float32))
    scale = max(map(abs, [*one, *two, *three]), default=0.0)
    assert_same_moments(parts[0].merged(parts[1]).merged(parts[2]), whole, scale=scale)
    assert_same_moments(parts[0].merged(parts[1].merged(parts[2])), whole, scale=scale)
    forth, back = parts[0].merged(parts[1]), parts[1].merged(parts[0])
    for name in ("mean", "squares", "minimum", "maximum"):
        np.testing.assert_array_equal(getattr(forth, name), getattr(back, name), strict=True)
