"""Draws the returns of cross-play as heat maps, one for each agent group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from townlet_runtime.report.figures import picture_bytes
from townlet_trajectory.evaluation.cross_play import CrossPlay

_CELL, _MARGIN = 1.05, 1.9
"""Inches: of a cell, and of the names beside the cells."""


def cross_play_picture(tables: Sequence[CrossPlay]) -> bytes:
    """Return a PNG with a heat map of each table: rows play the group, columns play the others."""
    side = _CELL * len(tables[0].policies) + _MARGIN

    def draw(figure: Figure) -> None:
        for axes, table in zip(figure.subplots(1, len(tables), squeeze=False)[0], tables, strict=True):
            _draw(figure, axes, table)

    return picture_bytes(draw, kind="png", width=side * len(tables) + 0.4, height=side)


def _draw(figure: Figure, axes: Axes, table: CrossPlay) -> None:
    means = np.array([[np.nan if cell is None else cell.mean for cell in row] for row in table.returns])
    shown = axes.imshow(np.ma.masked_invalid(means), cmap="cividis")
    middle = (np.nanmin(means) + np.nanmax(means)) / 2 if np.isfinite(means).any() else 0.0
    for row, cells in enumerate(table.returns):
        for column, cell in enumerate(cells):
            if cell is not None:
                text = f"{cell.mean:.3g}\n[{cell.ci[0]:.3g}, {cell.ci[1]:.3g}]"
                ink = "black" if cell.mean > middle else "white"
                axes.text(column, row, text, ha="center", va="center", color=ink)
    places = range(len(table.policies))
    axes.set_xticks(places, table.policies, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, table.policies)
    axes.set_ylabel(f"plays {table.group}")
    axes.set_xlabel("plays the others")
    axes.set_title(f"Mean return of {table.group}")
    figure.colorbar(shown, ax=axes, shrink=0.7)
