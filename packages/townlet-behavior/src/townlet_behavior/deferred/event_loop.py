"""Calls of a mind that is a coroutine function: one thread with an event loop for all of them."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Sequence
from queue import SimpleQueue

from .calls import Answered, Key, drained, replies_to
from .records import Failure, Mind, Question, failed


async def _of(answers: Awaitable[object]) -> object:
    return await answers


def awaited(answers: Awaitable[object]) -> object:
    """Await something in an event loop of its own."""
    return asyncio.run(_of(answers))


class LoopCalls:
    """One thread with an event loop, begun when the first question is asked."""

    def __init__(self, mind: Mind) -> None:
        self._mind = mind
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        """Of the loop's thread alone."""
        self._ended: SimpleQueue[Answered] = SimpleQueue()

    def send(self, key: Key, questions: Sequence[Question]) -> None:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="mind", daemon=True)
            self._thread.start()
        self._loop.call_soon_threadsafe(self._begin, key, questions)

    def give_up(self, key: Key) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel, key)

    def take(self) -> list[Answered]:
        return drained(self._ended)

    def close(self, timeout_s: float) -> None:
        if self._loop is None or self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(timeout_s)
        if not self._thread.is_alive():
            self._loop.close()

    def _begin(self, key: Key, questions: Sequence[Question]) -> None:
        self._tasks[key] = asyncio.ensure_future(self._answer(key, questions))

    def _cancel(self, key: Key) -> None:
        if key in self._tasks:
            self._tasks[key].cancel()

    def _stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        # Cancelled tasks end in the round of the loop that follows, so it stops after that.
        asyncio.get_running_loop().call_soon(asyncio.get_running_loop().stop)

    async def _answer(self, key: Key, questions: Sequence[Question]) -> None:
        try:
            answers = self._mind(questions)
            given: object = await answers if inspect.isawaitable(answers) else answers
            replies = replies_to(questions, lambda: given)
        except BaseException as error:  # a user's own code; being cancelled is one way to end
            replies = [failed(Failure.RAISED, f"{type(error).__name__}: {error}")] * len(questions)
        self._tasks.pop(key, None)
        self._ended.put((key, replies))
