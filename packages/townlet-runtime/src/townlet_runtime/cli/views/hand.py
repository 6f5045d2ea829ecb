"""What a person who plays an agent sees at a tick, as lines of text; what cannot be done now is pale."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.core.telemetry import Ahead
from townlet_runtime.drawing.scene import Drawable, looks_of
from townlet_trajectory.audit.explain import numbers_of
from townlet_trajectory.audit.explanation import StepExplanation
from townlet_trajectory.audit.words import percent, short
from townlet_trajectory.storage.json import printable

WIDTH = 79
"""Columns."""
MAX_NUMBERS = 14
"""Numbers that an agent sees that are shown, of those that are not 0."""
_LIKELY = 3
"""Actions of the policy that are named."""
_SIGNS = {"up": "↑", "down": "↓", "left": "←", "right": "→"}
HELP = (
    ". or space: script and policy decide    n: next agent    : and a name: by name    q: end",
    "m: keep this moment    b: back to it    1 2 3: success, failure, discard (with --record)",
)


class Line(NamedTuple):
    """One line of the screen."""

    text: str
    pale: bool = False


@dataclass(frozen=True, kw_only=True)
class Hand:
    """What the agent that is played can be told now."""

    names: Sequence[str]
    """Of the choices."""
    keys: Sequence[str | None]
    """Of the choices."""
    legal: NDArray[np.bool_]
    """Of the choices."""
    reasons: Mapping[str, str]
    """Why some are not, by name."""


def seen_lines(ahead: Ahead, row: int) -> list[Line]:
    """Return what an agent sees, the first numbers that are not 0, and how many more there are.

    Args:
        ahead: what is proposed, with the view.
        row: of the agent.
    """
    seen = {name: array[row] for name, array in ahead.observed.observations.items()}
    numbers = numbers_of(ahead.names, seen, {})
    telling = [one for one in numbers if one.value]
    shown = [f"{one.name} {short(one.value)}" for one in telling[:MAX_NUMBERS]]
    rest = len(telling) - len(shown)
    return _wrapped("sees", [*shown, *([f"and {rest} more"] if rest > 0 else [])])


def looks_lines(drawable: Drawable | None, agent_id: str, *, world: int) -> list[Line]:
    """Return where an agent is and its levels, of a world that says how it looks.

    Args:
        drawable: says it; None: nothing does.
        agent_id: of the agent.
        world: index of its world.
    """
    if drawable is None:
        return []
    scene, drawing = looks_of(drawable, world=world)
    rows = np.flatnonzero(drawing.agent_ids == agent_id)
    if not rows.size:
        return []
    x, y = drawing.positions[rows[0]].tolist()
    levels = drawing.levels[rows[0]].tolist() if scene.bars else []
    said = [f"{name} {percent(level)}" for name, level in zip(scene.bars, levels, strict=True)]
    return _wrapped("is at", [f"{short(x)}, {short(y)}", *said])


def proposal_lines(ahead: Ahead, row: int, *, ratio: float, by_policy: str | None) -> list[Line]:
    """Return what script and policy would do.

    Args:
        ahead: what is proposed.
        row: of the agent.
        ratio: the policy's share of the decisions.
        by_policy: what the policy is called; None: there is none.
    """
    script = ahead.script(row)
    lines = [] if script is None else _wrapped("script", [f"would {script}"])
    policy = ahead.policy(row)
    if policy is not None and by_policy is not None:
        likely = [f"{one['action']} {percent(one['probability'])}" for one in ahead.likely(row)[:_LIKELY]]
        lines += _wrapped(by_policy, [f"would {policy}", *likely, f"its share is {percent(ratio)}"])
    return lines


def came_lines(last: StepExplanation | None) -> list[Line]:
    """Return what the last decision about an agent was, and what came of it; None: none is known."""
    if last is None:
        return []
    did = last.action if last.veto_reason is None else f"{last.action}, not {last.chosen_action}: {last.veto_reason}"
    reward = "" if last.reward is None else f"reward {short(last.reward)}"
    terms = [f"{name} {short(value)}" for name, value in last.reward_terms.items() if value]
    who = "you" if last.demonstrated or last.possessed else str(last.decider)
    return _wrapped("did", [f"{did} ({who})", *([reward] if reward else []), *terms])


def hand_lines(hand: Hand) -> list[Line]:
    """Return the choices with their keys in columns, then those that are not legal, with the reason, pale."""
    signs = [_sign(key) for key in hand.keys]
    stems = [name.rpartition(":" if ":" in name else "=")[0] for name in hand.names]
    families: dict[str, list[str]] = {}
    for at in np.flatnonzero(hand.legal).tolist():
        name, stem = hand.names[at], stems[at]
        shared = stem != "" and stems.count(stem) > 1
        families.setdefault(stem if shared else "", []).append(
            f"{signs[at]} {name[len(stem) + 1 :] if shared else name}"
        )
    width = max(map(len, families), default=0)
    lines = []
    for stem, said in families.items():
        lines += _wrapped(stem, said, width=width + 2 if width else 0)
    by_reason: dict[str, list[str]] = {}
    for at in np.flatnonzero(~hand.legal).tolist():
        name = hand.names[at]
        by_reason.setdefault(hand.reasons.get(name, "not legal now"), []).append(f"{signs[at]} {name}")
    for reason, names in by_reason.items():
        text = textwrap.wrap(printable(f"({reason}) {', '.join(names)}"), WIDTH - 2, subsequent_indent="  ")
        lines += [Line(f"  {one}", pale=True) for one in text]
    return lines


def _sign(key: str | None) -> str:
    """How a key is shown: an arrow by its sign where output can hold it; `:` where there is none."""
    sign = _SIGNS.get(key or "", key or ":")
    try:
        sign.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return str(key)
    return sign


def _wrapped(label: str, said: Sequence[str], *, width: int = 8) -> list[Line]:
    """Some texts behind a label, on as many lines as they need; a text is broken only where it is longer than one."""
    lines, room = [""], WIDTH - width
    for text in map(printable, said):
        parts = [text[at : at + room] for at in range(0, len(text), room)]
        if lines[-1] and len(lines[-1]) + 3 + len(text) > room:
            lines.append("")
        lines[-1] += f"   {parts[0]}" if lines[-1] else parts[0]
        lines += parts[1:]
    heads = [printable(label), *[""] * (len(lines) - 1)]
    return [Line(f"{head:<{width}}{line}".rstrip()) for head, line in zip(heads, lines, strict=True)]


def shower(say: Callable[[str], None]) -> Callable[[Sequence[Line]], None]:
    """Return a function that shows a screen: in the place of the last one on a terminal, else below it.

    Args:
        say: prints a line where output is no terminal, or none where nobody wants any.
    """

    def below(lines: Sequence[Line]) -> None:
        for line in lines:
            say(line.text)
        say("")

    if not sys.stdout.isatty():
        return below
    from rich.console import Console as RichConsole
    from rich.text import Text

    console = RichConsole()

    def show(lines: Sequence[Line]) -> None:
        console.clear()
        for line in lines:
            # Foreign text is no markup.
            text = Text(printable(line.text), style="dim" if line.pale else "", no_wrap=True, overflow="crop")
            console.print(text, highlight=False)

    return show
