"""T1: killed at every system call, and at any time: a reader finds the old content or the new one, whole."""

from __future__ import annotations

import mmap
import os
import shutil
import signal
import struct
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from breaking import Broken
from fault_operations import Operation
from ledger import Begin
from operations import OPERATIONS
from savers import SAVERS, Saver
from tracing import traced

from townlet_trajectory.storage import files

KILLS = 1000
MAX_SECONDS = 0.03


@pytest.mark.parametrize("operation", OPERATIONS, ids=[operation.name for operation in OPERATIONS])
def test_killed_at_every_system_call(operation: Operation, memory_folder: Path, begin: Begin) -> None:
    tally = begin("T1", operation.name)
    broken = Broken(operation, memory_folder)
    for name, count in Counter(call.name for call in broken.calls).items():
        for at in range(1, count + 1):
            place = broken.fresh(f"{name}-{at}")
            done = traced(broken.act_in(place), broken.log, inject=[f"{name}:signal=KILL:when={at}"])
            problem = broken.problem(place, tidy=False) if done.kind == "SIGKILL" else f"{done.kind} {done.text}"
            tally.check(not problem, broken.name_of_last_state, f"{name} {at}: {problem}")
    tally.close()


@pytest.mark.parametrize("saver", SAVERS, ids=[saver.name for saver in SAVERS])
def test_killed_at_any_time(
    saver: Saver, memory_folder: Path, begin: Begin, seed: int, scaled: Callable[[int], int]
) -> None:
    """Whatever a saver said it had saved is there when it is killed, and at most the next one too."""
    tally = begin("T1", f"killed while it saves: {saver.name}")
    rng = np.random.default_rng(seed)
    for number in range(scaled(KILLS // len(SAVERS))):
        place = memory_folder / str(number)
        place.mkdir()
        said = _kill(saver, place, float(rng.uniform(0, MAX_SECONDS)))
        with files.DirectoryLock(place):
            found = saver.read(place)
        tally.check(said <= found <= said + 1, "sound", f"{number}: saved {said}, found {found}")
        shutil.rmtree(place)
    tally.close()


def _kill(saver: Saver, place: Path, seconds: float) -> int:
    """Let it save, kill it after some time from its first save on, and return how much it said it had saved."""
    board = mmap.mmap(-1, mmap.PAGESIZE)
    pid = os.fork()
    if pid == 0:
        try:
            for number in saver.save(place):
                board[:8] = struct.pack("<Q", number)
        finally:
            os._exit(1)
    while not any(board[:8]) and os.waitpid(pid, os.WNOHANG) == (0, 0):
        time.sleep(0.0002)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    (said,) = struct.unpack("<Q", board[:8])
    return int(said)
