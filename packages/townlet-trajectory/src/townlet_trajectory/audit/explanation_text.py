"""The explanation of a decision, and the life of an agent in spans, as text of 80 columns."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from townlet_trajectory.audit.explanation import Decider, PolicyAnswer, SeenNumber, Span, StepExplanation, TickMark
from townlet_trajectory.audit.words import WIDTH, percent, short, ticks
from townlet_trajectory.storage.json import printable

MAX_NUMBERS = 8
"""Numbers that an agent saw that are shown; the rest are counted."""
MAX_KEYS = 10
"""Actions that are named where several are legal, or not."""
MAX_TICKS = 8
"""Ticks, or ranges of them, that are named of each mark."""

_LABEL = 11
_ENDS = {
    "terminated": "It ended here: terminated, a true end.",
    "truncated": "It ended here: truncated, cut by a time limit.",
    "cut": "The record of the agent stops here.",
}
_BY = {
    Decider.POSSESSOR: "possessor",
    Decider.ONLY_ACTION: "only legal action",
    Decider.OUTSIDE: "another program",
    Decider.UNKNOWN: "not recorded",
}
_SILENT = (Decider.OUTSIDE, Decider.UNKNOWN)
"""Where a record without proposals says nothing of them."""
_MARKS = {
    TickMark.VETO: "vetoes",
    TickMark.TAKEOVER: "taken over or given back",
    TickMark.POSSESSED: "possessed",
    TickMark.PROPOSER: "not the script proposed",
    TickMark.SOURCE: "another source than before",
    TickMark.HELD: "an option was held",
}


def explanation_lines(step: StepExplanation) -> list[str]:
    """Return the lines of one screen."""
    episode = "" if step.episode is None else f", episode {step.episode}"
    lines = [printable(f"{step.agent_id} at tick {step.tick}, world {step.world}{episode}: {step.action}"), ""]
    for label, said in (
        ("Saw", _saw(step)),
        ("Could do", [_could(step)]),
        ("Option", [_option(step)]),
        ("Proposed", _proposed(step)),
        ("Policy", [] if step.answer is None else _answer(step, step.answer)),
        ("Decided", step.why),
        ("Did", [_did(step)]),
        ("Came", _came(step)),
    ):
        lines += _section(label, said)
    return lines


def _section(label: str, said: Iterable[str]) -> list[str]:
    lines: list[str] = []
    for text in said:
        head = "" if lines else label
        # Tables are laid out already: their lines fit, and keep their spaces.
        fits = len(text) <= WIDTH - _LABEL
        rows = [text] if fits else textwrap.wrap(text, WIDTH - _LABEL, break_long_words=False, break_on_hyphens=False)
        lines += [f"{head if row is rows[0] else '':<{_LABEL}}{printable(row)}".rstrip() for row in rows]
    return lines


def _saw(step: StepExplanation) -> list[str]:
    compared = any(one.mean is not None for one in step.numbers)
    telling = [one for one in step.numbers if (one.deviations if compared else one.value)]
    shown = telling[:MAX_NUMBERS]
    width = max((len(one.name) for one in shown), default=0)
    lines = [f"{'':<{width}}{'value':>10}{'its mean':>12}{'deviations':>12}"] if compared and shown else []
    lines += [_number(one, width) for one in shown]
    if rest := len(step.numbers) - len(shown):
        others = "no further from their means" if compared else "0" if len(telling) == len(shown) else "not shown"
        lines.append(f"(and {rest} more, {others})")
    for array in step.arrays:
        shape = ", ".join(map(str, array.shape))
        lines.append(f"{array.name} [{shape}]: {array.nonzero} of {math.prod(array.shape)} numbers are not 0")
    return lines or ["nothing is recorded"]


def _number(one: SeenNumber, width: int) -> str:
    text = f"{one.name:<{width}}{short(one.value):>10}"
    if one.mean is None or one.deviations is None:
        return text
    return f"{text}{short(one.mean):>12}{one.deviations:>+12.1f}"


def _could(step: StepExplanation) -> str:
    size, legal = step.num_actions, step.legal_actions
    what = f"{size} values of its parts" if step.actions_are == "parts" else f"{size} actions"
    if legal is None or len(legal) == size:
        return f"any of {what}" if size else "any action"
    if step.illegal_actions and len(step.illegal_actions) < len(legal):
        return f"{len(legal)} of {what}; not {_listed(step.illegal_actions)}"
    return f"{len(legal)} of {what}: {_listed(legal)}"


def _listed(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - MAX_KEYS} more" if len(keys) > MAX_KEYS else ""
    return ", ".join(keys[:MAX_KEYS]) + more


def _option(step: StepExplanation) -> str:
    option = step.option
    if option is None:
        return "not recorded" if step.decider in _SILENT else "none was in force"
    since = "" if option.since is None else f" since tick {option.since}"
    return f"{option.action}{since}, {ticks(option.ticks_left)} left"


def _proposed(step: StepExplanation) -> list[str]:
    if step.decider in _SILENT and step.expert_action is None:
        return ["not recorded"]
    who = "script" if step.proposer is None else step.proposer
    age = step.proposal_age or 0
    seen = f" (from what it saw {ticks(age)} before)" if age else ""
    rows = [(who, "nothing" if step.expert_action is None else f"{step.expert_action}{seen}")]
    if step.drawn_action is not None:
        rows.append(("blend drew", step.drawn_action))
    if step.policy_probability is not None:
        rows.append(("policy gives", f"{percent(step.policy_probability)} to {step.chosen_action}"))
    if step.behavior_probability is not None:
        rows.append(("blend gives", f"{percent(step.behavior_probability)} to {step.chosen_action}"))
    settings = [
        f"{name} {short(value)}"
        for name, value in (("ratio", step.ratio), ("temperature", step.temperature))
        if value is not None
    ]
    if step.observation_age:
        settings.append(f"reaction delay {ticks(step.observation_age)}")
    if settings:
        rows.append(("settings", ", ".join(settings)))
    is_drawn = step.policy_probability is not None or (step.actions_are == "numbers" and step.kind == "decision")
    if step.value is not None and is_drawn:
        rows.append(("value", f"{short(step.value)}: the rewards that the policy expects"))
    width = max(len(name) for name, _ in rows) + 2
    return [f"{name:<{width}}{text}" for name, text in rows]


def _answer(step: StepExplanation, answer: PolicyAnswer) -> list[str]:
    width = max((len(one.action) for one in answer.top_actions), default=0)
    lines = []
    for one in answer.top_actions:
        roles = {
            "chosen": step.chosen_action,
            "drawn": step.drawn_action,
            f"by {step.proposer or 'script'}": step.expert_action,
        }
        notes = ", ".join(role for role, action in roles.items() if action == one.action)
        lines.append(f"{one.action:<{width}}{percent(one.probability):>10}   {notes}".rstrip())
    if step.actions_are == "numbers":
        recorded = {True: ", as recorded", False: ", and another one recorded: another policy", None: ""}[answer.agrees]
        return [f"log density {answer.chosen_log_prob:.4g} of {step.chosen_action or step.action}{recorded}"]
    if answer.agrees is not None and step.policy_probability is not None:
        recorded = (
            "as recorded" if answer.agrees else f"and {percent(step.policy_probability)} recorded: another policy"
        )
        lines.append(f"{percent(math.exp(answer.chosen_log_prob))} for {step.chosen_action}, {recorded}")
    return lines


def _did(step: StepExplanation) -> str:
    return step.action if step.veto_reason is None else f"{step.action}, in the place of {step.chosen_action}"


def _came(step: StepExplanation) -> list[str]:
    if step.reward is None:
        return ["not known yet"]
    terms = [f"{name} {short(value)}" for name, value in step.reward_terms.items() if value]
    lines = [f"reward {short(step.reward)}" + (f": {', '.join(terms)}" if terms else "")]
    if step.end is not None:
        lines.append(_ENDS[step.end])
    if step.episode_label is not None:
        lines.append(f"The whole episode is labelled {step.episode_label}.")
    return lines


def decided_by(span: Span) -> str:
    """Who decided the steps of a span, in a word or two."""
    if span.decider is Decider.COMMITMENT:
        began = {"scripted": "script", "learned": "policy"}.get(span.source or "", span.source or "?")
        return f"held, by {span.proposer or began}"
    if span.decider is Decider.SCRIPT:
        return span.proposer or "script"
    return _BY.get(span.decider, str(span.decider))


def mark_lines(marked: Mapping[TickMark, Sequence[int]]) -> list[str]:
    """Return a line for each mark: how many steps have it, and the first of them.

    Args:
        marked: ticks by mark, ascending.
    """
    lines = []
    for mark, where in marked.items():
        ranges = _ranges(where)
        named = ", ".join(ranges[:MAX_TICKS]) + (", ..." if len(ranges) > MAX_TICKS else "")
        head = f"  {_MARKS[mark]:<26}{len(where):>7,}   "
        lines += textwrap.wrap(head + named, WIDTH, subsequent_indent=" " * len(head))
    return lines


def _ranges(where: Sequence[int]) -> list[str]:
    """Consecutive ticks as `3-7`, others by themselves."""
    # Tick minus place is the same along consecutive ticks.
    groups = [list(group) for _, group in groupby(enumerate(where), key=lambda pair: pair[1] - pair[0])]
    ends = [(group[0][1], group[-1][1]) for group in groups]
    return [str(first) if first == last else f"{first}-{last}" for first, last in ends]
