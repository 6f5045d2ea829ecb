"""The named plots of the page with what to look for in each, or why one is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol, TypeVar

from markupsafe import Markup

from townlet_runtime.report.data import Metrics, ReportData
from townlet_runtime.report.plots import (
    clone_plot,
    entropy_plot,
    events_of,
    events_plot,
    kl_plot,
    losses_plot,
    paired_plot,
    return_plot,
    reward_terms_of,
    reward_terms_plot,
    shares_plot,
)
from townlet_runtime.report.scores import differences
from townlet_runtime.report.town_plot import LOW_NEED, town_plot
from townlet_runtime.runs.records import ROUND_HEAD, round_rows
from townlet_runtime.town.config import TOWN
from townlet_runtime.town.picture import TownPicture
from townlet_trajectory.evaluation.results import LEARNED, ZEROS, FinalEvaluation

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


_Data = TypeVar("_Data", contravariant=True)


class GroupPlot(Protocol[_Data]):
    """Draws something of one group."""

    def __call__(self, data: _Data, /, *, name: str) -> str: ...


def sections(run: ReportData, picture: TownPicture | None) -> tuple[Section, ...]:
    """Return the plots of a run in the order of the page; those of what a group learned once for each group."""
    history = () if run.evaluation is None else run.evaluation.history
    found = () if run.evaluation is None else differences(run.evaluation.final)
    # Stages, shares and events are those of the whole world, the same in the log of every group.
    world = next(iter(run.metrics.values()), None)
    clones = {} if run.cloning is None else run.cloning.results
    cloned = {
        group: (one.epochs, f"{CLONE_WORDS} The weights that were kept reach {100 * one.accuracy:.1f} %.")
        for group, one in clones.items()
    }
    rewarded = {
        group: (log, words) for group, (log, words) in _logs(run, REWARDS_WORDS).items() if reward_terms_of(log)
    }
    not_paired = "No other policy played the seeds of the learned one, so there is nothing to pair."
    paired_words = PAIRED_WORDS.format(episodes=run.summary.eval_episodes)
    not_evaluated = "The policy was not evaluated during this run."
    returns = return_plot(history, world) if history else None
    paired = paired_plot(found) if found else None
    shares = None if world is None else shares_plot(world)
    return (
        _section("return", "Return while training", returns, _return_words(run), not_evaluated, _rounds(run)),
        _section("paired", "Paired differences per seed", paired, paired_words, not_paired),
        _section("shares", "Blend ratio and real shares by source", shares, SHARES_WORDS, NO_LOG),
        *_by_group("clone", "Accuracy of the clone", cloned, clone_plot, "This run had no clone stage."),
        *_by_group("kl", "KL divergence", _logs(run, KL_WORDS), kl_plot, NO_LOG),
        *_by_group("entropy", "Entropy", _logs(run, ENTROPY_WORDS), entropy_plot, NO_LOG),
        *_by_group("losses", "Losses", _logs(run, LOSSES_WORDS), losses_plot, NO_LOG),
        *(_by_group("rewards", "Parts of the reward", rewarded, reward_terms_plot, NO_LOG) if rewarded else ()),
        *_town(run, picture),
        *_events(run, world),
    )


def _return_words(run: ReportData) -> str:
    """What to look for; the config of the run says how many episodes an evaluation has."""
    episodes = "episodes" if run.eval_episodes is None else f"{run.eval_episodes} episodes"
    return RETURN_WORDS.format(episodes=episodes)


def _rounds(run: ReportData) -> Table | None:
    """What each round of DAgger gained; None in a run of another mode."""
    rounds = run.summary.rounds
    if not rounds:
        return None
    return Table(caption="Rounds of DAgger", head=ROUND_HEAD, rows=tuple(round_rows(rounds)))


NO_LOG = "No update was logged: this run had no PPO stage."
RETURN_WORDS = (
    "Each point is the learned policy acting alone on the evaluation's seeds, the band its 95 % interval over these "
    "{episodes}. Look for the point from which it stays above the other lines, and whether it still rises at the end."
)
PAIRED_WORDS = (
    "Each dot is one seed that both policies played; the diamond is the mean, the bar its 95 % interval over these "
    "{episodes} episodes of one trained policy. The learned policy is better when the whole bar lies right of zero. A "
    "long tail of dots on the left is a policy that now and then crashes."
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
REWARDS_WORDS = (
    "What the world calls the parts of its reward, per agent and tick while data was collected, by whoever acted. They "
    "need not add up to the reward. At most four are shown; the log holds all of them."
)
EVENTS_WORDS = (
    "Of the whole world, per 1,000 ticks of agents. Counted while data was collected, by whoever acted, so the blend "
    "changes them too. The first update is not shown: nothing precedes it to measure its agent ticks. The table has "
    "the same events of each policy acting alone."
)
OTHER_EVENTS_WORDS = "What the world counts, with each policy acting alone."


def _section(name: str, title: str, svg: str | None, words: str, missing: str, table: Table | None = None) -> Section:
    if svg is None:
        return Section(name=name, title=title, svg=None, words=missing, table=table)
    return Section(name=name, title=title, svg=Markup(svg), words=words, table=table)


def _logs(run: ReportData, words: str) -> dict[str, tuple[Metrics, str]]:
    return {group: (metrics, words) for group, metrics in run.metrics.items()}


def _by_group(
    name: str, title: str, groups: Mapping[str, tuple[_Data, str]], draw: GroupPlot[_Data], missing: str
) -> list[Section]:
    """One plot for each group, given its data and words; numbered, for a group's name may hold anything."""
    if len(groups) < 2:
        shown = [_section(name, title, draw(data, name=name), words, missing) for data, words in groups.values()]
        return shown or [_section(name, title, None, "", missing)]
    return [
        _section(f"{name}-{number}", f"{title}: {group}", draw(data, name=f"{name}-{number}"), words, missing)
        for number, (group, (data, words)) in enumerate(groups.items(), start=1)
    ]


def _events(run: ReportData, world: Metrics | None) -> tuple[Section, ...]:
    """What happened in the world; nothing for a world that counts nothing."""
    table = None if run.evaluation is None else _events_table(run.evaluation.final)
    plot, is_town = None, run.summary.env == TOWN
    title = "Town events" if is_town else "Events"
    events = () if world is None else events_of(world, is_town=is_town)
    if world is not None and events:
        plot = events_plot(world, events, label=title)
    if plot is not None or is_town:
        return (_section("events", title, plot, EVENTS_WORDS, NO_LOG, table),)
    return () if table is None else (_section("events", title, None, "", OTHER_EVENTS_WORDS, table),)


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
    if picture is None:
        taken = "No picture of the town was taken."
        return (_section("town", "The town", None, "", taken),) if run.summary.env == TOWN else ()
    kinds = dict.fromkeys(thing.type for thing in picture.objects)
    legend = ", ".join(f"{kind[:2].capitalize()} {kind}" for kind in kinds) or "none here"
    words = (
        f"{picture.title[:1].upper()}{picture.title[1:]}. Large boxes are objects ({legend}), filled "
        "while in use; +n is the number waiting in line. Small boxes are agents, with the end of the name where there "
        "is room, and with three bars, hunger, hygiene and energy from left to right: full is satisfied, red is below "
        f"{100 * LOW_NEED:.0f} %. A blue frame is an agent that uses an object."
    )
    return (_section("town", "The town", town_plot(picture), words, ""),)
