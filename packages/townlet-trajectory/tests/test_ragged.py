"""Flat and padded rows: by hand, and each the inverse of the other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_trajectory import ShapeError
from townlet_trajectory.data.ragged import flat_rows, offsets_of, padded_rows, step_mask


def test_by_hand() -> None:
    offsets = offsets_of(np.array([2, 1, 3]))
    assert offsets.tolist() == [0, 2, 3, 6]
    mask = step_mask(offsets)
    assert mask.tolist() == [[True, True, False], [True, False, False], [True, True, True]]
    padded = padded_rows(np.array([[1], [2], [3], [4], [5], [6]], np.int8), mask)
    assert padded[:, :, 0].tolist() == [[1, 2, 0], [3, 0, 0], [4, 5, 6]]
    assert padded.dtype == np.int8
    assert step_mask(offsets, 4).tolist() == [[*row, False] for row in mask.tolist()]


def test_nothing() -> None:
    offsets = offsets_of(np.empty(0, np.int64))
    assert (offsets.tolist(), offsets.dtype) == ([0], np.int64)
    assert step_mask(offsets).shape == (0, 0)
    assert step_mask(offsets, 3).shape == (0, 3)
    assert padded_rows(np.empty((0, 5)), step_mask(offsets)).shape == (0, 0, 5)
    assert flat_rows(np.empty((0, 0, 5)), step_mask(offsets)).shape == (0, 5)


@given(st.lists(st.integers(1, 5), max_size=6), st.integers(0, 3), st.sampled_from([(), (2,), (1, 3)]))
def test_each_is_the_inverse_of_the_other(lengths: list[int], extra: int, shape: tuple[int, ...]) -> None:
    offsets = offsets_of(np.array(lengths, np.int64))
    flat = np.random.default_rng(0).standard_normal((offsets[-1], *shape))
    mask = step_mask(offsets, max(lengths, default=0) + extra)
    padded = padded_rows(flat, mask)
    assert padded.shape == (len(lengths), max(lengths, default=0) + extra, *shape)
    np.testing.assert_array_equal(flat_rows(padded, mask), flat)
    assert not padded[~mask].any()


def test_bad_arguments() -> None:
    offsets = offsets_of(np.array([2, 4]))
    with pytest.raises(ShapeError, match="`num_steps` must be at least 4, the greatest length, got 3"):
        step_mask(offsets, 3)
    with pytest.raises(ShapeError, match="`flat` must have 6 rows, got 5"):
        padded_rows(np.zeros(5), step_mask(offsets))
    with pytest.raises(ShapeError, match="`padded` must have shape"):
        flat_rows(np.zeros((2, 3)), step_mask(offsets))
