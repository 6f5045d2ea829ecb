"""`WorkerPool` hands tasks to workers, and does again elsewhere what a worker failed at."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from townlet_runtime.errors import EnvironmentFaultError, WorkerError
from townlet_runtime.workers.links import Link, LinkError
from townlet_runtime.workers.memory import SharedMemory
from townlet_runtime.workers.messages import Message
from townlet_runtime.workers.tasks import Task, WaveTask, WorkerName, error_of

log = logging.getLogger(__name__)

_T = TypeVar("_T", bound=Task[Any])

MAX_ATTEMPTS = 3
"""After so many the run stops: whatever it is, it does not go away."""
_BEGIN_S = 120.0
"""At least, for a worker to begin: a busy machine needs seconds to import, and a cluster to find it a place."""


class Refused(WorkerError):
    """A worker that cannot build the worlds of the run."""


class WorkerPool:
    """Workers that do one task after the other, as threads of this process hand them out.

    A task that a worker died at, hung at or raised at is done again, where there is another worker by that. A worker
    that has ended is replaced; it needs nothing of what the one before had.

    Args:
        begin: begins a worker at a place of the pool.
        size: of the pool, at least 1.
        worlds: the first message to each worker: how the worlds are built.
        timeout_s: seconds after which a worker that does not answer is ended and replaced.
        shares_memory: whether the workers are on this machine.
        on_close: called when all workers have ended.
    """

    def __init__(
        self,
        begin: Callable[[int], Link],
        size: int,
        worlds: Message,
        *,
        timeout_s: float,
        shares_memory: bool = True,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self._begin, self._worlds, self._timeout_s, self._shares_memory = begin, worlds, timeout_s, shares_memory
        self.size, self._on_close = size, on_close
        self._changed = threading.Condition()
        self._waiting: list[Task[Any]] = []
        self._links: dict[int, Link] = {}
        self._refusals: dict[int, str] = {}
        self._closed = False
        self._memories: list[SharedMemory] = []
        self.replaced = 0
        """Workers that ended before they were told to."""
        self._threads = [
            threading.Thread(target=self._serve, args=(place,), name=f"worker {place}", daemon=True)
            for place in range(size)
        ]
        for thread in self._threads:
            thread.start()

    def links(self) -> list[Link]:
        """Return the ways to the workers that were begun last, of every place that has one."""
        with self._changed:
            return list(self._links.values())

    def new_memory(self) -> SharedMemory | None:
        """Share memory with the workers until the pool is closed; None where they are elsewhere."""
        if not self._shares_memory:
            return None
        self._memories.append(SharedMemory())
        return self._memories[-1]

    def submit(self, tasks: Sequence[Task[Any]], *, first: bool = False) -> None:
        """Put `tasks` behind those that wait, or before them."""
        with self._changed:
            if self._is_refused:
                tasks = self._left(tasks)
            place = 0 if first else len(self._waiting)
            self._waiting[place:place] = tasks
            self._changed.notify_all()

    def prefer(self, tasks: Sequence[Task[Any]]) -> None:
        """Put those of `tasks` that still wait before all others."""
        with self._changed:
            self._waiting.sort(key=lambda task: task not in tasks)

    def take(self, tasks: Sequence[_T]) -> _T | None:
        """Take the last of `tasks` that has not begun, to do it in this process; None where all have."""
        with self._changed:
            waiting = [task for task in tasks if _can_be_taken(task) and task in self._waiting]
            found = max(waiting, key=self._waiting.index, default=None)
            if found is not None:
                self._waiting.remove(found)
            return found

    def close(self) -> None:
        """End all workers at once, whatever they do; tasks that wait are dropped."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            links = list(self._links.values())
        for link in links:
            link.close()
        for thread in self._threads:
            thread.join()
        for memory in self._memories:
            memory.close()
        if self._on_close is not None:
            self._on_close()

    @property
    def _is_refused(self) -> bool:
        return len(self._refusals) == self.size

    def _serve(self, place: int) -> None:
        """Hand tasks to the workers of one place, one worker after the other."""
        generation, failures = 0, 0
        while not self._closed:
            try:
                link = self._started(place)
            except Refused as error:
                self._refuse(place, str(error))
                return
            except LinkError as error:
                failures += 1
                if failures == MAX_ATTEMPTS and not self._closed:
                    self._refuse(place, str(error))
                    return
                continue
            failures = 0
            try:
                self._hand_out(link, WorkerName(place, generation))
            finally:
                link.close()
            generation += 1

    def _started(self, place: int) -> Link:
        """Begin a worker and let it build the worlds. Raises `Refused` if it cannot, `LinkError` if it ended."""
        try:
            link = self._begin(place)
        except OSError as error:
            raise LinkError(f"a worker cannot be started: {error}") from error
        with self._changed:
            if self._closed:
                link.close()
                raise LinkError("closed")
            self._links[place] = link
        try:
            message, _ = link.ask({"worlds": self._worlds}, (), memory=None, timeout_s=max(self._timeout_s, _BEGIN_S))
        except LinkError:
            link.close()
            raise
        except Exception as error:
            link.close()
            raise LinkError(f"its first answer is none: {type(error).__name__}: {error}") from error
        if "refused" in message:
            link.close()
            raise Refused(message["refused"])
        return link

    def _refuse(self, place: int, reason: str) -> None:
        with self._changed:
            if self._closed:
                return
            self._refusals[place] = reason
            if self._is_refused:
                log.warning("this process does alone what it can, for no worker can do anything: %s", reason)
                self._waiting = self._left(self._waiting)
            else:
                log.warning("one worker less than %d: %s", self.size, reason)

    def _left(self, tasks: Sequence[Task[Any]]) -> list[Task[Any]]:
        """Tasks that can be taken, of a pool without a worker; the others have failed."""
        for task in tasks:
            if not _can_be_taken(task):
                task.done.set_exception(
                    WorkerError(f"no worker can do anything: {next(iter(self._refusals.values()))}")
                )
        return [task for task in tasks if _can_be_taken(task)]

    def _hand_out(self, link: Link, worker: WorkerName) -> None:
        """Let one worker do tasks until it ends, or the pool is closed."""
        known: str | None = None
        while (task := self._next(worker)) is not None:
            try:
                request, data = task.request(worker)
            except Exception as error:  # whoever waits is told
                task.done.set_exception(error)
                continue
            policies, sent = task.policies, b""
            if policies is not None:
                request["policies"] = policies.digest
                sent = b"" if known == policies.digest else policies.data
            try:
                message, arrays = link.ask(request, (sent, data), memory=task.memory, timeout_s=self._timeout_s)
            except Exception as error:  # a link that is broken in any way is not asked again
                said = str(error) if isinstance(error, LinkError) else f"{type(error).__name__}: {error}"
                if not self._closed:
                    self.replaced += 1
                    log.warning("a worker is replaced: %s, while %s", said, task.words)
                self._failed(task, worker, WorkerError(f"{said}, while {task.words}"))
                return
            if policies is not None:
                known = policies.digest if message.get("policies") == policies.digest else None
            if "error" in message or "fault" in message:
                self._failed(task, worker, error_of(task, message))
                continue
            try:
                found = task.answered(worker, message, arrays)
            except Exception as error:  # of a broken answer
                self._failed(task, worker, WorkerError(f"an answer is none: {error!r} ({task.words})"))
                continue
            task.done.set_result(found)

    def _failed(self, task: Task[Any], worker: WorkerName, error: WorkerError | EnvironmentFaultError) -> None:
        task.failed(worker, error)
        with self._changed:
            if len(task.failed_at) < MAX_ATTEMPTS:
                self._waiting.insert(0, task)
                self._changed.notify_all()
                return
        assert task.first_error is not None
        task.done.set_exception(task.first_error)

    def _next(self, worker: WorkerName) -> Task[Any] | None:
        """Wait for a task; None where the pool is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting)
            if self._closed:
                return None
            # What failed here may go well elsewhere; what is at home here needs not be brought.
            found = min(
                range(len(self._waiting)),
                key=lambda index: (
                    worker.place in self._waiting[index].failed_at,
                    not self._waiting[index].prefers(worker),
                    index,
                ),
            )
            return self._waiting.pop(found)


def _can_be_taken(task: Task[Any]) -> bool:
    """Whether the process that asked can do a task as well: what failed somewhere may bring it down too."""
    return isinstance(task, WaveTask) and not task.failed_at
