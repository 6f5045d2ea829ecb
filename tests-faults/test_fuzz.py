"""T5: damaged files, 100,000 of each kind: the same content, or an ArtifactError; in bounded time and memory."""

from __future__ import annotations

import mmap
import os
import signal
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest
from fault_cases import DamagedFormat
from fault_formats import Format
from formats import FORMATS
from isolation import limit_address_space, watch
from ledger import Begin

CASES = 100_000
WORKERS = 2
SECONDS_A_CASE = 5.0
MAX_FAULTS = 50
OUTCOMES = ("same", "refused", "other", "as told")

_NUMBER = struct.Struct("<Q")


@pytest.mark.parametrize("kind", FORMATS, ids=[kind.name for kind in FORMATS])
def test_damaged_files(
    kind: Format, memory_folder: Path, begin: Begin, seed: int, scaled: Callable[[int], int]
) -> None:
    tally = begin("T5", kind.name)
    cases = scaled(round(CASES * kind.share))
    workers = [
        Worker(kind, memory_folder / str(number), seed=seed, indices=range(number, cases, WORKERS))
        for number in range(WORKERS)
    ]
    while running := {worker.pid: worker for worker in workers if worker.pid}:
        pid, status = os.wait()
        if pid in running:
            running[pid].ended(status)
    for worker in workers:
        for outcome, count in (+worker.outcomes).items():
            tally.add(outcome, count)
        for fault in worker.faults:
            tally.fail(fault)
    tally.close()


@dataclass(frozen=True)
class Board:
    """Memory that a child shares with its parent: how far it is, what it has met, and the last fault."""

    memory: mmap.mmap

    def number(self, place: int) -> int:
        (value,) = _NUMBER.unpack_from(self.memory, place * 8)
        return int(value)

    def put(self, place: int, value: int) -> None:
        _NUMBER.pack_into(self.memory, place * 8, value)


class Worker:
    """A child that runs cases; one that dies is replaced by another, which goes on behind the case that killed it."""

    def __init__(self, kind: Format, folder: Path, *, seed: int, indices: range) -> None:
        self._kind, self._folder, self._seed, self._indices = kind, folder, seed, indices
        self._children = 0
        self.faults: list[str] = []
        self.outcomes: Counter[str] = Counter()
        self.pid = 0
        self._begin(0)

    def ended(self, status: int) -> None:
        """Take over what the child did, and begin another one where it died before its end."""
        self.pid = 0
        self.outcomes.update({name: self._board.number(1 + at) for at, name in enumerate(OUTCOMES)})
        done = self._board.number(0)
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            what = "hangs" if number == signal.SIGALRM else f"dies of {signal.Signals(number).name}"
        elif os.WEXITSTATUS(status):
            what = self._board.memory[1024:].rstrip(b"\0").decode(errors="replace")
        else:
            return
        self.faults.append(f"seed {self._seed}, case {self._indices[done]}: {what}")
        if len(self.faults) < MAX_FAULTS:
            self._begin(done + 1)

    def _begin(self, first: int) -> None:
        if first >= len(self._indices):
            return
        self._children += 1
        self._board = Board(mmap.mmap(-1, 1 << 14))
        self._board.put(0, first)
        self.pid = os.fork()
        if self.pid == 0:
            self._run(first)

    def _run(self, first: int) -> NoReturn:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        code = 1
        try:
            subject = DamagedFormat(self._kind, self._folder / str(self._children), seed=self._seed)
            limit_address_space()
            for at in range(first, len(self._indices)):
                self._board.put(0, at)
                watch(SECONDS_A_CASE)
                place = 1 + OUTCOMES.index(subject.run(self._indices[at]))
                self._board.put(place, self._board.number(place) + 1)
            code = 0
        except Exception as error:  # everything is told to the parent
            text = f"{type(error).__name__}: {error}".encode(errors="replace")[:8192]
            self._board.memory[1024 : 1024 + len(text)] = text
        finally:
            os._exit(code)
