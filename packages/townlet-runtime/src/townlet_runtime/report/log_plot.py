"""Draws loss and KL divergence of a training log against its epochs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from townlet_runtime.report.figures import WIDTH, picture_bytes, show_window
from townlet_runtime.report.log_curves import LogCurve
from townlet_runtime.report.palette import color, group_roles
from townlet_trajectory.storage.json import printable

HEIGHT = 4.2
"""Inches of both plots, one above the other."""


def log_picture(curves: Sequence[LogCurve], *, kind: str) -> bytes:
    """Return the plots as a file that stands alone, `png` or `svg`."""
    return picture_bytes(_draw(curves), kind=kind, width=WIDTH, height=HEIGHT)


def show_log(curves: Sequence[LogCurve]) -> None:
    """Show the plots in a window. Raises `NoWindowError` if there is none."""
    show_window(_draw(curves), width=WIDTH, height=HEIGHT)


def _draw(curves: Sequence[LogCurve]) -> Callable[[Figure], None]:
    def draw(figure: Figure) -> None:
        loss, kl = figure.subplots(2, 1, sharex=True)
        for role, curve in zip(group_roles(len(curves)), curves, strict=True):
            style = {"color": color(role), "marker": "o" if len(curve.epochs) == 1 else "", "markersize": 3}
            loss.plot(curve.epochs, _drawn(curve.loss), label=printable(curve.name), **style)
            kl.plot(curve.epochs, _drawn(curve.kl), **style)
        loss.set_title("loss_total", pad=8)
        kl.set_title("kl_divergence", pad=8)
        kl.set_xlabel("epoch")
        kl.xaxis.set_major_locator(MaxNLocator(integer=True))
        for axes in (loss, kl):
            axes.grid(axis="y")
        if len(curves) > 1:
            loss.legend(frameon=False, loc="best", fontsize=7.5, labelcolor=color("ink"))

    return draw


def _drawn(values: Sequence[float | None]) -> list[float]:
    return [np.nan if value is None else value for value in values]
