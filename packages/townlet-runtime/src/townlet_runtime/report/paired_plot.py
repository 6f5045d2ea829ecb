"""The paired differences of the scores as a plot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from townlet_runtime.report.figures import on_paper, render
from townlet_runtime.report.palette import color, policy_roles
from townlet_runtime.report.scores import Difference, interval_text, number
from townlet_trajectory.storage.json import printable


def paired_plot(found: Sequence[Difference]) -> str:
    """Draw every seed's difference as a dot, and the mean as a diamond with its 95 % interval."""
    roles = policy_roles([difference.other for difference in found])

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.axvline(0.0, color=color("muted"), linewidth=1)
        for row, difference in enumerate(found):
            count = len(difference.values)
            # Golden-ratio steps scatter the dots evenly without a random number.
            jitter = ((np.arange(count) * 0.618034) % 1.0 - 0.5) * 0.36
            axes.plot(
                difference.values,
                row + jitter,
                "o",
                color=color(roles[difference.other]),
                markersize=4,
                alpha=0.45,
                markeredgewidth=0,
            )
            paired = difference.paired
            axes.plot(
                paired.ci, [row, row], "|-", color=color("ink"), linewidth=2.2, markersize=13, markeredgewidth=1.6
            )
            axes.plot(
                [paired.mean],
                [row],
                "D",
                color=color("ink"),
                markersize=4.5,
                markeredgecolor=color("paper"),
                markeredgewidth=0.8,
            )
            wins = int(np.count_nonzero(difference.values > 0))
            text = (
                f"mean {number(paired.mean, sign=True)} ({interval_text(paired.ci)}), better on {wins} of {count} seeds"
            )
            # On the side of the dots, so that the line of zero is seldom behind it.
            x, side = (1.0, "right") if paired.mean > 0 else (0.0, "left")
            place = axes.get_yaxis_transform()
            axes.text(x, row - 0.33, text, transform=place, ha=side, fontsize=8, bbox=on_paper())
        axes.set_yticks(range(len(found)), [f"minus\n{printable(difference.other)}" for difference in found])
        axes.set_ylim(len(found) - 0.6, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_xlabel("difference of return on the same seed (right: learned is better)")

    return render(draw, name="paired", label="Paired differences per seed", height=1.0 + 1.1 * len(found))
