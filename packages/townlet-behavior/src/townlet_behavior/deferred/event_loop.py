"""Calls of a mind that is a coroutine function: one thread with an event loop for all of them."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Sequence
from queue import SimpleQueue

from .calls import Answered, Key, drained, raised, replies_to
from .records import Mind, Question, Reply


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
        self._tasks: dict[Key, asyncio.Task[list[Reply]]] = {}
        """Of the loop's thread alone."""
        self._ended: SimpleQueue[Answered] = SimpleQueue()

    def send(self, key: Key, questions: Sequence[Question]) -> None:
        """Begin a task of the loop; see `Calls`."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="mind", daemon=True)
            self._thread.start()
        self._loop.call_soon_threadsafe(self._begin, key, questions)

    def give_up(self, key: Key) -> None:
        """Cancel the task of a call."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel, key)

    def take(self) -> list[Answered]:
        """Return the calls that have ended since the last time."""
        return drained(self._ended)

    def close(self, timeout_s: float) -> None:
        """Cancel all tasks, and end the thread."""
        if self._loop is None or self._thread is None or self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._end(timeout_s), self._loop)
        self._thread.join(2.0 * timeout_s)
        if not self._thread.is_alive():
            self._loop.close()

    def _begin(self, key: Key, questions: Sequence[Question]) -> None:
        task = asyncio.get_running_loop().create_task(self._replies(questions))
        self._tasks[key] = task

        def put(task: asyncio.Task[list[Reply]]) -> None:
            del self._tasks[key]
            # A task that is cancelled before it has begun never runs, so its end is what is waited for.
            replies = raised(questions, asyncio.CancelledError()) if task.cancelled() else task.result()
            self._ended.put((key, replies))

        task.add_done_callback(put)

    def _cancel(self, key: Key) -> None:
        if key in self._tasks:
            self._tasks[key].cancel()

    async def _end(self, timeout_s: float) -> None:
        for task in list(self._tasks.values()):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=timeout_s)
        asyncio.get_running_loop().stop()

    async def _replies(self, questions: Sequence[Question]) -> list[Reply]:
        try:
            answers = self._mind(questions)
            given: object = await answers if inspect.isawaitable(answers) else answers
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # a user's own code; its exit would end the loop
            return raised(questions, error)
        return replies_to(questions, lambda: given)
