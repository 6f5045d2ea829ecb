"""The picture of several runs: performance profiles, and return while training, over seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from townlet_runtime.report.figures import WIDTH, EndLabel, label_ends, picture_bytes, render, use_step_axis
from townlet_runtime.report.page import NOTHING, fill
from townlet_runtime.report.palette import color, group_roles, policy_roles
from townlet_runtime.report.scores import interval_text, number
from townlet_runtime.report.sections import Section
from townlet_runtime.runs.comparison import RunsComparison, runs_text, unit_words
from townlet_runtime.runs.groups import RunGroup
from townlet_trajectory.evaluation.across_runs import learning_curve, performance_profile
from townlet_trajectory.evaluation.results import ZEROS
from townlet_trajectory.evaluation.run_sets import LEVEL
from townlet_trajectory.storage.json import printable

HEIGHT = 3.4
"""Inches of each of the two."""
_ALPHA = 0.16
"""Of bands, through which the lines of other groups are seen."""


def draw_curves(axes: Axes, found: RunsComparison) -> None:
    """Draw the return while training: of each group the mean over seeds with its band, and each run as a thin line."""
    roles, labels, last = group_roles(len(found.groups)), [], 0.0
    for role, group in zip(roles, found.groups, strict=True):
        histories = [run.evaluation.history for run in group.runs if run.evaluation.history]
        points = [([each.env_steps for each in one], [each.return_mean for each in one]) for one in histories]
        if not points:
            continue
        for steps, returns in points:
            axes.plot(steps, returns, color=color(role), linewidth=0.6, alpha=0.45)
        curve = learning_curve(points, level=LEVEL)
        axes.fill_between(curve.env_steps, curve.low, curve.high, color=color(role), alpha=_ALPHA, linewidth=0)
        axes.plot(curve.env_steps, curve.mean, color=color(role), zorder=3)
        labels.append(EndLabel(text=_label(group), y=float(curve.mean[-1]), role=role))
        last = max(last, *(steps[-1] for steps, _ in points))
    for name, mean in _behaviors_while_training(found.groups).items():
        role = policy_roles([name])[name]
        axes.axhline(mean, color=color(role), linewidth=1.2, linestyle=(0, (4, 3)))
        labels.append(EndLabel(text=name, y=mean, role=role))
    use_step_axis(axes, float(last))
    axes.set_title("Return while training", pad=10)
    axes.set_ylabel("mean return of an episode")
    label_ends(axes, labels)


def _behaviors_while_training(groups: Sequence[RunGroup]) -> dict[str, float]:
    """Mean return of each script on the episodes of selection; those that earn nothing would squeeze the others."""
    points = [point for group in groups for run in group.runs for point in run.evaluation.history]
    names = dict.fromkeys(name for point in points for name in point.baselines if name not in ZEROS)
    return {name: float(np.mean([each.baselines[name] for each in points if name in each.baselines])) for name in names}


def _label(group: RunGroup) -> str:
    return printable(f"{group.name} ({runs_text(len(group.runs))})")


def draw_profiles(axes: Axes, found: RunsComparison) -> None:
    """Draw the share of each group's runs with a final score above each threshold, with its band."""
    scores = [group.learned.means for group in found.groups]
    low, high = float(np.min(np.concatenate(scores))), float(np.max(np.concatenate(scores)))
    scripts = {name: mean for name, mean in found.behaviors.items() if name not in ZEROS}
    low, high = min([low, *scripts.values()]), max([high, *scripts.values()])
    room = 0.08 * (high - low or abs(high) or 1.0)
    ends = (low - room, high + room)
    for role, group, values in zip(group_roles(len(scores)), found.groups, scores, strict=True):
        profile = performance_profile(values, np.array([ends[0], *np.sort(values), ends[1]]), level=LEVEL)
        at = profile.thresholds
        axes.fill_between(at, profile.low, profile.high, step="post", color=color(role), alpha=_ALPHA, linewidth=0)
        axes.step(at, profile.share, where="post", color=color(role), zorder=3, label=_label(group))
    for name, mean in scripts.items():
        axes.axvline(mean, color=color(policy_roles([name])[name]), linewidth=1.2, linestyle=(0, (4, 3)))
    axes.set_xlim(ends)
    axes.set_ylim(0.0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="y")
    axes.set_title("Performance profile", pad=10)
    axes.set_xlabel("final score of a run, τ")
    axes.set_ylabel("runs with a score above τ")
    axes.legend(frameon=False, loc="best", fontsize=7.5, labelcolor=color("ink"))


def comparison_picture(found: RunsComparison, *, kind: str) -> bytes:
    """Return profiles and curves side by side as a file of their own, `png` or `svg`."""

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        draw_profiles(left, found)
        draw_curves(right, found)

    return picture_bytes(draw, kind=kind, width=2.0 * WIDTH + 0.4, height=HEIGHT)


def comparison_page(found: RunsComparison) -> str:
    """Return profiles, curves and figures as one page that needs nothing but itself."""
    run = found.groups[0].runs[0]
    profile = render(_alone(draw_profiles, found), name="profile", label="Performance profiles", height=HEIGHT)
    curve = render(_alone(draw_curves, found), name="curve", label="Return against environment steps", height=HEIGHT)
    return fill(
        "comparison.html.j2",
        title=f"Townlet runs: {run.summary.env}, {', '.join(group.name for group in found.groups)}",
        unit=unit_words(found),
        warnings=found.warnings,
        tables=[table for table in (_scores(found), _differences(found), _runs(found)) if table.rows],
        figures=[
            Section(name="profile", title="Performance profile", svg=Markup(profile), words=PROFILE_WORDS),
            Section(name="curve", title="Return while training", svg=Markup(curve), words=CURVE_WORDS),
        ],
    )


def _alone(draw: Callable[[Axes, RunsComparison], None], found: RunsComparison) -> Callable[[Figure], None]:
    return lambda figure: draw(figure.add_subplot(), found)


PROFILE_WORDS = (
    "Share of a group's runs with a final score above τ; the band is its exact 95 % interval at each τ. A line that "
    "lies above another one everywhere is the better way to train. Dashed: mean scores of scripts."
)
CURVE_WORDS = (
    "Each thin line is one run on the episodes that choose its checkpoint, the thick one the mean over runs where all "
    "of them were evaluated, the band its 95 % Student interval over seeds. Dashed: mean returns of scripts."
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of a table."""

    name: str
    cells: Sequence[str]
    role: str | None = None
    """Of the colour of its dot; None: no dot."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the page."""

    title: str
    head: Sequence[str]
    rows: Sequence[Row]
    caption: str


def _scores(found: RunsComparison) -> Table:
    roles = group_roles(len(found.groups))
    rows = [
        Row(
            name=group.name,
            cells=(str(each.num_runs), number(each.mean), _interval(each.ci), number(each.iqm), _interval(each.iqm_ci)),
            role=role,
        )
        for role, group, each in zip(roles, found.groups, found.summaries, strict=True)
    ]
    behaviors = policy_roles(list(found.behaviors))
    rows += [
        Row(name=name, cells=("", number(mean), "", "", ""), role=behaviors[name])
        for name, mean in found.behaviors.items()
    ]
    return Table(
        title="Scores",
        head=("group", "runs", "mean", "95 % over runs", "interquartile mean", "95 % over runs"),
        rows=rows,
        caption="Intervals: of the mean Student's, of the interquartile mean a bootstrap of whole runs. A script is no "
        "run: its mean is over the final episodes of all of them.",
    )


def _differences(found: RunsComparison) -> Table:
    rows = [
        Row(
            name=f"{each.first} \N{MINUS SIGN} {each.second}",
            cells=(
                " and ".join(dict.fromkeys(map(str, each.found.num_runs))),
                number(each.found.mean, sign=True),
                _interval(each.found.ci),
                "paired by seed" if each.found.paired else "independent",
                f"{100 * each.found.probability:.0f} %",
            ),
        )
        for each in found.differences
    ]
    return Table(
        title="Differences",
        head=("difference", "runs", "mean", "95 % over runs", "runs are", "probability of improvement"),
        rows=rows,
        caption="Paired by seed: Student's interval of the differences of runs with the same training seed. "
        "Independent: Welch's. The probability of improvement is that of a run of the first being the better one.",
    )


def _runs(found: RunsComparison) -> Table:
    rows = [
        Row(name=str(run.path), cells=(group.name, str(run.summary.seed), f"{run.summary.env_steps:,}", number(score)))
        for group in found.groups
        for run, score in zip(group.runs, group.learned.means.tolist(), strict=True)
    ]
    return Table(
        title="Runs",
        head=("run", "group", "seed", "environment steps", "final score"),
        rows=rows,
        caption="Settings that tell the groups apart: "
        + (
            "; ".join(
                f"{group.name}: " + ", ".join(f"{key} = {value}" for key, value in group.settings.items())
                for group in found.groups
                if group.settings
            )
            or "none"
        )
        + ".",
    )


def _interval(interval: tuple[float, float] | None) -> str:
    return NOTHING if interval is None else interval_text(interval)
