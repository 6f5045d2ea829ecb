"""What is asked and answered: `Question`, `Answer`, the mind, the describer, and how an answer is judged."""

from __future__ import annotations

import hashlib
import json
import math
import operator
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

MAX_NOTE = 200
"""Characters of a note, and of the message of an exception, that are kept."""
MAX_TOKENS = 10**9
"""Tokens that one answer may report."""
MAX_COST = 1e6
"""Cost that one answer may report."""
NANO = 10**9
"""Cost is counted in whole billionths, so that sums are exact."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What one agent is to do next.

    Examples:
        >>> question = Question(agent_id="ann", world=0, tick=3, shown='{"hunger":0.2}', actions=("wait", "eat"))
        >>> question.digest[:8]
        '2ac522ee'
    """

    agent_id: str
    world: int
    tick: int
    """Of the asking controller: its decisions so far."""
    shown: str
    """What the agent sees, as the describer of the world wrote it."""
    actions: tuple[str, ...]
    """Keys of the actions that were legal at that tick."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of what was shown and of the actions; equal digests mean equal questions of any agent."""
        text = json.dumps([self.shown, *self.actions], separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a mind says to one question. It is judged by the controller, not here: a mind may say anything."""

    action: str | None
    """One of the question's `actions`; None: the mind declines, and the fallback decides."""
    tokens: int = 0
    """That were used, in [0, 10^9]."""
    cost: float = 0.0
    """In any unit of money, in [0, 10^6]; it is counted in billionths, rounded up."""
    note: str = ""
    """For the log, which keeps its first 200 characters."""


Mind = Callable[[Sequence[Question]], Sequence[Answer] | Awaitable[Sequence[Answer]]]
"""Answers a batch of questions, in their order, in its own time; called in threads, or awaited in one."""


class Describe(Protocol):
    """Writes down what agents see."""

    def __call__(self, view: Any, rows: NDArray[np.int64], /) -> Sequence[tuple[str, int, str]]:
        """Describe some agents of a view.

        Args:
            view: as given to `BatchController.propose`.
            rows: [R]; of the agents that are asked about.

        Returns:
            R times the agent's id, the index of its world, and what it sees as text, the same for the same sight.
        """
        ...


class Failure(StrEnum):
    """Why a question has no usable answer."""

    RAISED = "raised"
    """The mind raised an exception."""
    MISCOUNTED = "miscounted"
    """The mind gave more or fewer answers than there were questions."""
    MALFORMED = "malformed"
    """It is no `Answer`, or its action or note is no text."""
    UNKNOWN_ACTION = "unknown_action"
    """It names an action that was not among those of the question."""
    USAGE = "usage"
    """Its tokens or its cost are negative, not finite, too large, or no number."""
    LOST = "lost"
    """The process that asked has ended."""


class Reply(NamedTuple):
    """A judged answer."""

    action: str | None
    """None where the mind declined, or failed."""
    failure: Failure | None
    tokens: int | None
    """None where they are not known."""
    nano: int | None
    """Cost in billionths; None where it is not known."""
    note: str


def failed(failure: Failure, note: str = "") -> Reply:
    """Return the reply of a question without a usable answer, of unknown cost."""
    return Reply(action=None, failure=failure, tokens=None, nano=None, note=note[:MAX_NOTE])


def judge_all(questions: Sequence[Question], answers: object) -> list[Reply]:
    """Judge what a mind returned.

    Args:
        questions: that it was asked.
        answers: anything; only an iterable of as many `Answer`s is of use.

    Returns:
        One reply for each question.
    """
    try:
        given = list(islice(iter(answers), len(questions) + 1))  # type: ignore[call-overload]
    except Exception as error:  # somebody else's object
        return [failed(Failure.MALFORMED, f"{type(error).__name__}: {error}")] * len(questions)
    if len(given) != len(questions):
        some = f"{len(given)}" if len(given) < len(questions) else f"more than {len(questions)}"
        return [failed(Failure.MISCOUNTED, f"{some} answers to {len(questions)} questions")] * len(questions)
    return [judge(question, answer) for question, answer in zip(questions, given, strict=True)]


def judge(question: Question, answer: object) -> Reply:
    """Judge one answer of a mind.

    Args:
        question: that it was asked.
        answer: anything.
    """
    if not isinstance(answer, Answer) or not isinstance(answer.note, str):
        return failed(Failure.MALFORMED, f"expected an `Answer`, got {_shown(answer)}")
    try:
        tokens, nano = _tokens(answer.tokens), _nano(answer.cost)
    except (TypeError, ValueError, OverflowError) as error:
        return failed(Failure.USAGE, str(error))
    note = answer.note[:MAX_NOTE]
    action = answer.action
    if action is None:
        return Reply(action=None, failure=None, tokens=tokens, nano=nano, note=note)
    if not isinstance(action, str):
        return Reply(None, Failure.MALFORMED, tokens, nano, f"expected an action's key, got {_shown(action)}")
    if action not in question.actions:
        return Reply(None, Failure.UNKNOWN_ACTION, tokens, nano, f"got {_shown(action)}")
    return Reply(action=str(action), failure=None, tokens=tokens, nano=nano, note=note)


def nano_of(cost: float) -> int:
    """Return a cost in billionths, rounded up."""
    return math.ceil(cost * NANO)


def _tokens(tokens: object) -> int:
    number = operator.index(tokens)  # type: ignore[arg-type]
    if not 0 <= number <= MAX_TOKENS:
        raise ValueError(f"tokens must be in [0, {MAX_TOKENS}], got {number}"[:MAX_NOTE])
    return number


def _nano(cost: object) -> int:
    number = float(cost)  # type: ignore[arg-type]
    if not 0.0 <= number <= MAX_COST:
        raise ValueError(f"cost must be in [0, {MAX_COST:g}], got {number}")
    return nano_of(number)


def _shown(thing: object) -> str:
    """The beginning of a foreign object's text; its type, where it has none."""
    if isinstance(thing, str):
        return repr(thing[: MAX_NOTE // 2])
    return f"one of type {type(thing).__name__}"
