"""Draws figures as SVG text that lives inside a page: themed, without addresses, the same bytes every time."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray

from townlet_runtime.errors import TownletError
from townlet_runtime.report.palette import color, themed
from townlet_trajectory.storage.json import printable

WIDTH = 4.8
"""Inches; at this width the text keeps its size on a phone and in two columns on a desk."""

_DPI = 160
"""Of pictures made of pixels."""
_LINE_HEIGHT = 11.0
"""Points from one label to the next."""
_ID = re.compile(r'\bid="([^"]+)"')
_REFERENCE = re.compile(r'(?:xlink:)?href="#([^"]+)"')
_URL = re.compile(r"url\(#([^)]+)\)")


class NoWindowError(TownletError):
    """A figure is to be shown where matplotlib can open no window."""


@dataclass(frozen=True, kw_only=True)
class EndLabel:
    """A word at the right end of a line."""

    text: str
    y: float
    """In data units."""
    role: str


def render(draw: Callable[[Figure], None], *, name: str, label: str, height: float) -> str:
    """Return the SVG element of one figure.

    Args:
        name: unique in the page; put before every id.
        label: what a screen reader says.
        height: inches.
    """
    with _style(name):
        matplotlib.rcParams["axes.facecolor"] = "none"
        figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor="none")
        draw(figure)
        buffer = io.StringIO()
        # `savefig` draws twice, first to lay out the figure, which drawing does anyway.
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        FigureCanvasSVG(figure).print_svg(buffer, metadata=no_metadata)  # type: ignore[no-untyped-call]
    text = buffer.getvalue()
    body = themed(text[text.index(">", text.index("<svg")) + 1 :])
    body = _ID.sub(rf'id="{name}-\1"', body)
    body = _REFERENCE.sub(rf'href="#{name}-\1"', body)
    body = _URL.sub(rf"url(#{name}-\1)", body)
    box = f"0 0 {WIDTH * 72:g} {height * 72:g}"
    return f'<svg viewBox="{box}" role="img" aria-label="{escape(label)}">{body.strip()}'


def picture_bytes(draw: Callable[[Figure], None], *, kind: str, width: float, height: float) -> bytes:
    """Return a figure as a file that stands alone, in the light colours, the same bytes every time.

    Args:
        draw: draws it.
        kind: `png` or `svg`.
        width: inches.
        height: inches.
    """
    with _style("picture"):
        # Letters as shapes: the viewer may have other fonts.
        matplotlib.rcParams["svg.fonttype"] = "path"
        figure = Figure(figsize=(width, height), layout="constrained", facecolor=color("paper"))
        draw(figure)
        buffer = io.BytesIO()
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(buffer, format=kind, metadata=metadata, dpi=_DPI)
    return buffer.getvalue()


def show_window(draw: Callable[[Figure], None], *, width: float, height: float) -> None:
    """Show a figure in a window, until it is closed.

    Args:
        draw: draws it.
        width: inches.
        height: inches.

    Raises:
        NoWindowError: where matplotlib has no display, or only backends that draw files.
    """
    from matplotlib import pyplot  # chooses a backend, which files do without

    with _style("window"):
        try:
            figure = pyplot.figure(figsize=(width, height), layout="constrained", facecolor=color("paper"))
        except ImportError as error:
            raise NoWindowError(f"matplotlib can open no window here: {error}") from error
        try:
            if figure.canvas.required_interactive_framework is None:
                backend = pyplot.get_backend()
                raise NoWindowError(f"matplotlib can open no window here (its backend is {backend}); write a file")
            draw(figure)
            pyplot.show(block=True)
        finally:
            pyplot.close(figure)


@contextmanager
def _style(salt: str) -> Iterator[None]:
    with matplotlib.rc_context():
        # A user's own matplotlibrc must not change the page.
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "svg.hashsalt": salt,
                "svg.fonttype": "none",
                # Names of stages, behaviors and agents are other people's, and `$` is no mathematics in them.
                "text.parse_math": False,
                "font.size": 8.5,
                "axes.labelsize": 8.5,
                "axes.titlesize": 8.5,
                "axes.titleweight": "bold",
                "axes.titlelocation": "left",
                "xtick.labelsize": 8,
                "ytick.labelsize": 8,
                "text.color": color("ink"),
                "axes.labelcolor": color("muted"),
                "axes.titlecolor": color("ink"),
                "axes.edgecolor": color("rule"),
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.axisbelow": True,
                "xtick.color": color("rule"),
                "ytick.color": color("rule"),
                "xtick.labelcolor": color("muted"),
                "ytick.labelcolor": color("muted"),
                "grid.color": color("rule"),
                "grid.linewidth": 0.5,
                "lines.linewidth": 1.6,
                "lines.solid_capstyle": "round",
            }
        )
        yield


def use_step_axis(axes: Axes, last_step: float, *, label: bool = True) -> None:
    """Let the x axis be environment steps.

    Args:
        axes: to change.
        last_step: right end of the axis; the left one is 0.
        label: whether the axis is named.
    """
    axes.set_xlim(0.0, max(last_step, 1.0))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(axis="y")
    if label:
        axes.set_xlabel("environment steps")


def mark_stages(axes: Axes, starts: Sequence[tuple[str, float]], last_step: float) -> None:
    """Draw a line where a stage begins, and name each stage where its name has room.

    Args:
        axes: to draw in; the names are above them.
        starts: (stage, environment steps at its begin), in order.
        last_step: right end of the axis.
    """
    ends = [start for _, start in starts[1:]] + [last_step]
    span = max(last_step, 1.0)
    for index, ((stage, start), end) in enumerate(zip(starts, ends, strict=True)):
        begin = start if index else 0.0
        if index:
            axes.axvline(begin, color=color("muted"), linewidth=0.7, linestyle=(0, (2, 2)), zorder=1)
        if (end - begin) / span > 0.018 * len(stage):
            middle = (begin + end) / (2.0 * span)
            axes.text(
                middle,
                1.02,
                printable(stage),
                transform=axes.transAxes,
                ha="center",
                va="bottom",
                fontsize=7,
                color=color("muted"),
            )


def label_ends(axes: Axes, labels: Sequence[EndLabel]) -> None:
    """Write each label at the height of its line's end, moved apart where they would cover each other."""
    low, high = axes.get_ylim()
    wanted = np.array([(label.y - low) / (high - low) for label in labels])
    gap = _LINE_HEIGHT / (axes.bbox.height * 72.0 / axes.figure.dpi)
    for label, height in zip(labels, spread(wanted, gap=gap), strict=True):
        axes.text(1.015, height, printable(label.text), transform=axes.transAxes, va="center", color=color(label.role))


def spread(heights: NDArray[np.float64], *, gap: float) -> NDArray[np.float64]:
    """Return `heights` [N] moved as little upwards as keeps neighbours `gap` apart, then down to stay below 1."""
    order = np.argsort(heights, kind="stable")
    lifted = heights[order].copy()
    for index in range(1, len(lifted)):
        lifted[index] = max(lifted[index], lifted[index - 1] + gap)
    for index in range(len(lifted) - 1, -1, -1):
        ceiling = 1.0 if index == len(lifted) - 1 else lifted[index + 1] - gap
        lifted[index] = min(lifted[index], ceiling)
    moved = np.empty_like(lifted)
    moved[order] = lifted
    return moved


def rolling_mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Return the centred mean over `window` (odd) neighbours, [N]; NaN counts as absent and stays NaN when alone."""
    present = np.isfinite(values)
    kernel = np.ones(window)
    sums = np.convolve(np.where(present, values, 0.0), kernel, mode="full")
    counts = np.convolve(present.astype(np.float64), kernel, mode="full")
    half = window // 2
    centred = slice(half, half + len(values))
    means = np.full(len(values), np.nan)
    np.divide(sums[centred], counts[centred], out=means, where=counts[centred] > 0)
    return means


def on_paper() -> dict[str, str | float]:
    """Return the `bbox` of a text that lines must not cross."""
    return {"facecolor": color("paper"), "edgecolor": "none", "pad": 1.5}
