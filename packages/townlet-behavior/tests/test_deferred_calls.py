"""Calls of a mind come back judged, in threads or in an event loop, and nobody waits for them."""

from __future__ import annotations

import asyncio
import functools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from minds import Hand

from townlet_behavior import Answer, Question
from townlet_behavior.deferred.calls import Answered, Calls, calls_of
from townlet_behavior.deferred.records import Failure

ASKED = [Question(agent_id="ann", world=0, tick=0, shown="", actions=("wait", "eat"))]
EAT = [Answer(action="eat")]
PATIENCE_S = 30.0


def taken(calls: Calls, number: int) -> dict[tuple[int, int], Any]:
    """The replies of so many calls, by key, when they have come."""
    found: list[Answered] = []
    until = time.monotonic() + PATIENCE_S
    while len(found) < number:
        assert time.monotonic() < until, found
        found += calls.take()
        time.sleep(0.001)
    return dict(found)


def plain(questions: Sequence[Question]) -> list[Answer]:
    return EAT * len(questions)


async def coroutine(questions: Sequence[Question]) -> list[Answer]:
    await asyncio.sleep(0)
    return EAT * len(questions)


def awaitable(questions: Sequence[Question]) -> Any:
    """No coroutine function, and yet its answer is to be awaited."""
    return coroutine(questions)


class Callable_:
    async def __call__(self, questions: Sequence[Question]) -> list[Answer]:
        return await coroutine(questions)


MINDS: dict[str, Callable[..., Any]] = {
    "a function": plain,
    "a coroutine function": coroutine,
    "a function that returns a coroutine": awaitable,
    "an object": Callable_(),
    "a partial": functools.partial(coroutine),
}


@pytest.mark.parametrize("mind", MINDS.values(), ids=list(MINDS))
def test_every_kind_of_mind_answers(mind: Any) -> None:
    calls = calls_of(mind, in_flight=2)
    assert calls.take() == []
    calls.send((0, 1), ASKED)
    calls.send((0, 2), ASKED * 3)
    replies = taken(calls, 2)
    assert {key: [reply.action for reply in each] for key, each in replies.items()} == {
        (0, 1): ["eat"],
        (0, 2): ["eat"] * 3,
    }
    calls.close(PATIENCE_S)


def raising(questions: Sequence[Question]) -> list[Answer]:
    raise KeyError("lost")


def leaving(questions: Sequence[Question]) -> list[Answer]:
    raise SystemExit("enough")


async def raising_later(questions: Sequence[Question]) -> list[Answer]:
    await asyncio.sleep(0)
    raise KeyError("lost")


class Sly(Answer):
    """Raises when it is looked at."""

    def __getattribute__(self, name: str) -> Any:
        raise KeyError("lost")


@pytest.mark.parametrize("mind", [raising, leaving, raising_later, lambda questions: [Sly(action="eat")]])
def test_what_a_mind_raises_is_an_answer_and_the_next_call_works(mind: Any) -> None:
    calls = calls_of(mind, in_flight=1)
    for number in range(3):
        calls.send((0, number), ASKED)
    replies = taken(calls, 3)
    assert {each[0].failure for each in replies.values()} == {Failure.RAISED}
    assert replies[0, 0][0].note in ("KeyError: 'lost'", "SystemExit: enough")
    calls.close(PATIENCE_S)


def test_as_many_calls_run_at_one_time_as_are_let_through() -> None:
    together = threading.Barrier(3)

    def mind(questions: Sequence[Question]) -> list[Answer]:
        together.wait(PATIENCE_S)  # comes through only if three calls are there
        return EAT

    calls = calls_of(mind, in_flight=3)
    for number in range(3):
        calls.send((0, number), ASKED)
    assert {each[0].failure for each in taken(calls, 3).values()} == {None}
    calls.close(PATIENCE_S)


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("mind")}


@pytest.mark.parametrize("mind", [plain, coroutine])
def test_closing_ends_the_threads(mind: Any) -> None:
    before = threads()
    calls = calls_of(mind, in_flight=4)
    assert threads() == before  # none before the first question
    for number in range(4):
        calls.send((0, number), ASKED)
    taken(calls, 4)
    assert threads() > before
    calls.close(PATIENCE_S)
    assert threads() == before


def test_closing_without_a_call_does_nothing() -> None:
    for mind in (plain, coroutine):
        calls = calls_of(mind, in_flight=4)
        calls.give_up((0, 0))
        calls.close(0.0)


def test_a_mind_that_hangs_is_left_to_end_with_the_process() -> None:
    """Closing does not wait for it, and neither does the end of the interpreter."""
    code = """
import time
from townlet_behavior import Question
from townlet_behavior.deferred.calls import calls_of
calls = calls_of(lambda questions: time.sleep(3600), in_flight=1)
calls.send((0, 0), [Question(agent_id="ann", world=0, tick=0, shown="", actions=())])
calls.close(0.01)
print("closed")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "closed\n"


def test_calls_of_ones_own_are_taken_as_they_are() -> None:
    hand = Hand()
    assert calls_of(hand, in_flight=1) is hand


def test_importing_the_package_imports_no_event_loop() -> None:
    code = "import sys, townlet_behavior; print('asyncio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
