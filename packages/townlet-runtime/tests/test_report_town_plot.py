"""The drawing of a still shows what is in it."""

from __future__ import annotations

import dataclasses
import re

import pytest
from report_samples import town

from townlet_runtime.report.town_plot import town_plot
from townlet_runtime.town.picture import PictureAgent


def test_objects_are_lettered_lines_are_counted_and_lone_agents_named() -> None:
    svg = town_plot(town())
    words = re.findall(r">([^<>]+)</text>", svg)
    assert sorted(words) == ["+2", "Be", "Fr", "dan&lt;i&gt;"]


def test_a_lone_agent_carries_the_end_of_its_name() -> None:
    agent = PictureAgent(id="agent_07", x=7, y=5, needs=(1.0, 1.0, 1.0), using=False)
    svg = town_plot(dataclasses.replace(town(), objects=(), agents=(agent,)))
    assert re.findall(r">([^<>]+)</text>", svg) == ["07"]


def test_three_bars_an_agent_and_alarm_below_thirty_percent() -> None:
    svg = town_plot(town())
    # Needs below 0.3: ann's energy, bob's hunger, cyd's hygiene (the line of two is written in the same colour).
    assert len(re.findall(r'<path [^>]*style="fill: var\(--alert\)', svg)) == 3
    # 12 bars less 3 in alarm.
    assert len(re.findall(r'<path [^>]*style="fill: var\(--ink\)', svg)) == 9
    # One agent uses an object.
    assert svg.count("stroke: var(--learned)") == 1


@pytest.mark.parametrize(("name", "shown"), [("", "?"), ("cash_$a_{b$", "{b$"), ("lone \ud800", "lone \\ud800")])
def test_every_name_can_be_drawn(name: str, shown: str) -> None:
    agent = PictureAgent(id=name, x=7, y=5, needs=(1.0, 1.0, 1.0), using=False)
    svg = town_plot(dataclasses.replace(town(), objects=(), agents=(agent,)))
    assert re.findall(r">([^<>]+)</text>", svg) == [shown]


def test_a_crowded_town_names_nobody() -> None:
    agents = tuple(PictureAgent(id=f"a{i}", x=i % 8, y=i // 8, needs=(1, 1, 1), using=False) for i in range(17))
    assert ">a0<" not in town_plot(dataclasses.replace(town(), objects=(), agents=agents))
    assert ">a0<" in town_plot(dataclasses.replace(town(), objects=(), agents=agents[:16]))
