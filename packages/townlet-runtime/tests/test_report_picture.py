"""The record of a still cannot be wrong, and the drawing shows what is in it."""

from __future__ import annotations

import dataclasses
import re

import pytest
from report_samples import town

from townlet_runtime.report import PictureAgent, PictureObject, ReportError, TownPicture
from townlet_runtime.report.town_plot import town_plot


@pytest.mark.parametrize(("key", "value"), [("users", -1), ("line_length", -2)])
def test_counts_are_not_negative(key: str, value: int) -> None:
    counts = {"users": 0, "line_length": 0, key: value}
    with pytest.raises(ReportError, match=f"`{key}`: expected a count >= 0, got {value}"):
        PictureObject(type="bed", x=0, y=0, **counts)


@pytest.mark.parametrize("need", [-0.1, 1.1, float("nan")])
def test_needs_are_shares(need: float) -> None:
    with pytest.raises(ReportError, match="PictureAgent: `needs"):
        PictureAgent(id="a", x=0, y=0, needs=(0.5, need, 0.5), using=False)


def test_everything_stands_inside_the_grid() -> None:
    with pytest.raises(ReportError, match=r"`agents.3`: expected a cell of the 4 x 6 grid, got \(4, 2\)"):
        dataclasses.replace(town(), width=4, objects=())
    with pytest.raises(ReportError, match=r"`objects.1`: expected a cell of the 8 x 4 grid, got \(6, 4\)"):
        dataclasses.replace(town(), height=4)
    with pytest.raises(ReportError, match=r"`height`: expected at least 1 cell, got 0"):
        TownPicture(title="", width=1, height=0, objects=(), agents=())


def test_objects_are_lettered_lines_are_counted_and_lone_agents_named() -> None:
    svg = town_plot(town())
    words = re.findall(r">([^<>]+)</text>", svg)
    assert sorted(words) == ["+2", "Be", "Fr", "dan&lt;i&gt;"]


def test_three_bars_an_agent_and_alarm_below_thirty_percent() -> None:
    svg = town_plot(town())
    # Needs below 0.3: ann's energy, bob's hunger, cyd's hygiene (the line of two is written in the same colour).
    assert len(re.findall(r'<path [^>]*style="fill: var\(--alert\)', svg)) == 3
    # 12 bars less 3 in alarm.
    assert len(re.findall(r'<path [^>]*style="fill: var\(--ink\)', svg)) == 9
    # One agent uses an object.
    assert svg.count("stroke: var(--learned)") == 1


def test_a_crowded_town_names_nobody() -> None:
    agents = tuple(PictureAgent(id=f"a{i}", x=i % 8, y=i // 8, needs=(1, 1, 1), using=False) for i in range(17))
    assert ">a0<" not in town_plot(dataclasses.replace(town(), objects=(), agents=agents))
    assert ">a0<" in town_plot(dataclasses.replace(town(), objects=(), agents=agents[:16]))
