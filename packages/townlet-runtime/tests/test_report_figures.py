"""Figures as SVG inside a page."""

from __future__ import annotations

import matplotlib
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from townlet_runtime.report.figures import mark_stages, render, rolling_mean, spread
from townlet_runtime.report.palette import color


def draw_line(figure: Figure) -> None:
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=color("learned"), marker="o")
    axes.set_title("a < b")


def test_an_svg_is_themed_prefixed_and_without_addresses() -> None:
    svg = render(draw_line, name="one", label='a "b" <c>', height=2.0)
    assert svg.startswith('<svg viewBox="0 0 345.6 144" role="img" aria-label="a &quot;b&quot; &lt;c&gt;">')
    assert svg.endswith("</svg>")
    assert "stroke: var(--learned)" in svg
    assert color("learned") not in svg
    assert 'id="one-' in svg
    assert "url(#one-" in svg
    assert 'href="#one-' in svg
    assert "http" not in svg
    assert "xlink" not in svg
    assert "metadata" not in svg
    assert "a &lt; b" in svg


def test_the_same_figure_has_the_same_bytes_whatever_the_user_has_set() -> None:
    first = render(draw_line, name="one", label="x", height=2.0)
    with matplotlib.rc_context({"lines.linewidth": 9.0, "font.size": 20.0, "svg.hashsalt": None}):
        assert render(draw_line, name="one", label="x", height=2.0) == first
        assert matplotlib.rcParams["lines.linewidth"] == 9.0


def test_labels_are_moved_apart_by_hand() -> None:
    np.testing.assert_allclose(spread(np.array([0.5, 0.1, 0.52]), gap=0.1), [0.5, 0.1, 0.6])
    np.testing.assert_allclose(spread(np.array([0.99, 0.98]), gap=0.1), [1.0, 0.9])
    assert spread(np.array([]), gap=0.1).shape == (0,)


@given(st.lists(st.floats(0, 1), max_size=8))
def test_spread_labels_keep_their_order_and_their_distance(heights: list[float]) -> None:
    moved = np.sort(spread(np.array(heights), gap=0.05))
    assert np.all(np.diff(moved) >= 0.05 - 1e-12)
    assert np.all(moved <= 1.0)


def test_rolling_mean_by_hand() -> None:
    values = np.array([1.0, 2.0, 6.0, np.nan, 4.0])
    # Ends average what is there; the absent number counts as absent.
    np.testing.assert_allclose(rolling_mean(values, 3), [1.5, 3.0, 4.0, 5.0, 4.0])
    np.testing.assert_allclose(rolling_mean(values, 1), values)


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=30), st.integers(0, 40))
def test_rolling_mean_stays_within_its_values(values: list[float], half: int) -> None:
    means = rolling_mean(np.array(values), 2 * half + 1)
    assert means.shape == (len(values),)
    assert np.all(means >= min(values) - 1e-9)
    assert np.all(means <= max(values) + 1e-9)


def test_a_stage_without_room_is_not_named() -> None:
    axes = Figure().add_subplot()
    mark_stages(axes, [("warmup", 1.0), ("anneal", 2.0), ("ppo", 50.0)], 100.0)
    assert [text.get_text() for text in axes.texts] == ["anneal", "ppo"]
    assert [line.get_xdata()[0] for line in axes.lines] == [2.0, 50.0]
