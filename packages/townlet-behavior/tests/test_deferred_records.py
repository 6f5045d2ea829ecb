"""What is asked has one digest; what is answered is judged by name and never raises."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_behavior import Answer, Question
from townlet_behavior.deferred.records import MAX_NOTE, Failure, Reply, judge, judge_all, nano_of

ASKED = Question(agent_id="ann", world=0, tick=3, shown="hungry", actions=("wait", "eat"))


def answer_of(action: Any, **rest: Any) -> Answer:
    """Of any type: a mind may say anything."""
    return Answer(action=action, **rest)


def test_the_digest_is_of_what_was_shown_and_may_be_done_alone() -> None:
    assert ASKED.digest == hashlib.sha256(b'["hungry","wait","eat"]').hexdigest()
    same = Question(agent_id="bob", world=7, tick=9, shown="hungry", actions=("wait", "eat"))
    assert same.digest == ASKED.digest
    others = [("hungry", ("wait",)), ("hungry", ("eat", "wait")), ('hungry","wait', ("eat",)), ("", ("wait", "eat"))]
    asked = [Question(agent_id="ann", world=0, tick=3, shown=shown, actions=actions) for shown, actions in others]
    assert len({question.digest for question in asked} | {ASKED.digest}) == 5


def test_a_text_that_no_encoding_has_is_digested_too() -> None:
    lone = Question(agent_id="ann", world=0, tick=0, shown="\ud800", actions=("wait",))
    assert lone.digest == hashlib.sha256(b'["\\ud800","wait"]').hexdigest()


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (Answer(action="eat"), Reply("eat", None, 0, 0, "")),
        (Answer(action="eat", tokens=5, cost=1e-9, note="yes"), Reply("eat", None, 5, 1, "yes")),
        (answer_of(None, tokens=np.int64(5), cost=np.float32(0.5)), Reply(None, None, 5, 5 * 10**8, "")),
        (Answer(action="sleep", tokens=2), Reply(None, Failure.UNKNOWN_ACTION, 2, 0, "got 'sleep'")),
        (
            Answer(action=1, tokens=2),
            Reply(None, Failure.MALFORMED, 2, 0, "expected an action's key, got one of type int"),
        ),  # type: ignore[arg-type]
        ("eat", Reply(None, Failure.MALFORMED, None, None, "expected an `Answer`, got 'eat'")),
        (None, Reply(None, Failure.MALFORMED, None, None, "expected an `Answer`, got one of type NoneType")),
    ],
)
def test_an_answer_is_judged_by_name(answer: object, reply: Reply) -> None:
    assert judge(ASKED, answer) == reply


@pytest.mark.parametrize(
    "usage",
    [
        {"tokens": -1},
        {"tokens": 1.5},
        {"tokens": "5"},
        {"tokens": 10**9 + 1},
        {"tokens": 10**5000},
        {"cost": -0.01},
        {"cost": float("nan")},
        {"cost": float("inf")},
        {"cost": 1e6 + 1},
        {"cost": 10**400},
        {"cost": "much"},
        {"cost": None},
    ],
)
def test_usage_that_cannot_be_is_not_known(usage: dict[str, Any]) -> None:
    reply = judge(ASKED, Answer(action="eat", **usage))
    assert reply[:4] == (None, Failure.USAGE, None, None)
    assert 0 < len(reply.note) <= MAX_NOTE


def test_a_note_is_kept_up_to_a_bound() -> None:
    assert judge(ASKED, Answer(action="eat", note="x" * 10**6)).note == "x" * 200
    assert judge(ASKED, Answer(action="x" * 10**6)).note == f"got '{'x' * 100}'"
    assert judge(ASKED, answer_of("eat", note=b"x")).failure is Failure.MALFORMED


class Endless:
    def __iter__(self) -> Iterator[Answer]:
        while True:
            yield Answer(action="eat")


class Raising:
    def __iter__(self) -> Iterator[Answer]:
        raise KeyError("lost")


@pytest.mark.parametrize(
    ("answers", "failure", "note"),
    [
        ([], Failure.MISCOUNTED, "0 answers to 2 questions"),
        ([Answer(action="eat")], Failure.MISCOUNTED, "1 answers to 2 questions"),
        ([Answer(action="eat")] * 3, Failure.MISCOUNTED, "more than 2 answers to 2 questions"),
        (Endless(), Failure.MISCOUNTED, "more than 2 answers to 2 questions"),
        (Raising(), Failure.MALFORMED, "KeyError: 'lost'"),
        (None, Failure.MALFORMED, "TypeError: 'NoneType' object is not iterable"),
        (7, Failure.MALFORMED, "TypeError: 'int' object is not iterable"),
        ("ab", Failure.MALFORMED, "expected an `Answer`, got 'a'"),
    ],
)
def test_answers_that_are_no_answers_fail_one_and_all(answers: object, failure: Failure, note: str) -> None:
    replies = judge_all([ASKED, ASKED], answers)
    assert [(reply.failure, reply.tokens) for reply in replies] == [(failure, None)] * 2
    assert replies[0].note == note


def test_one_bad_answer_leaves_the_others() -> None:
    replies = judge_all([ASKED] * 3, (Answer(action="eat"), object(), Answer(action="wait")))
    assert [reply.action for reply in replies] == ["eat", None, "wait"]


@given(st.floats(0.0, 1e6))
def test_cost_is_rounded_up_to_a_billionth(cost: float) -> None:
    assert 0 <= nano_of(cost) / 1e9 - cost <= 1.1e-9 + cost * 1e-15
