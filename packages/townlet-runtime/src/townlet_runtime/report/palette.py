"""Colours by meaning, each for light and for dark pages; told apart under the common colour-vision deficiencies."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# Policies: the palette of Okabe & Ito (2008), made lighter on dark pages; idle is grey because it does nothing.
THEME: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "paper": ("#fefefe", "#15191e"),
        "panel": ("#f4f6f8", "#1d232a"),
        "ink": ("#1c2127", "#e7eaee"),
        "muted": ("#59636e", "#a0abb6"),
        "rule": ("#d5dbe1", "#363f49"),
        "alert": ("#b3261e", "#ff8a80"),
        "learned": ("#0072b2", "#45a5e8"),
        "scripted": ("#d55e00", "#ff8b3d"),
        "nearest": ("#008a64", "#2fc99b"),
        "idle": ("#737d88", "#99a4af"),
        "random": ("#947000", "#d8b545"),
        "clone": ("#56b4e9", "#a9dcff"),
        "external": ("#b0578a", "#e79cc4"),
    }
)
"""Role -> (colour on a light page, colour on a dark page). No two roles share a light colour: figures are drawn in the
light colours and each is replaced by its role afterwards."""


def color(role: str) -> str:
    """Return the colour to draw `role` in."""
    return THEME[role][0]


def themed(svg: str) -> str:
    """Return `svg` with every colour of the theme replaced by its CSS variable, `var(--role)`."""
    for role, (light, _) in THEME.items():
        svg = svg.replace(light, f"var(--{role})")
    return svg
