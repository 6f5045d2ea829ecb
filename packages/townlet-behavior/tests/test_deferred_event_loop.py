"""Coroutines share one thread, are cancelled when they are overdue, and end when the loop is closed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from test_deferred_calls import ASKED, EAT, PATIENCE_S, taken

from townlet_behavior import Answer, Question
from townlet_behavior.deferred.event_loop import LoopCalls, awaited
from townlet_behavior.deferred.records import Failure


def test_all_coroutines_run_in_one_thread_side_by_side() -> None:
    where: set[int] = set()
    started: list[Sequence[Question]] = []

    async def mind(questions: Sequence[Question]) -> list[Answer]:
        where.add(threading.get_ident())
        started.append(questions)
        while len(started) < 5:
            await asyncio.sleep(0)
        return EAT

    calls = LoopCalls(mind)
    for number in range(5):
        calls.send((0, number), ASKED)
    assert {each[0].action for each in taken(calls, 5).values()} == {"eat"}
    assert len(where) == 1 and where != {threading.get_ident()}
    calls.close(PATIENCE_S)


def test_an_overdue_call_is_cancelled_and_frees_its_place() -> None:
    begun, cancelled = threading.Event(), threading.Event()

    async def mind(questions: Sequence[Question]) -> list[Answer]:
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            cancelled.set()
        return EAT

    calls = LoopCalls(mind)
    calls.send((0, 0), ASKED)
    assert begun.wait(PATIENCE_S)
    calls.give_up((0, 7))  # no such call
    calls.give_up((0, 0))
    ((reply,),) = taken(calls, 1).values()
    assert (reply.failure, reply.note) == (Failure.RAISED, "CancelledError: ")
    assert cancelled.is_set()
    calls.give_up((0, 0))  # it has ended
    calls.close(PATIENCE_S)


def test_a_call_that_is_cancelled_before_it_has_begun_ends_too() -> None:
    async def mind(questions: Sequence[Question]) -> list[Answer]:
        raise AssertionError("begun")

    calls = LoopCalls(mind)
    calls.send((0, 0), ASKED)
    taken(calls, 1)  # the loop runs
    hold = threading.Event()
    assert calls._loop is not None
    calls._loop.call_soon_threadsafe(hold.wait, PATIENCE_S)
    calls.send((0, 1), ASKED)
    calls.give_up((0, 1))
    hold.set()
    assert taken(calls, 1)[0, 1][0].note == "CancelledError: "
    calls.close(PATIENCE_S)


def test_closing_cancels_what_is_under_way() -> None:
    async def mind(questions: Sequence[Question]) -> list[Answer]:
        await asyncio.sleep(3600)
        return EAT

    calls = LoopCalls(mind)
    calls.send((0, 0), ASKED)
    calls.close(PATIENCE_S)
    assert not any(thread.name == "mind" for thread in threading.enumerate())
    ((reply,),) = taken(calls, 1).values()
    assert reply.failure is Failure.RAISED


def test_a_coroutine_that_blocks_its_thread_is_left_alone() -> None:
    begun, let_go = threading.Event(), threading.Event()

    async def mind(questions: Sequence[Question]) -> list[Answer]:
        begun.set()
        let_go.wait(PATIENCE_S)
        return EAT

    calls = LoopCalls(mind)
    calls.send((0, 0), ASKED)
    assert begun.wait(PATIENCE_S)
    calls.close(0.01)  # comes back all the same
    let_go.set()
    assert taken(calls, 1)[0, 0][0].action == "eat"


def test_something_is_awaited_in_a_loop_of_its_own() -> None:
    async def seven() -> int:
        await asyncio.sleep(0)
        return 7

    assert awaited(seven()) == 7
