"""The way to one worker, which is a process of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

from townlet_runtime.errors import WorkerError
from townlet_runtime.workers.blocks import Arrays, arrays_in
from townlet_runtime.workers.defaults import THREAD_VARIABLES
from townlet_runtime.workers.memory import SharedMemory
from townlet_runtime.workers.messages import Message, read_message, write_message

_PATIENCE_S = 10.0
"""Given to a process whose output has ended, to end too."""


class LinkError(WorkerError):
    """A worker that is there no more, or does not answer in time."""


class Link(Protocol):
    """The way to one worker."""

    def ask(
        self, message: Message, parts: Sequence[bytes], *, memory: SharedMemory | None, timeout_s: float
    ) -> tuple[Message, Arrays]:
        """Ask for something and wait for the answer.

        Args:
            message: what is asked.
            parts: bytes that belong to it.
            memory: that the arrays of the answer may come through.
            timeout_s: after so many seconds the worker counts as hung, and is ended.

        Returns:
            The answer, and its arrays, which may be in `memory`.

        Raises:
            LinkError: if the worker has ended, or is ended here.
        """
        ...

    def close(self) -> None:
        """End the worker at once, whatever it does. May be called from any thread, and twice."""
        ...


class ProcessLink:
    """A process that answers on its standard output.

    Ctrl-C in a terminal does not reach it: it ends when this process closes it, or dies.

    Args:
        command: the process, which must answer as `worker.answer_requests` does.
        one_thread: whether its numerical libraries have one thread; else as the environment of this process says.
    """

    def __init__(self, command: Sequence[str], *, one_thread: bool = True) -> None:
        self._said = tempfile.TemporaryFile()
        apart: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        threads = dict.fromkeys(THREAD_VARIABLES, "1") if one_thread else {}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={**os.environ, **threads},
            **apart,
        )
        self._closing, self._closed = threading.Lock(), False

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def ask(
        self, message: Message, parts: Sequence[bytes], *, memory: SharedMemory | None, timeout_s: float
    ) -> tuple[Message, Arrays]:
        """See `Link.ask`."""
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(timeout_s, give_up)
        timer.daemon = True
        timer.start()
        assert self._process.stdin is not None and self._process.stdout is not None
        name = None if memory is None else memory.name
        try:
            write_message(self._process.stdin, {**message, "sizes": [*map(len, parts)], "memory": name}, parts)
            found = read_message(self._process.stdout)
        except (OSError, ValueError):  # its end is closed, or ours is
            found = None
        finally:
            timer.cancel()
        if found is None:
            raise LinkError(f"it did not answer within {timeout_s:g} s" if late.is_set() else self._ended())
        answer, data = found
        block = data if memory is None or not answer["in_memory"] else memory.read(answer["in_memory"])
        return answer, arrays_in(block, answer["arrays"])

    def close(self) -> None:
        """See `Link.close`."""
        self._process.kill()
        with self._closing:
            if self._closed:
                return
            self._closed = True
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=_PATIENCE_S)
            for stream in (self._process.stdin, self._process.stdout, self._said):
                assert stream is not None
                with suppress(OSError):  # what could not be sent is dropped
                    stream.close()

    def _ended(self) -> str:
        try:
            code = self._process.wait(timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired:
            return "the worker process answers no more"
        with self._closing:
            if self._closed:
                return "the worker process was closed"
            self._said.seek(0)
            lines = self._said.read().decode(errors="replace").split("\n")
        said = next((f": {line.strip()}" for line in reversed(lines) if line.strip()), "")
        return f"the worker process ended with code {code}{said}"
