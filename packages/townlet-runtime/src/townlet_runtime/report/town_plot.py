"""Draws a still of a town: objects as cells, agents as small boxes with their three needs as bars."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from townlet_runtime.report.figures import WIDTH, render
from townlet_runtime.report.palette import color
from townlet_runtime.town.picture import PictureAgent, PictureObject, TownPicture
from townlet_trajectory.storage.json import printable

LOW_NEED = 0.3
"""A need below this is drawn in the colour of alarm."""
MAX_NAMED = 16
"""Up to so many agents, those that stand alone are named."""
_MARGIN = 0.06
_POINTS_PER_INCH = 72.0


def town_plot(picture: TownPicture) -> str:
    """Return the SVG element of `picture`; cell (0, 0) is at the upper left."""

    def draw(figure: Figure) -> None:
        figure.set_layout_engine("none")
        axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
        axes.set_xlim(0, picture.width)
        axes.set_ylim(picture.height, 0)
        axes.set_aspect("equal")
        axes.set_axis_off()
        cell_points = WIDTH * _POINTS_PER_INCH * 0.98 / picture.width
        lines: dict[str, Any] = {"colors": color("rule"), "linewidth": 0.4, "zorder": 0}
        axes.vlines(range(picture.width + 1), 0, picture.height, **lines)
        axes.hlines(range(picture.height + 1), 0, picture.width, **lines)
        crowds = defaultdict(list)
        for agent in picture.agents:
            crowds[agent.x, agent.y].append(agent)
        for thing in picture.objects:
            _draw_object(axes, thing, cell_points, alone=(thing.x, thing.y) not in crowds)
        furnished = {(thing.x, thing.y) for thing in picture.objects}
        named = len(picture.agents) <= MAX_NAMED
        for cell, crowd in crowds.items():
            _draw_crowd(axes, cell, crowd, below_object=cell in furnished, name_points=cell_points * named)

    height = WIDTH * picture.height / picture.width
    return render(draw, name="town", label=f"Picture of the town: {picture.title}", height=height)


def _draw_object(axes: Axes, thing: PictureObject, cell_points: float, *, alone: bool) -> None:
    in_use = thing.users > 0
    box = FancyBboxPatch(
        (thing.x + _MARGIN, thing.y + _MARGIN),
        1 - 2 * _MARGIN,
        1 - 2 * _MARGIN,
        boxstyle="round,pad=0,rounding_size=0.12",
        facecolor=color("rule") if in_use else "none",
        edgecolor=color("muted"),
        linewidth=0.9,
        zorder=1,
    )
    axes.add_patch(box)
    bold: dict[str, Any] = {"va": "center", "fontsize": 0.36 * cell_points, "fontweight": "bold"}
    kind = printable(thing.type[:2].capitalize())
    axes.text(thing.x + 0.5, thing.y + (0.5 if alone else 0.26), kind, ha="center", zorder=4, **bold)
    if thing.line_length > 0:
        axes.text(
            thing.x + 1.0, thing.y + 0.02, f"+{thing.line_length}", ha="left", color=color("alert"), zorder=5, **bold
        )


def _draw_crowd(
    axes: Axes, cell: tuple[int, int], crowd: list[PictureAgent], *, below_object: bool, name_points: float
) -> None:
    """Lay the agents of one cell out side by side; in a cell with an object they get its lower part."""
    across = math.ceil(math.sqrt(len(crowd) * (1.5 if below_object else 1.0)))
    down = math.ceil(len(crowd) / across)
    top, room = (0.4, 0.54) if below_object else (0.06, 0.88)
    size = min(0.86 / across, room / down, 0.68)
    for index, agent in enumerate(crowd):
        row, column = divmod(index, across)
        in_row = min(across, len(crowd) - row * across)
        left = cell[0] + 0.5 + (column - in_row / 2) * size
        upper = cell[1] + top + row * size
        _draw_agent(axes, agent, left, upper, size)
    if len(crowd) == 1 and not below_object and name_points > 0:
        middle, bottom = cell[0] + 0.5, cell[1] + top + size + 0.01
        # What tells `agent_07` from its neighbours: `07`.
        name = printable(crowd[0].id.rsplit("_", 1)[-1] or crowd[0].id or "?")
        # A name must not reach into the next cell.
        points = name_points * min(0.3, 1.4 / len(name))
        axes.text(middle, bottom, name, ha="center", va="top", fontsize=points, color=color("muted"), zorder=4)


def _draw_agent(axes: Axes, agent: PictureAgent, left: float, upper: float, size: float) -> None:
    x, y, inner = left + 0.05 * size, upper + 0.05 * size, 0.9 * size
    edge, width = (color("learned"), 2.0 * size) if agent.using else (color("muted"), 0.9 * size)
    box = Rectangle((x, y), inner, inner, facecolor=color("paper"), edgecolor=edge, linewidth=width, zorder=2)
    axes.add_patch(box)
    bar = inner / 4
    for index, need in enumerate(agent.needs):
        height, face = need * 0.86 * inner, color("alert") if need < LOW_NEED else color("ink")
        corner = (x + bar * (0.35 + 1.15 * index), y + 0.93 * inner - height)
        axes.add_patch(Rectangle(corner, bar, height, facecolor=face, linewidth=0, zorder=3))
