"""Colours by meaning, each for light and for dark pages; told apart under the common colour-vision deficiencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        "good": ("#1a7f4b", "#4cc38a"),
        "learned": ("#0072b2", "#45a5e8"),
        "scripted": ("#d55e00", "#ff8b3d"),
        "idle": ("#737d88", "#99a4af"),
        "random": ("#947000", "#d8b545"),
        "clone": ("#56b4e9", "#a9dcff"),
        "external": ("#b0578a", "#e79cc4"),
        "other-1": ("#008a64", "#2fc99b"),
        "other-2": ("#7a5195", "#b79bd0"),
        "other-3": ("#8c564b", "#c99b90"),
        "other-4": ("#3d6b7d", "#86b3c4"),
    }
)
"""Role -> (colour on a light page, colour on a dark page). No two roles share a light colour: figures are drawn in the
light colours and each is replaced by its role afterwards."""


_POLICIES = ("learned", "scripted", "idle", "random", "clone")
_NUM_OTHERS = 4
_GROUPS = ("learned", "external", "random", "clone", "other-2", "other-4")


def policy_roles(names: Sequence[str]) -> dict[str, str]:
    """Return the role of each policy: its own where it has one, else one of `other-1` to `other-4` in turn."""
    others = [name for name in names if name not in _POLICIES]
    turns = {name: f"other-{1 + index % _NUM_OTHERS}" for index, name in enumerate(others)}
    return {name: turns.get(name, name) for name in names}


def group_roles(count: int) -> list[str]:
    """Return a role for each of `count` groups of runs, none of which a script has; beyond six they come in turn."""
    return [_GROUPS[index % len(_GROUPS)] for index in range(count)]


def color(role: str) -> str:
    """Return the colour to draw `role` in."""
    return THEME[role][0]


def themed(svg: str) -> str:
    """Return `svg` with every colour of the theme replaced by its CSS variable, `var(--role)`."""
    for role, (light, _) in THEME.items():
        svg = svg.replace(light, f"var(--{role})")
    return svg
