"""A second process that plays waves of episodes, and the messages between both: JSON, and the bytes of weights.

Nothing is pickled, and no code is sent. The other process has no state that is worth saving.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.errors import EnvironmentFaultError, SecondProcessError
from townlet_trajectory.evaluation.interfaces import AnyActor, EpisodeScores

if TYPE_CHECKING:
    from townlet_runtime.core.rollouts import Evaluator

log = logging.getLogger(__name__)

Message = dict[str, Any]
"""What JSON can hold."""
_POLL_S = 0.5
"""On Windows, a thread that waits sees Ctrl-C only between two waits."""
_PATIENCE_S = 10.0
"""Given to a process whose output has ended, to end too."""
_SIZE = 8
"""Bytes of each of the two lengths before a message."""


def write_message(stream: IO[bytes], message: Message, data: bytes = b"") -> None:
    """Write a message.

    Args:
        stream: where to.
        message: what JSON can hold.
        data: bytes that belong to it.
    """
    text = json.dumps(message, allow_nan=False).encode()
    stream.write(len(text).to_bytes(_SIZE, "big") + len(data).to_bytes(_SIZE, "big") + text + data)
    stream.flush()


def read_message(stream: IO[bytes]) -> tuple[Message, bytes] | None:
    """Read what `write_message` wrote; None where the stream has ended."""
    sizes = stream.read(2 * _SIZE)
    text_size, data_size = int.from_bytes(sizes[:_SIZE], "big"), int.from_bytes(sizes[_SIZE:], "big")
    text, data = stream.read(text_size), stream.read(data_size)
    if len(sizes) < 2 * _SIZE or len(text) < text_size or len(data) < data_size:
        return None
    message: Message = json.loads(text)
    return message, data


@dataclass(frozen=True, kw_only=True, eq=False)
class WaveTask:
    """A wave of episodes, to be played in one of the two processes."""

    behavior: str | None
    """That plays; None: the policies."""
    policies: bytes
    """Empty for a behavior."""
    sample: bool
    """Whether the policies' actions are drawn."""
    seeds: NDArray[np.int64]
    """[size]."""
    scores: Future[EpisodeScores] = field(default_factory=Future)
    """[size], or the error that there is in their place."""

    @property
    def request(self) -> Message:
        """What the other process is asked, beside the policies."""
        return {"behavior": self.behavior, "sample": self.sample, "seeds": self.seeds.tolist()}

    @property
    def words(self) -> str:
        """Who plays which episodes, for errors."""
        return f"{self.behavior or 'the policy'} played the seeds {self.seeds[0]} to {self.seeds[-1]}"

    def result(self) -> EpisodeScores:
        """Wait for the scores.

        Raises:
            SecondProcessError: if the other process raised, or ended.
            EnvironmentFaultError: if an environment broke its interface there.
        """
        while True:
            try:
                return self.scores.result(timeout=_POLL_S)
            except TimeoutError:
                continue


class SecondProcess:
    """A process that plays one wave after the other, as a thread of this one hands them to it.

    Ctrl-C in a terminal does not reach it: it ends when this process closes it, or dies.

    Args:
        command: the process, which must answer as `answer_waves` does.
        worlds: the first message: how the worlds are built. Where the process cannot do it, that is logged as a
            warning, and this process has to `take` every wave.
    """

    def __init__(self, command: Sequence[str], worlds: Message) -> None:
        self._said = tempfile.TemporaryFile()
        apart: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, **apart
        )
        self._changed = threading.Condition()
        self._waiting: list[WaveTask] = []
        self._closed = False
        self._thread = threading.Thread(target=self._serve, args=(worlds,), name="second process", daemon=True)
        self._thread.start()

    def submit(self, tasks: Sequence[WaveTask]) -> None:
        """Put `tasks` behind those that wait."""
        with self._changed:
            self._waiting += tasks
            self._changed.notify()

    def prefer(self, tasks: Sequence[WaveTask]) -> None:
        """Put those of `tasks` that still wait before all others."""
        with self._changed:
            self._waiting.sort(key=lambda task: task not in tasks)

    def take(self, tasks: Sequence[WaveTask]) -> WaveTask | None:
        """Take the last of `tasks` that has not begun, to play it in this process; None where all have."""
        with self._changed:
            found = next((task for task in reversed(self._waiting) if task in tasks), None)
            if found is not None:
                self._waiting.remove(found)
            return found

    def close(self) -> None:
        """End the process at once, whatever it plays."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._process.kill()
        self._thread.join()
        self._process.communicate()  # closes the pipes, and what could not be sent is dropped
        self._said.close()

    def _serve(self, worlds: Message) -> None:
        if (refusal := self._refusal(worlds)) is not None:
            if not self._closed:
                log.warning("all episodes are played in this process, for the second one cannot: %s", refusal)
            return
        while (task := self._next()) is not None:
            task.scores.set_running_or_notify_cancel()
            try:
                self._send(task.request, task.policies)
                task.scores.set_result(self._answer(task))
            except (SecondProcessError, EnvironmentFaultError) as error:
                task.scores.set_exception(error)
            except OSError:
                task.scores.set_exception(self._ended(f"while {task.words}"))

    def _refusal(self, worlds: Message) -> str | None:
        """Let the process build the worlds; returns why it cannot, None where it can."""
        try:
            self._send(worlds)
            message = self._receive("before it played")
        except (SecondProcessError, OSError) as error:
            return str(error) if isinstance(error, SecondProcessError) else str(self._ended("before it played"))
        refused: str | None = message.get("refused")
        return refused

    def _next(self) -> WaveTask | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting)
            return None if self._closed else self._waiting.pop(0)

    def _send(self, message: Message, data: bytes = b"") -> None:
        assert self._process.stdin is not None
        write_message(self._process.stdin, message, data)

    def _receive(self, when: str) -> Message:
        assert self._process.stdout is not None
        answer = read_message(self._process.stdout)
        if answer is None:
            raise self._ended(when)
        return answer[0]

    def _answer(self, task: WaveTask) -> EpisodeScores:
        message = self._receive(f"while {task.words}")
        if "scores" in message:
            return EpisodeScores.of(**message["scores"])
        where = f"in a second process, where {task.words}"
        if "fault" in message:
            fault = message["fault"]
            raise EnvironmentFaultError(**{**fault, "problem": f"{fault['problem']} ({where})"})
        raise SecondProcessError(f"{message['error']} ({where})")

    def _ended(self, when: str) -> SecondProcessError:
        try:
            code = self._process.wait(timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired:
            return SecondProcessError(f"the second process answers no more, {when}")
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").split("\n")
        said = next((f": {line.strip()}" for line in reversed(lines) if line.strip()), "")
        return SecondProcessError(f"the second process ended with code {code}, {when}{said}")


def answer_waves(
    requests: IO[bytes],
    answers: IO[bytes],
    *,
    evaluator: Callable[[Message], Evaluator],
    unpacked: Callable[[bytes], Mapping[str, AnyActor]],
) -> None:
    """Play every wave that is asked for, until the requests end.

    Args:
        requests: the first of them is of the worlds.
        answers: where scores are written to, or errors in their place.
        evaluator: builds the worlds' evaluator from the first request.
        unpacked: makes policies of their bytes.
    """
    if (first := read_message(requests)) is None:
        return
    try:
        own = evaluator(first[0])
    except Exception as error:  # the other process plays then
        write_message(answers, {"refused": f"{type(error).__name__}: {error}"})
        return
    answer: Message = {"ready": True}
    write_message(answers, answer)
    while (asked := read_message(requests)) is not None:
        request, data = asked
        try:
            scores = own.wave(
                request["behavior"] or unpacked(data),
                seeds=np.array(request["seeds"], np.int64),
                sample=request["sample"],
            )
            answer = {"scores": asdict(scores)}
        except EnvironmentFaultError as error:
            names = ("environment", "problem", "world", "agent_id", "tick")
            answer = {"fault": {name: vars(error)[name] for name in names}}
        except Exception as error:  # raised again, by its name, in the process that asked
            answer = {"error": f"{type(error).__name__}: {error}"}
        write_message(answers, answer)
