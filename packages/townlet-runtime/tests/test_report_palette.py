"""The colours of the page, on light paper and on dark."""

from __future__ import annotations

import numpy as np
import pytest

from townlet_runtime.report.palette import THEME, policy_roles, themed


def test_no_two_roles_share_a_light_colour() -> None:
    lights = [light for light, _ in THEME.values()]
    assert len(set(lights)) == len(lights)
    assert themed("#0072b2;#d55e00;#123456") == "var(--learned);var(--scripted);#123456"


def test_behaviors_of_any_name_have_a_colour() -> None:
    names = ["learned", "scripted", "nearest", "random", "heuristic", "<i>", "a", "b"]
    roles = policy_roles(names)
    assert list(roles) == names and set(roles.values()) <= THEME.keys()
    assert [roles[name] for name in names[2:]] == ["other-1", "random", "other-2", "other-3", "other-4", "other-1"]


@pytest.mark.parametrize("column", [0, 1])
def test_words_have_contrast_on_paper(column: int) -> None:
    def luminance(code: str) -> float:
        parts = np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ np.array([0.2126, 0.7152, 0.0722]))

    paper = luminance(THEME["paper"][column])
    # WCAG 2.2, contrast (minimum): 4.5 for text, 3 for large text and graphics.
    needed = {"ink": 7.0, "muted": 4.5, "alert": 4.5, "learned": 4.5, "good": 4.5, "scripted": 3.0, "idle": 3.0}
    for role, ratio in needed.items():
        other = luminance(THEME[role][column])
        assert (max(paper, other) + 0.05) / (min(paper, other) + 0.05) >= ratio, role
