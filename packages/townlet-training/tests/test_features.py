"""Fragments say which rows belong together, and refuse rows and states that do not fit."""

from __future__ import annotations

import pytest
import torch

from townlet_training.errors import ShapeError
from townlet_training.network.features import Fragments


def test_fragments_by_hand() -> None:
    fragments = Fragments(torch.tensor([0, 2, 3, 7]), torch.zeros(3, 5))
    assert fragments.lengths.tolist() == [2, 1, 4]
    fragments.require(7, 5)
    steps = Fragments.single_steps(torch.ones(3, 2))
    assert steps.offsets.tolist() == [0, 1, 2, 3] and steps.lengths.tolist() == [1, 1, 1]
    steps.require(3, 2)


@pytest.mark.parametrize(
    ("offsets", "states", "message"),
    [
        ([0, 2, 7], (3, 5), r"`states` must be \[2, 5\], got \(3, 5\)"),
        ([0, 2, 7], (2, 4), r"`states` must be \[2, 5\], got \(2, 4\)"),
        ([0, 2, 6], (2, 5), r"`offsets` must rise from 0 to 7, got \[0\] to \[6\]"),
        ([1, 2, 7], (2, 5), r"got \[1\] to \[7\]"),
        ([0, 0, 7], (2, 5), "with 1 empty fragments"),
        ([0, 8, 7], (2, 5), "with 1 empty fragments"),
    ],
)
def test_fragments_that_do_not_fit_are_refused(offsets: list[int], states: tuple[int, int], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        Fragments(torch.tensor(offsets), torch.zeros(*states)).require(7, 5)
