"""The plots of how training went and how it ended, each a pure function from records to SVG text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from townlet_runtime.report.data import Metrics, MetricsRow
from townlet_runtime.report.figures import (
    EndLabel,
    label_ends,
    mark_stages,
    on_paper,
    render,
    rolling_mean,
    use_step_axis,
)
from townlet_runtime.report.palette import color, policy_roles
from townlet_runtime.report.scores import Difference, interval_text, number
from townlet_trajectory.evaluation.results import ZEROS, CloneEpoch, EvaluationRecord
from townlet_trajectory.storage.json import printable

CLONE_SPAN = 0.06
"""The accuracies of a clone are shown on a scale of at least this height."""

Getter = Callable[[MetricsRow], float | None]

_MAX_PANELS = 4

ROUND_STEPS = [1, 2, 2.5, 5, 10]

LOSSES: tuple[tuple[str, Getter], ...] = (
    ("Policy loss", lambda row: row.loss_policy),
    ("Value loss", lambda row: row.loss_value),
    ("Entropy (loss_entropy)", lambda row: row.loss_entropy),
    ("Total loss", lambda row: row.loss_total),
)
EVENTS: tuple[tuple[str, Getter], ...] = (
    ("Faints", lambda row: row.faint_events),
    ("Late ticks", lambda row: row.late_ticks),
    ("Meals", lambda row: row.meal_events),
    ("Queue conflicts", lambda row: row.queue_conflict_events),
)


def return_plot(history: Sequence[EvaluationRecord], metrics: Metrics | None) -> str:
    """Draw the return of the learned policy and of the baselines against environment steps.

    Args:
        history: at least one evaluation.
        metrics: the log of the same run, which knows better when a stage began.
    """
    starts = _history_stages(history) if metrics is None else metrics.stage_starts
    last = max(float(history[-1].env_steps), 0.0 if metrics is None else float(metrics.steps[-1]))

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        steps = np.array([point.env_steps for point in history], dtype=np.float64)
        learned = np.array([point.return_mean for point in history])
        bounds = np.array([point.return_ci for point in history])
        axes.fill_between(steps, bounds[:, 0], bounds[:, 1], color=color("learned"), alpha=0.18, linewidth=0)
        axes.plot(steps, learned, color=color("learned"), marker="o", markersize=2.8, zorder=3)
        labels = [EndLabel(text="learned", y=float(learned[-1]), role="learned")]
        baselines = dict.fromkeys(name for point in history for name in point.baselines)
        roles = policy_roles(list(baselines))
        shown, far_below = [bounds.ravel(), learned], None
        # Those that earn nothing come last: they are not drawn where they would squeeze the others.
        for policy in sorted(baselines, key=lambda name: name in ZEROS):
            column = np.array([point.baselines.get(policy, np.nan) for point in history])
            if policy in ZEROS and _is_far(column, np.concatenate(shown)):
                far_below = policy, column
            elif np.isfinite(column[-1]):
                axes.plot(steps, column, color=color(roles[policy]), linewidth=1.3)
                labels.append(EndLabel(text=policy, y=float(column[-1]), role=roles[policy]))
                shown.append(column)
        if far_below is not None:
            _say_off_scale(axes, *far_below)
        use_step_axis(axes, last)
        mark_stages(axes, starts, last)
        axes.set_ylabel("mean return of an episode")
        label_ends(axes, labels)

    return render(draw, name="return", label="Return of each policy against environment steps", height=3.2)


def _is_far(column: NDArray[np.float64], others: NDArray[np.float64]) -> bool:
    """Tell whether showing `column` would squeeze what `others` show into less than half the height."""
    low, high = np.nanmin(others), np.nanmax(others)
    return bool(np.nanmin(column, initial=np.inf) < low - (high - low))


def _say_off_scale(axes: Axes, policy: str, column: NDArray[np.float64]) -> None:
    low, high = axes.get_ylim()
    # Room for the words below the lowest line.
    axes.set_ylim(low - 0.1 * (high - low), high)
    text = f"{policy}: {number(float(np.nanmean(column)))}, below this scale ↓"
    place: dict[str, Any] = {"transform": axes.transAxes, "ha": "right", "va": "bottom"}
    axes.text(0.985, 0.03, text, color=color(policy), fontsize=7.5, bbox=on_paper(), **place)


def _history_stages(history: Sequence[EvaluationRecord]) -> tuple[tuple[str, float], ...]:
    return tuple(
        (point.stage, float(point.env_steps))
        for index, point in enumerate(history)
        if index == 0 or point.stage != history[index - 1].stage
    )


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
            paired, ink, paper = difference.paired, color("ink"), color("paper")
            dots: dict[str, Any] = {"markersize": 4, "alpha": 0.45, "markeredgewidth": 0}
            axes.plot(difference.values, row + jitter, "o", color=color(roles[difference.other]), **dots)
            axes.plot(paired.ci, [row, row], "|-", color=ink, linewidth=2.2, markersize=13, markeredgewidth=1.6)
            axes.plot([paired.mean], [row], "D", color=ink, markersize=4.5, markeredgecolor=paper, markeredgewidth=0.8)
            wins = int(np.count_nonzero(difference.values > 0))
            mean = number(paired.mean, sign=True)
            text = f"mean {mean} ({interval_text(paired.ci)}), better on {wins} of {count} seeds"
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


def shares_plot(metrics: Metrics) -> str:
    """The blend ratio, the share of decisions that the learned policy took, and whose actions filled the ticks."""

    def draw(figure: Figure) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True)
        steps, last = metrics.steps, float(metrics.steps[-1])
        ratio = metrics.column(lambda row: row.ratio)
        decided = metrics.column(lambda row: row.decision_share_learned)
        upper.plot(steps, ratio, color=color("ink"), linewidth=1.0, linestyle=(0, (4, 3)), zorder=3)
        upper.plot(steps, decided, color=color("learned"))
        upper.set_title("Of decisions", pad=14)
        ends = [("ratio asked for", ratio, "ink"), ("learned, real", decided, "learned")]
        upper.set_ylim(0.0, 1.03)
        label_ends(upper, [EndLabel(text=text, y=_last(column), role=role) for text, column, role in ends])
        shares = {
            "learned": metrics.column(lambda row: row.tick_share_learned),
            "scripted": metrics.column(lambda row: row.tick_share_scripted),
            "external": metrics.column(lambda row: row.tick_share_external),
        }
        lower.set_title("Of agent ticks")
        lower.set_ylim(0.0, 1.0)
        _stack_shares(lower, steps, shares)
        for axes in (upper, lower):
            use_step_axis(axes, last, label=axes is lower)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
            axes.set_yticks([0.0, 0.5, 1.0])
        mark_stages(upper, metrics.stage_starts, last)

    return render(draw, name="shares", label="Blend ratio and real shares by source", height=3.6)


def _stack_shares(axes: Axes, steps: NDArray[np.float64], shares: dict[str, NDArray[np.float64]]) -> None:
    base = np.zeros(len(steps))
    labels = []
    for source, share in shares.items():
        top = base + np.nan_to_num(share)
        axes.fill_between(steps, base, top, color=color(source), alpha=0.75, linewidth=0)
        if np.nanmax(share, initial=0.0) >= 0.005:
            middle = float((base[-1] + top[-1]) / 2)
            labels.append(EndLabel(text=f"{source} {_last(share):.0%}", y=middle, role=source))
        base = top
    label_ends(axes, labels)


def _last(column: NDArray[np.float64]) -> float:
    """The last number of a column, 0 when it has none."""
    present = column[np.isfinite(column)]
    return float(present[-1]) if present.size else 0.0


def clone_plot(epochs: Sequence[CloneEpoch], *, name: str = "clone") -> str:
    """Held-out accuracy of the clone, epoch by epoch."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        numbers = [epoch.epoch for epoch in epochs]
        accuracy = [epoch.held_out_accuracy for epoch in epochs]
        axes.plot(numbers, accuracy, color=color("clone"), marker="o", markersize=3.5)
        axes.set_xlabel("epoch of behavior cloning")
        axes.set_ylabel("held-out accuracy")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.grid(axis="y")
        # A narrow scale would make a tenth of a percent look like a fall.
        middle = (min(accuracy) + max(accuracy)) / 2
        reach = max(0.6 * (max(accuracy) - min(accuracy)), CLONE_SPAN / 2)
        axes.set_ylim(middle - reach, min(middle + reach, 1.005))
        label_ends(axes, [EndLabel(text=f"{accuracy[-1]:.1%}", y=accuracy[-1], role="ink")])

    return render(draw, name=name, label="Held-out accuracy of the clone per epoch", height=2.6)


def losses_plot(metrics: Metrics, *, name: str = "losses") -> str:
    """The losses of each update, each on its own scale."""
    columns = [(title, metrics.column(value)) for title, value in LOSSES]
    return _panels(metrics, columns, name=name, label="Losses against environment steps", unit=None)


def events_of(metrics: Metrics, *, is_town: bool) -> tuple[tuple[str, Getter], ...]:
    """Return the events that `events_plot` shows: those of the town, or the first four that another world counts.

    Args:
        metrics: the log.
        is_town: whether the world is the town.

    Returns:
        Titles and counts; none where the log counts no event.
    """
    own = list(metrics.rows[0].own_events)[:_MAX_PANELS]
    events = EVENTS if is_town else tuple((name.replace("_", " "), partial(_own_count, name)) for name in own)
    return events if any(bool(np.isfinite(metrics.column(value)).any()) for _, value in events) else ()


def reward_terms_of(metrics: Metrics) -> tuple[tuple[str, Getter], ...]:
    """Return the first four named parts of the reward that a world states; none where it states none."""
    names = list(metrics.rows[0].reward_terms)[:_MAX_PANELS]
    return tuple((name.replace("_", " "), partial(_reward_term, name)) for name in names)


def reward_terms_plot(metrics: Metrics, *, name: str = "rewards") -> str:
    """The named parts of the reward while data was collected, per agent tick."""
    columns = [(title, metrics.column(value)) for title, value in reward_terms_of(metrics)]
    return _panels(metrics, columns, name=name, label="Parts of the reward", unit=None)


def _reward_term(name: str, row: MetricsRow) -> float | None:
    return row.reward_terms.get(name)


def _own_count(name: str, row: MetricsRow) -> float | None:
    return row.own_events.get(name)


def events_plot(metrics: Metrics, events: Sequence[tuple[str, Getter]], *, label: str) -> str:
    """Draw what happened in the world while data was collected, per 1,000 agent ticks.

    Args:
        metrics: the log.
        events: titles and counts, at most four.
        label: title of the plot.
    """
    columns = [(title, metrics.per_thousand_agent_ticks(value)) for title, value in events]
    return _panels(metrics, columns, name="events", label=label, unit="per 1,000 agent ticks")


def _panels(
    metrics: Metrics, columns: Sequence[tuple[str, NDArray[np.float64]]], *, name: str, label: str, unit: str | None
) -> str:
    """Draw up to four panels; with a `unit` they are counts, and their scales begin at 0."""

    def draw(figure: Figure) -> None:
        grid = figure.subplots(2, 2, sharex=True)
        last = float(metrics.steps[-1])
        for axes in grid.ravel()[len(columns) :]:
            axes.set_visible(False)
        for index, (axes, (title, column)) in enumerate(zip(grid.ravel()[: len(columns)], columns, strict=True)):
            _draw_stages(axes, metrics, column, role="ink")
            axes.set_title(title)
            use_step_axis(axes, last, label=index >= len(columns) - 2)
            axes.xaxis.set_major_locator(MaxNLocator(4, steps=ROUND_STEPS))
            axes.yaxis.set_major_locator(MaxNLocator(4, steps=ROUND_STEPS))
            mark_stages(axes, [("", start) for _, start in metrics.stage_starts], last)
            if unit is not None:
                axes.set_ylim(bottom=0.0)
        if unit is not None:
            figure.supylabel(unit, fontsize=8.5, color=color("muted"))

    return render(draw, name=name, label=label, height=3.6)


def _draw_stages(axes: Axes, metrics: Metrics, column: NDArray[np.float64], *, role: str) -> None:
    """Draw each stage by itself, so that no mean mixes two; a long log faintly, with its rolling mean over it."""
    steps = metrics.steps
    window = 2 * (len(steps) // 40) + 1
    for rows in metrics.stage_rows:
        if window == 1:
            axes.plot(steps[rows], column[rows], color=color(role), marker="o", markersize=2.5)
            continue
        axes.plot(steps[rows], column[rows], color=color(role), linewidth=0.7, alpha=0.4)
        axes.plot(steps[rows], rolling_mean(column[rows], window), color=color(role))


def kl_plot(metrics: Metrics, *, name: str = "kl") -> str:
    """How far each update moved the policy."""
    return _single(metrics, lambda row: row.kl_divergence, name=name, title="KL divergence")


def entropy_plot(metrics: Metrics, *, name: str = "entropy") -> str:
    """How undecided the policy is."""
    return _single(metrics, lambda row: row.batch_entropy_mean, name=name, title="entropy")


def _single(metrics: Metrics, value: Getter, *, name: str, title: str) -> str:
    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        last = float(metrics.steps[-1])
        column = metrics.column(value)
        _draw_stages(axes, metrics, column, role="learned")
        use_step_axis(axes, last)
        mark_stages(axes, metrics.stage_starts, last)
        axes.set_ylabel(f"{title} (nats)")
        if np.nanmin(column, initial=0.0) >= 0.0:
            axes.set_ylim(bottom=0.0)

    return render(draw, name=name, label=f"{title} against environment steps", height=2.6)
