"""What the picture of several runs says; how it looks is for eyes."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from several_runs import change, write_runs

from townlet_runtime.report.comparison import comparison_page, comparison_picture, draw_curves, draw_profiles
from townlet_runtime.report.palette import color, group_roles, policy_roles
from townlet_runtime.runs.comparison import RunsComparison, compare_groups
from townlet_runtime.runs.groups import find_runs, group_runs


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> RunsComparison:
    folder = tmp_path_factory.mktemp("runs")
    write_runs(folder / "a", {0: 0.0, 1: 2.0, 2: 4.0})
    write_runs(folder / "b", {0: 8.0, 1: 9.0}, settings=["ppo.clip_range=0.1"])
    return compare_groups(group_runs(find_runs([folder / "a", folder / "b"]))[0])


def test_the_profile_is_the_share_of_runs_above(found: RunsComparison) -> None:
    axes = Figure().add_subplot()
    draw_profiles(axes, found)
    line = next(line for line in axes.lines if line.get_color() == color(group_roles(1)[0]))
    scores = np.sort(found.groups[0].learned.means)
    assert line.get_drawstyle() == "steps-post"
    assert line.get_xdata()[1:-1] == pytest.approx(scores)
    assert line.get_ydata() == pytest.approx([1.0, 2 / 3, 1 / 3, 0.0, 0.0])
    (words,) = [[text.get_text() for text in legend.get_texts()] for legend in [axes.get_legend()] if legend]
    assert words == [f"{group.name} ({len(group.runs)} runs)" for group in found.groups]


def test_the_curve_is_the_mean_over_runs_and_each_run_is_seen(found: RunsComparison) -> None:
    axes = Figure().add_subplot()
    draw_curves(axes, found)
    blue = [line for line in axes.lines if line.get_color() == color(group_roles(1)[0])]
    thin, thick = (
        [line for line in blue if line.get_linewidth() < 1],
        [line for line in blue if line.get_linewidth() > 1],
    )
    assert len(thin) == 3 and len(thick) == 1
    # the runs differ by 0, 2 and 4 everywhere
    history = found.groups[0].runs[0].evaluation.history
    last_of_each = {point.env_steps: point.return_mean + 2.0 for point in history}
    assert thick[0].get_xdata().tolist() == list(last_of_each)
    assert thick[0].get_ydata() == pytest.approx(list(last_of_each.values()))


def test_groups_have_colours_of_their_own_that_no_script_has() -> None:
    roles = group_roles(6)
    assert len(set(roles)) == 6
    assert not set(roles) & set(policy_roles(["scripted", "nearest", "idle"]).values())
    assert group_roles(7)[6] == roles[0]


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_a_picture_is_the_same_bytes_every_time(kind: str, found: RunsComparison) -> None:
    picture = comparison_picture(found, kind=kind)
    assert picture == comparison_picture(found, kind=kind)
    if kind == "svg":
        assert b"<text" not in picture  # letters are shapes: they need no font
        loads = re.findall(rb'href="([^"]*)"|url\(([^)]*)\)', picture)
        assert all((one or other).startswith(b"#") for one, other in loads)


class Tags(HTMLParser):
    """Collects the tags that are open at the end, and the tags of all."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)


def test_the_page_says_unit_figures_runs_and_settings(found: RunsComparison) -> None:
    page = comparison_page(found)
    words = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    for sentence in (
        "The unit is the run, one for each training seed",
        "3 runs; with fewer than 5 training seeds",
        "Performance profile",
        "Return while training",
        "95 % Student interval over seeds",
        "paired by seed",
        "independent",
        "ppo.clip_range = 0.1",
        str(found.groups[1].runs[1].path),
    ):
        assert sentence in words, sentence
    assert Tags(page).seen.count("svg") == 2
    loads = re.findall(r"""(?:src|href)\s*=\s*["']?([^"'\s>]+)|url\(\s*["']?([^"')]+)""", page)
    assert [a or b for a, b in loads if not (a or b).startswith(("data:", "#"))] == []


def test_names_are_no_markup(tmp_path: Path) -> None:
    (run,) = write_runs(tmp_path / "<b>", {0: 0.0})
    change(run, "summary.json", lambda content: content.update(env="<script>"))
    page = comparison_page(compare_groups(group_runs([run])[0]))
    assert "script" not in Tags(page).seen and "b" not in Tags(page).seen
    assert "&lt;script&gt;" in page


def test_one_run_has_a_curve_without_a_band(tmp_path: Path) -> None:
    write_runs(tmp_path, {0: 0.0})
    page = comparison_page(compare_groups(group_runs(find_runs([tmp_path]))[0]))
    assert "1 run; with fewer" in page
