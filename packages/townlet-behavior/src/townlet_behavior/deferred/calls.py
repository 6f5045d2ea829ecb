"""Calls of a mind that are under way, in threads or in one event loop; nothing here ever waits for one."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Protocol, runtime_checkable

from .records import Failure, Mind, Question, Reply, failed, judge_all

Key = tuple[int, int]
"""Of a call: which restoring of the controller it belongs to, and its number."""
Answered = tuple[Key, list[Reply]]


@runtime_checkable
class Calls(Protocol):
    """A mind at work. One of your own runs calls in its own way: in processes, on other machines."""

    def send(self, key: Key, questions: Sequence[Question]) -> None:
        """Begin a call.

        Args:
            key: comes back with the replies.
            questions: of the call.
        """

    def give_up(self, key: Key) -> None:
        """Cancel a call that is overdue, where that is possible; its replies come all the same."""

    def take(self) -> list[Answered]:
        """Return the calls that have ended since the last time."""

    def close(self, timeout_s: float) -> None:
        """End the threads; those that a mind does not come back from end with the process."""


def calls_of(mind: Mind | Calls, *, in_flight: int) -> Calls:
    """Return the calls of a mind: an event loop for a coroutine function, threads for any other function.

    Args:
        mind: that is called; `Calls` are returned as they are.
        in_flight: most calls at one time.
    """
    if isinstance(mind, Calls):
        return mind
    is_coroutine = inspect.iscoroutinefunction(mind) or inspect.iscoroutinefunction(type(mind).__call__)
    if not is_coroutine:
        return _ThreadCalls(mind, in_flight)
    from .event_loop import LoopCalls  # asyncio takes longer to import than all the rest

    return LoopCalls(mind)


def replies_to(questions: Sequence[Question], answer: Callable[[], object]) -> list[Reply]:
    """Judge what `answer` returns, or that it raises."""
    try:
        return judge_all(questions, answer())
    except BaseException as error:  # a user's own code; a thread that dies of its exit would never answer
        return raised(questions, error)


def raised(questions: Sequence[Question], error: BaseException) -> list[Reply]:
    """Return the replies of a call that raised."""
    return [failed(Failure.RAISED, f"{type(error).__name__}: {error}")] * len(questions)


class _ThreadCalls:
    """As many threads as calls at one time, begun when the first question is asked."""

    def __init__(self, mind: Mind, in_flight: int) -> None:
        self._mind = mind
        self._in_flight = in_flight
        self._tasks: SimpleQueue[tuple[Key, Sequence[Question]] | None] = SimpleQueue()
        self._ended: SimpleQueue[Answered] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def send(self, key: Key, questions: Sequence[Question]) -> None:
        if len(self._threads) < self._in_flight:
            thread = threading.Thread(target=self._work, name=f"mind {len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._tasks.put((key, questions))

    def give_up(self, key: Key) -> None:
        """Do nothing: a thread cannot be stopped."""

    def take(self) -> list[Answered]:
        return drained(self._ended)

    def close(self, timeout_s: float) -> None:
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join(timeout_s / len(self._threads))

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            key, questions = task
            self._ended.put((key, replies_to(questions, lambda asked=questions: self._answers(asked))))  # type: ignore[misc]

    def _answers(self, questions: Sequence[Question]) -> object:
        answers = self._mind(questions)
        if not inspect.isawaitable(answers):
            return answers
        from .event_loop import awaited  # see above

        return awaited(answers)


def drained(ended: SimpleQueue[Answered]) -> list[Answered]:
    """Take everything from a queue, without waiting."""
    calls: list[Answered] = []
    while not ended.empty():
        try:
            calls.append(ended.get_nowait())
        except Empty:  # pragma: no cover: only one thread takes
            break
    return calls
