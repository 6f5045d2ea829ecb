"""The named plots of the page with what to look for in each, or why one is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup

from townlet_runtime.report.data import Metrics, RunRecord
from townlet_runtime.report.paired_plot import paired_plot
from townlet_runtime.report.picture import PictureObject, TownPicture
from townlet_runtime.report.plots import (
    clone_plot,
    entropy_plot,
    events_plot,
    kl_plot,
    losses_plot,
    return_plot,
    shares_plot,
)
from townlet_runtime.report.scores import differences
from townlet_runtime.report.town_plot import LOW_NEED, town_plot

EVENT_POLICIES = ("learned", "scripted", "nearest")


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


def sections(run: RunRecord, picture: TownPicture | None) -> tuple[Section, ...]:
    """Return the plots of a run in the order of the page."""
    metrics = run.metrics
    return (
        _return(run),
        _paired(run),
        _of_log(metrics, shares_plot, "shares", "Blend ratio and real shares by source", SHARES_WORDS),
        _clone(run),
        _of_log(metrics, kl_plot, "kl", "KL divergence", KL_WORDS),
        _of_log(metrics, entropy_plot, "entropy", "Entropy", ENTROPY_WORDS),
        _of_log(metrics, losses_plot, "losses", "Losses", LOSSES_WORDS),
        _town(picture),
        _events(run),
    )


NO_LOG = "No update was logged: this run had no PPO stage."
RETURN_WORDS = (
    "Each point is the learned policy acting alone on the evaluation's seeds, the band its 95 % interval. Look for the "
    "point from which it stays above the script, and whether it still rises at the end."
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


def _of_log(metrics: Metrics | None, plot: Callable[[Metrics], str], name: str, title: str, words: str) -> Section:
    if metrics is None:
        return Section(name=name, title=title, svg=None, words=NO_LOG)
    return Section(name=name, title=title, svg=Markup(plot(metrics)), words=words)


def _return(run: RunRecord) -> Section:
    name, title = "return", "Return while training"
    if run.evaluation is None or not run.evaluation.history:
        return Section(name=name, title=title, svg=None, words="The policy was not evaluated during this run.")
    return Section(
        name=name, title=title, svg=Markup(return_plot(run.evaluation.history, run.metrics)), words=RETURN_WORDS
    )


def _paired(run: RunRecord) -> Section:
    name, title = "paired", "Paired differences per seed"
    found = () if run.evaluation is None else differences(run.evaluation.final)
    if not found:
        words = "No yardstick played the seeds of the learned policy, so there is nothing to pair."
        return Section(name=name, title=title, svg=None, words=words)
    return Section(name=name, title=title, svg=Markup(paired_plot(found)), words=PAIRED_WORDS)


def _clone(run: RunRecord) -> Section:
    name, title = "clone", "Accuracy of the clone"
    if run.evaluation is None or run.evaluation.clone is None or not run.evaluation.clone.epochs:
        return Section(name=name, title=title, svg=None, words="This run had no clone stage.")
    clone = run.evaluation.clone
    words = f"{CLONE_WORDS} The weights that were kept reach {100 * clone.accuracy:.1f} %."
    return Section(name=name, title=title, svg=Markup(clone_plot(clone.epochs)), words=words)


def _events(run: RunRecord) -> Section:
    section = _of_log(run.metrics, events_plot, "events", "Town events", EVENTS_WORDS)
    events = {} if run.evaluation is None else run.evaluation.final.events
    if not events:
        return section
    rows = tuple(
        (event.replace("_", " "), *(_count(by_policy.get(policy)) for policy in EVENT_POLICIES))
        for event, by_policy in events.items()
    )
    caption = "Mean count in the whole town per episode, each policy alone"
    table = Table(caption=caption, head=("event", *EVENT_POLICIES), rows=rows)
    return Section(name=section.name, title=section.title, svg=section.svg, words=section.words, table=table)


def _count(mean: float | None) -> str:
    return "" if mean is None else f"{mean:,.1f}"


def _town(picture: TownPicture | None) -> Section:
    name, title = "town", "The town"
    if picture is None:
        return Section(name=name, title=title, svg=None, words="No picture was taken: the world of this run has none.")
    words = (
        f"{picture.title[:1].upper()}{picture.title[1:]}. Large boxes are objects ({_legend(picture.objects)}), filled "
        "while in use; +n is the number waiting in line. Small boxes are agents, with the end of the name where there "
        "is room, and with three bars, hunger, hygiene and energy from left to right: full is satisfied, red is below "
        f"{100 * LOW_NEED:.0f} %. A blue frame is an agent that uses an object."
    )
    return Section(name=name, title=title, svg=Markup(town_plot(picture)), words=words)


def _legend(objects: tuple[PictureObject, ...]) -> str:
    kinds = dict.fromkeys(thing.type for thing in objects)
    return ", ".join(f"{kind[:2].capitalize()} {kind}" for kind in kinds) or "none here"
