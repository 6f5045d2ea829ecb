"""Numbers as people read them."""

from __future__ import annotations

WIDTH = 80
"""Columns of a screen."""


def short(value: float) -> str:
    """Four digits, or all of a whole number of at most ten; no -0."""
    text = f"{value + 0.0:,.0f}" if value.is_integer() else f"{value:.4g}"
    return text if len(text) <= 13 else f"{value:.4g}"


def percent(share: float) -> str:
    """A share with three digits."""
    return f"{100.0 * share:.3g} %"


def ticks(count: int) -> str:
    """A number of ticks in words."""
    return "1 tick" if count == 1 else f"{count:,} ticks"
