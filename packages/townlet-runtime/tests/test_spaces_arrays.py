from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from townlet_runtime.adapters.spaces.arrays import Leaf, Parts, pick
from townlet_runtime.errors import EnvironmentFaultError


def fault(row: int, problem: str) -> EnvironmentFaultError:
    return EnvironmentFaultError("small", problem, world=row)


def leaf(space: spaces.Space[Any], **fields: Any) -> Leaf:
    own = {"name": "x", "path": (), "dtype": np.dtype(space.dtype), "size": space.shape, "shape": space.shape}
    return Leaf(**{**own, "parts": Parts.of(space), **fields})


def test_a_path_leads_through_dictionaries_and_tuples() -> None:
    observation = {"arm": ({"angle": 0.5}, 7)}
    assert pick(("arm", 0, "angle"), observation) == 0.5
    assert pick((), observation) is observation


def test_whole_numbers_are_parts() -> None:
    assert Parts.of(spaces.Box(0.0, 1.0, (2,))) is None
    parts = Parts.of(spaces.MultiDiscrete([2, 3], start=[5, 0]))
    assert parts is not None
    assert (parts.starts.tolist(), parts.counts.tolist(), parts.alphabet) == ([5, 0], [2, 3], None)
    letters = Parts.of(spaces.Text(2, charset="ba"))
    assert letters is not None
    assert (letters.counts.tolist(), letters.alphabet) == ([3, 3], {"a": 1, "b": 2})


def test_a_mask_has_zeros_and_ones() -> None:
    mask = leaf(spaces.Box(0.0, 1.0, (2,)), is_mask=True)
    assert mask.converted(np.array([[0.0, 1.0]]), fault).tolist() == [[0.0, 1.0]]
    with pytest.raises(EnvironmentFaultError, match=r"world 1: expected `x` of zeros and ones, got \[0.  0.5\]"):
        mask.converted(np.array([[0.0, 1.0], [0.0, 0.5]]), fault)


@given(npst.arrays(np.uint8, npst.array_shapes(min_dims=3, max_dims=3, max_side=5)), st.integers(1, 3))
def test_channels_last_become_first(picture: np.ndarray, rows: int) -> None:
    height, width, channels = picture.shape
    space = spaces.Box(0, 255, picture.shape, np.uint8)
    image = leaf(space, shape=(channels, height, width), channels_last=True)
    shown = image.converted(np.stack([picture] * rows), fault)
    assert shown.dtype == np.float32 and shown.flags.c_contiguous
    for each in shown:
        np.testing.assert_array_equal(np.moveaxis(each, 0, -1), picture)
