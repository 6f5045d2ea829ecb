"""The named plots of the page with what to look for in each, or why one is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol

from markupsafe import Markup

from townlet_runtime.report.data import Metrics, ReportData
from townlet_runtime.report.paired_plot import paired_plot
from townlet_runtime.report.plots import (
    clone_plot,
    counts_town_events,
    entropy_plot,
    events_plot,
    kl_plot,
    losses_plot,
    return_plot,
    shares_plot,
)
from townlet_runtime.report.scores import differences
from townlet_runtime.report.town_plot import LOW_NEED, town_plot
from townlet_runtime.town.config import TOWN
from townlet_runtime.town.picture import PictureObject, TownPicture
from townlet_trajectory.evaluation.results import LEARNED, ZEROS, CloneResult, FinalEvaluation

MAX_EVENT_POLICIES = 3
"""Columns of the table of events: the learned policy and the first behaviors, those that earn nothing last."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A small table below a plot; the first column of a row is its name."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Section:
    """One named part of the page: a plot with its caption, or the reason why there is none."""

    name: str
    """Anchor in the page."""
    title: str
    svg: Markup | None
    words: str
    """What to look for; without a plot, why it is missing."""
    table: Table | None = None


class LogPlot(Protocol):
    """Draws something of the log of one group."""

    def __call__(self, metrics: Metrics, *, name: str) -> str: ...


def sections(run: ReportData, picture: TownPicture | None) -> tuple[Section, ...]:
    """Return the plots of a run in the order of the page; those of what a group learned once for each group."""
    metrics = run.metrics
    return (
        _return(run),
        _paired(run),
        _shares(run),
        *_clone(run),
        *_of_log(metrics, kl_plot, "kl", "KL divergence", KL_WORDS),
        *_of_log(metrics, entropy_plot, "entropy", "Entropy", ENTROPY_WORDS),
        *_of_log(metrics, losses_plot, "losses", "Losses", LOSSES_WORDS),
        *_town(run, picture),
        *_events(run),
    )


NO_LOG = "No update was logged: this run had no PPO stage."
RETURN_WORDS = (
    "Each point is the learned policy acting alone on the evaluation's seeds, the band its 95 % interval. Look for the "
    "point from which it stays above the other lines, and whether it still rises at the end."
)
PAIRED_WORDS = (
    "Each dot is one seed that both policies played; the diamond is the mean, the bar its 95 % interval. The learned "
    "policy is better when the whole bar lies right of zero. A long tail of dots on the left is a policy that now and "
    "then crashes."
)
SHARES_WORDS = (
    "Above, the ratio that was asked for and the share of decisions that the learned policy really took; they should "
    "lie on each other. Below, whose actions filled the ticks: a decision that is held for many counts in each of them."
)
CLONE_WORDS = (
    "Share of the script's choices, in episodes that the clone was not trained on, that the clone finds most probable. "
    "It should level off; a fall of several points is overfitting."
)
LOSSES_WORDS = (
    "Each on its own scale; none of them measures how good the policy is. Look for jumps, and for a value loss that "
    "grows without end. Bold is a rolling mean where the log is long; dashed lines are starts of stages."
)
KL_WORDS = (
    "How far one update moved the policy on the decisions it was trained on. It should stay small and even; a spike is "
    "an update that was too large. It is 0 in a warm-up, which trains the value alone."
)
ENTROPY_WORDS = (
    "How undecided the policy is. From a fresh network it begins high and falls slowly as the policy learns; after a "
    "clone it begins low and may rise while the policy finds its own way. Close to zero, it has stopped exploring."
)
EVENTS_WORDS = (
    "Of the whole town, per 1,000 ticks of agents. Counted while data was collected, by whoever acted, so the blend "
    "changes them too. The first update is not shown: nothing precedes it to measure its agent ticks. The table has "
    "the same events of each policy acting alone."
)
OTHER_EVENTS_WORDS = "What the world counts, with each policy acting alone."


def _of_log(metrics: Mapping[str, Metrics], plot: LogPlot, name: str, title: str, words: str) -> tuple[Section, ...]:
    if not metrics:
        return (Section(name=name, title=title, svg=None, words=NO_LOG),)
    if len(metrics) == 1:
        (only,) = metrics.values()
        return (Section(name=name, title=title, svg=Markup(plot(only, name=name)), words=words),)
    # Numbered: the name of a group is the world's, and may hold anything.
    return tuple(
        Section(
            name=f"{name}-{number}",
            title=f"{title}: {group}",
            svg=Markup(plot(each, name=f"{name}-{number}")),
            words=words,
        )
        for number, (group, each) in enumerate(metrics.items(), start=1)
    )


def _of_the_world(run: ReportData) -> Metrics | None:
    """The log of the first group: stages, shares and events are those of the whole world, the same in every group."""
    return next(iter(run.metrics.values()), None)


def _shares(run: ReportData) -> Section:
    name, title, metrics = "shares", "Blend ratio and real shares by source", _of_the_world(run)
    if metrics is None:
        return Section(name=name, title=title, svg=None, words=NO_LOG)
    return Section(name=name, title=title, svg=Markup(shares_plot(metrics)), words=SHARES_WORDS)


def _return(run: ReportData) -> Section:
    name, title = "return", "Return while training"
    if not run.evaluation.history:
        return Section(name=name, title=title, svg=None, words="The policy was not evaluated during this run.")
    plot = return_plot(run.evaluation.history, _of_the_world(run))
    return Section(name=name, title=title, svg=Markup(plot), words=RETURN_WORDS)


def _paired(run: ReportData) -> Section:
    name, title = "paired", "Paired differences per seed"
    found = differences(run.evaluation.final)
    if not found:
        words = "No other policy played the seeds of the learned one, so there is nothing to pair."
        return Section(name=name, title=title, svg=None, words=words)
    return Section(name=name, title=title, svg=Markup(paired_plot(found)), words=PAIRED_WORDS)


def _clone(run: ReportData) -> tuple[Section, ...]:
    name, title = "clone", "Accuracy of the clone"
    if run.evaluation.clone is None:
        return (Section(name=name, title=title, svg=None, words="This run had no clone stage."),)
    results = run.evaluation.clone.results
    if len(results) == 1:
        return tuple(_of_clone(clone, name, title) for clone in results.values())
    return tuple(
        _of_clone(clone, f"{name}-{number}", f"{title}: {group}")
        for number, (group, clone) in enumerate(results.items(), start=1)
    )


def _of_clone(clone: CloneResult, name: str, title: str) -> Section:
    words = f"{CLONE_WORDS} The weights that were kept reach {100 * clone.accuracy:.1f} %."
    return Section(name=name, title=title, svg=Markup(clone_plot(clone.epochs, name=name)), words=words)


def _events(run: ReportData) -> tuple[Section, ...]:
    """What happened in the world; nothing for a world that counts nothing."""
    name, table = "events", _events_table(run.evaluation.final)
    metrics = _of_the_world(run)
    if metrics is not None and counts_town_events(metrics):
        return (
            Section(name=name, title="Town events", svg=Markup(events_plot(metrics)), words=EVENTS_WORDS, table=table),
        )
    if run.summary.env == TOWN:
        return (Section(name=name, title="Town events", svg=None, words=NO_LOG, table=table),)
    if table is None:
        return ()
    return (Section(name=name, title="Events", svg=None, words=OTHER_EVENTS_WORDS, table=table),)


def _events_table(final: FinalEvaluation) -> Table | None:
    if not final.learned.events:
        return None
    others = sorted(final.baselines, key=lambda name: name in ZEROS)
    policies = [LEARNED, *others][:MAX_EVENT_POLICIES]
    rows = tuple(
        (event.replace("_", " "), *(_count(final.scores[policy].events.get(event)) for policy in policies))
        for event in final.learned.events
    )
    caption = "Mean count in the whole world per episode, each policy alone"
    return Table(caption=caption, head=("event", *policies), rows=rows)


def _count(counts: Sequence[float] | None) -> str:
    return "" if counts is None else f"{fmean(counts):,.1f}"


def _town(run: ReportData, picture: TownPicture | None) -> tuple[Section, ...]:
    """A still of the town; nothing for another world."""
    name, title = "town", "The town"
    if picture is None:
        words = "No picture of the town was taken."
        return (Section(name=name, title=title, svg=None, words=words),) if run.summary.env == TOWN else ()
    words = (
        f"{picture.title[:1].upper()}{picture.title[1:]}. Large boxes are objects ({_legend(picture.objects)}), filled "
        "while in use; +n is the number waiting in line. Small boxes are agents, with the end of the name where there "
        "is room, and with three bars, hunger, hygiene and energy from left to right: full is satisfied, red is below "
        f"{100 * LOW_NEED:.0f} %. A blue frame is an agent that uses an object."
    )
    return (Section(name=name, title=title, svg=Markup(town_plot(picture)), words=words),)


def _legend(objects: tuple[PictureObject, ...]) -> str:
    kinds = dict.fromkeys(thing.type for thing in objects)
    return ", ".join(f"{kind[:2].capitalize()} {kind}" for kind in kinds) or "none here"
