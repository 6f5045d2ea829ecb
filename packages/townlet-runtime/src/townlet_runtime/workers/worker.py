"""The side of a worker: it builds the worlds it is told, and does what it is asked for.

It keeps the worlds of units that it stepped, and the policies that it was sent last, as long as it lives. Whatever it
has not, it is sent.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import IO, Any

import numpy as np

from townlet_runtime.core.evaluator import Evaluator
from townlet_runtime.core.rollouts import Collector
from townlet_runtime.errors import EnvironmentFaultError, SimulationError
from townlet_runtime.workers.blocks import Arrays, arrays_in, block_of, directory_of, size_of, write_arrays
from townlet_runtime.workers.collected import collection_arrays, collection_message
from townlet_runtime.workers.messages import Message, read_message, write_message
from townlet_runtime.workers.recording import RecordingCollector, written_by
from townlet_runtime.workers.tasks import STATE, UnitCast, WaveCast
from townlet_trajectory.evaluation.interfaces import AnyActor, EpisodeScores

_IN_MEMORY = 1 << 16
"""Answers of so many bytes come through the memory that both share."""


@dataclass(frozen=True, kw_only=True)
class OwnWorlds:
    """A collector in worlds of its own, which `close` closes."""

    collector: Collector | RecordingCollector
    close: Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """What a worker makes of the first message."""

    evaluator: Evaluator
    unpacked: Callable[[bytes], Mapping[str, AnyActor]]
    """Makes policies of their bytes."""
    collector: Callable[[int], OwnWorlds] | None = None
    """Begins the worlds of the unit of an index; None: it plays episodes alone."""


@dataclass(kw_only=True)
class _Unit:
    worlds: OwnWorlds
    rounds: int
    """Collections that they have been through."""


class Worker:
    """Does what it is asked for, one after the other.

    Args:
        place: what it works with.
    """

    def __init__(self, place: Workplace) -> None:
        self._place = place
        self._units: dict[int, _Unit] = {}
        self._policies: tuple[str, Mapping[str, AnyActor]] | None = None

    def do(self, request: Message, policies: bytes, data: bytes) -> tuple[Message, Arrays]:
        """Do one task.

        Args:
            request: of a task.
            policies: that it needs, unless they are those of the task before.
            data: that belongs to it.

        Returns:
            The answer, or the error that there is in its place, and arrays that belong to it.
        """
        answer: Message
        arrays: Arrays = {}
        try:
            actors = self._actors(request.get("policies"), policies)
            if "unit" in request:
                answer, arrays = self._collect(request["unit"], actors, data)
            else:
                answer = {"scores": asdict(self._play(request["wave"], actors))}
        except EnvironmentFaultError as error:
            names = ("environment", "problem", "world", "agent_id", "tick")
            answer = {"fault": {name: vars(error)[name] for name in names}}
        except Exception as error:  # raised again, by its name, in the process that asked
            answer = {"error": f"{type(error).__name__}: {error}"}
        if self._policies is not None:
            answer["policies"] = self._policies[0]
        return answer, arrays

    def _actors(self, digest: str | None, data: bytes) -> Mapping[str, AnyActor] | None:
        if digest is None:
            return None
        if self._policies is None or self._policies[0] != digest:
            self._policies = digest, self._place.unpacked(data)
        return self._policies[1]

    def _play(self, wave: Message, actors: Mapping[str, AnyActor] | None) -> EpisodeScores:
        players, opponents = WaveCast(**wave["cast"]).played_by(actors or {})
        seeds = np.array(wave["seeds"], np.int64)
        return self._place.evaluator.wave(players, seeds=seeds, sample=wave["sample"], opponents=opponents)

    def _collect(
        self, asked: Message, actors: Mapping[str, AnyActor] | None, data: bytes
    ) -> tuple[Message, dict[str, Any]]:
        for stale in asked["drop"]:
            self._forget(stale)
        index = asked["index"]
        try:
            unit = self._unit(asked, data)
            answer: Message = {}
            arrays: dict[str, Any] = {}
            if asked["num_ticks"]:
                own, opponents = UnitCast(**asked["cast"]).played_by(actors or {})
                collected = unit.worlds.collector.collect(
                    own, num_ticks=asked["num_ticks"], ratio=asked["ratio"], opponents=opponents
                )
                answer, arrays = collection_message(collected), collection_arrays(collected)
                answer["written"] = written_by([unit.worlds.collector])
                unit.rounds += 1
            state = unit.worlds.collector.save_state()
        except BaseException:
            self._forget(index)  # nobody knows how it was left
            raise
        arrays |= {f"{STATE}{name}": np.asarray(array) for name, array in (state or {}).items()}
        return {**answer, "saved": state is not None}, arrays

    def _unit(self, asked: Message, data: bytes) -> _Unit:
        index, rounds = asked["index"], asked["rounds"]
        if asked["goes_on"]:
            unit = self._units[index]
            if unit.rounds != rounds:
                raise SimulationError(f"expected unit {index} after {rounds} collections, it is after {unit.rounds}")
            return unit
        self._forget(index)
        if self._place.collector is None:
            raise SimulationError(f"expected a worker that collects unit {index}, this one plays episodes alone")
        self._units[index] = unit = _Unit(worlds=self._place.collector(index), rounds=rounds)
        if asked["state"] is not None:
            unit.worlds.collector.restore(arrays_in(bytearray(data), asked["state"]))
        return unit

    def _forget(self, index: int) -> None:
        if (unit := self._units.pop(index, None)) is not None:
            unit.worlds.close()

    def close(self) -> None:
        """Close all worlds."""
        for index in tuple(self._units):
            self._forget(index)


def answer_requests(requests: IO[bytes], answers: IO[bytes], place: Callable[[Message], Workplace]) -> None:
    """Do every task that is asked for, until the requests end: then at once, whatever is being done.

    Args:
        requests: the first of them is of the worlds.
        answers: where results are written to, or errors in their place.
        place: makes a workplace of the first request.
    """
    asked: queue.SimpleQueue[tuple[Message, bytes] | None] = queue.SimpleQueue()
    idle, memories = threading.Event(), set[str]()
    idle.set()

    def listen() -> None:
        while (one := read_message(requests)) is not None:
            if (shared := one[0]["memory"]) is not None:
                memories.add(shared)
            asked.put(one)
        # Whoever asked has gone: nobody waits for an answer, or removes what was shared.
        for name in memories:
            with suppress(OSError):
                os.unlink(name)
        asked.put(None)
        if not idle.is_set():
            os._exit(1)

    threading.Thread(target=listen, daemon=True).start()
    worker = None
    while (one := asked.get()) is not None:
        idle.clear()
        message, data = one
        arrays: Arrays = {}
        answer: Message
        if worker is not None:
            middle = message["sizes"][0]
            answer, arrays = worker.do(message, data[:middle], data[middle:])
        else:
            try:
                worker = Worker(place(message["worlds"]))
                answer = {"ready": True}
            except Exception as error:  # whoever asked goes on without it
                answer = {"refused": f"{type(error).__name__}: {error}"}
        _answer(answers, answer, arrays, message["memory"])
        idle.set()
    if worker is not None:
        worker.close()


def answer_on_streams(place: Callable[[Message], Workplace]) -> None:
    """Answer on the standard output what is asked on the standard input, until it ends; see `answer_requests`."""
    # What an environment prints must not get among the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    answer_requests(sys.stdin.buffer, answers, place)


def _answer(answers: IO[bytes], answer: Message, arrays: Arrays, memory: str | None) -> None:
    """Write an answer, its arrays into the shared memory if they are large and it has room."""
    directory = directory_of(arrays)
    size, parts = size_of(directory), list[bytes]()
    if memory is None or size < _IN_MEMORY or not _written(arrays, memory):
        size, parts = 0, [block_of(arrays)]
    write_message(answers, {**answer, "arrays": directory, "in_memory": size}, parts)


def _written(arrays: Arrays, memory: str) -> bool:
    try:
        with open(memory, "r+b", buffering=0) as stream:
            write_arrays(stream, arrays)
    except OSError:  # a container may have little of it
        return False
    return True
