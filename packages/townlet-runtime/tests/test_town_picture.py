"""The record of a still cannot be wrong."""

from __future__ import annotations

import dataclasses

import pytest
from report_samples import town

from townlet_runtime.errors import SimulationError
from townlet_runtime.town.picture import PictureAgent, PictureObject, TownPicture


@pytest.mark.parametrize(("key", "value"), [("users", -1), ("line_length", -2)])
def test_counts_are_not_negative(key: str, value: int) -> None:
    counts = {"users": 0, "line_length": 0, key: value}
    with pytest.raises(SimulationError, match=f"`{key}`: expected a count >= 0, got {value}"):
        PictureObject(type="bed", x=0, y=0, **counts)


@pytest.mark.parametrize("need", [-0.1, 1.1, float("nan")])
def test_needs_are_shares(need: float) -> None:
    with pytest.raises(SimulationError, match="PictureAgent: `needs"):
        PictureAgent(id="a", x=0, y=0, needs=(0.5, need, 0.5), using=False)


def test_everything_stands_inside_the_grid() -> None:
    with pytest.raises(SimulationError, match=r"`agents.3`: expected a cell of the 4 x 6 grid, got \(4, 2\)"):
        dataclasses.replace(town(), width=4, objects=())
    with pytest.raises(SimulationError, match=r"`objects.1`: expected a cell of the 8 x 4 grid, got \(6, 4\)"):
        dataclasses.replace(town(), height=4)
    with pytest.raises(SimulationError, match=r"`height`: expected at least 1 cell, got 0"):
        TownPicture(title="", width=1, height=0, objects=(), agents=())
