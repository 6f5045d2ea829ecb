"""Small histograms of text, 80 columns wide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.storage.json import printable

WIDTH = 80

_LABEL_WIDTH = 36
_BAR_WIDTH = 32
_FIGURES_WIDTH = 21
_LEAST_SPAN = 1e-300
"""Numbers that are nearer together are equal."""
_STEPS = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One line of a histogram."""

    label: str
    count: int


def binned(values: NDArray[np.float64], *, max_bins: int) -> list[Bar]:
    """Numbers in bins of equal width whose edges are round (1, 2 or 5 times a power of ten).

    Args:
        values: [N], at most 1e300 in size, N at least 1. Where all are whole numbers, so are the edges.
        max_bins: at least 2.

    Returns:
        One bar for each bin from the least to the greatest value, `first to last` of whole numbers, else `from ..`.
    """
    low, high = float(values.min()), float(values.max())
    whole = bool(np.all(values == np.round(values)))
    if high - low < _LEAST_SPAN:
        return [Bar(label=_number(low, 0 if whole else 3), count=len(values))]
    step = _round_step((high - low) / (max_bins - 1))
    if whole:
        step = max(1.0, step)
    # The span may begin and end within a bin: then there is one more than it is long.
    while math.floor(high / step) - math.floor(low / step) >= max_bins:
        step = _round_step(1.5 * step)
    first = math.floor(low / step)
    places = np.floor(values / step).astype(np.int64) - first
    counts = np.bincount(places)
    decimals = max(0, -math.floor(math.log10(step)))
    labels = [
        _span(round((first + place) * step, decimals), step, whole=whole, decimals=decimals)
        for place in range(len(counts))
    ]
    return [Bar(label=label, count=int(count)) for label, count in zip(labels, counts, strict=True)]


def bar_lines(bars: Sequence[Bar], *, total: int | None = None, right: bool = False) -> list[str]:
    """A line for each bar: label, bar, share, count.

    Args:
        bars: at least one.
        total: what shares are of, and what a full bar stands for. None: the sum of all, and the greatest of them.
        right: whether labels stand at the right, as numbers do.
    """
    most = total or max(bar.count for bar in bars) or 1
    total = total or sum(bar.count for bar in bars) or 1
    labels = [printable(bar.label) for bar in bars]
    width = min(_LABEL_WIDTH, max(map(len, labels)))
    room = min(_BAR_WIDTH, WIDTH - _FIGURES_WIDTH - width - 4)
    return [
        f"  {_fitted(label, width, right=right)}  {_bar(bar.count / most, room):<{room}}"
        f"{bar.count / total:>8.1%}{bar.count:>13,}"
        for label, bar in zip(labels, bars, strict=True)
    ]


def _bar(share: float, room: int) -> str:
    """Full blocks; a hair where there is something, and less than half a block of it."""
    blocks = round(share * room)
    return "█" * blocks if blocks or not share else "▏"


def _fitted(label: str, width: int, *, right: bool) -> str:
    cut = label if len(label) <= width else f"{label[: width - 1]}…"
    return cut.rjust(width) if right else cut.ljust(width)


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in _STEPS if factor * power >= least * (1.0 - 1e-9))


def _span(low: float, step: float, *, whole: bool, decimals: int) -> str:
    if not whole:
        return f"{_number(low, decimals)} to {_number(low + step, decimals)}"
    return _number(low, 0) if step == 1.0 else f"{_number(low, 0)} to {_number(low + step - 1.0, 0)}"


def short(value: float) -> str:
    """Four digits, or all of a whole number of at most ten; no -0."""
    return _number(value, 0) if value.is_integer() else f"{value:.4g}"


def _number(value: float, decimals: int) -> str:
    """With separators; numbers that are too long for a label in powers of ten."""
    text = f"{value + 0.0:,.{decimals}f}"
    return text if len(text) <= 13 else f"{value:.4g}"
