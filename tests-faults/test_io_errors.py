"""T3: every system call fails, once or from then on: a typed error, the old content, nothing left behind."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from breaking import Broken
from fault_formats import Format
from fault_operations import Operation
from formats import FORMATS
from ledger import Begin
from operations import OPERATIONS
from tracing import Traced, successful_calls, traced

ERRORS = ("ENOSPC", "EIO", "EINTR", "EDQUOT", "EACCES", "EROFS")
ERRORS_OF_READING = ("EINTR", "EIO", "EACCES")
NEVER_IGNORED = frozenset(
    {"write", "pwrite64", "fsync", "fdatasync", "rename", "renameat", "renameat2", "ftruncate", "mkdir", "mkdirat"}
)
REMOVING = frozenset({"unlink", "unlinkat", "rmdir", "getdents64", "openat", "close", "fstat", "newfstatat"})
"""Where these go on failing nothing can be removed; the next writer does it."""
INTERRUPTIBLE = frozenset({"openat", "read", "pread64", "write", "pwrite64", "fsync", "ftruncate", "close", "flock"})
"""What a signal may break off (signal(7))."""
KINDS = [kind for kind in FORMATS if kind.sealed is None]
"""Damage apart, the others are read in the same way."""


@pytest.mark.parametrize("operation", OPERATIONS, ids=[operation.name for operation in OPERATIONS])
def test_every_system_call_fails(
    operation: Operation, memory_folder: Path, begin: Begin, scaled: Callable[[int], int]
) -> None:
    tally = begin("T3", operation.name)
    broken = Broken(operation, memory_folder)
    cases = [
        (name, at, error, mode)
        for name, at in successful_calls(broken.calls)
        for error in ERRORS
        if error != "EINTR" or name in INTERRUPTIBLE
        # An interrupted call is made again: for ever is not meant, twenty times is much.
        for mode in (f"{at}", f"{at}..{at + 19}" if error == "EINTR" else f"{at}+")
    ]
    for name, at, error, mode in cases[:: max(1, len(cases) // scaled(len(cases)))]:
        place = broken.fresh("place")
        done = traced(broken.act_in(place), broken.log, inject=[f"{name}:error={error}:when={mode}"])
        lasting = mode != f"{at}"
        problem = _problem(done, broken, place, removable=not (name in REMOVING and lasting), error=error)
        outcome = f"{done.kind}, {broken.name_of_last_state}"
        tally.check(not problem, outcome, f"{name} {at} {error} {mode}: {done.kind} {done.text}: {problem}")
        shutil.rmtree(place)
    tally.close()


def _problem(done: Traced, broken: Broken, place: Path, *, removable: bool, error: str) -> str:
    if done.kind not in ("done", "refused"):
        return "not an ArtifactError"
    ignored = [call.name for call in done.calls if call.injected and call.name in NEVER_IGNORED]
    if done.kind == "done" and ignored and error != "EINTR":
        return f"an error of {ignored} was swallowed"
    problem = broken.problem(place, tidy=removable)
    if not problem and done.kind == "done" and broken.name_of_last_state != "new":
        return "said to be done, but it is not there"
    return problem


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_every_system_call_fails_while_reading(kind: Format, memory_folder: Path, begin: Begin) -> None:
    """The content, or a typed error: never a part of it."""
    tally = begin("T3", f"reading {kind.name}")
    place, log = memory_folder / "place", memory_folder / "strace.log"
    place.mkdir()
    kind.write(place, 1)
    expected = kind.read(place)

    def read() -> None:
        if kind.read(place) != expected:
            raise ValueError("read as something else")

    for name, at in successful_calls(traced(read, log).calls):
        for error in ERRORS_OF_READING if name in INTERRUPTIBLE else ERRORS_OF_READING[1:]:
            for mode in (f"{at}", f"{at}..{at + 19}" if error == "EINTR" else f"{at}+"):
                done = traced(read, log, inject=[f"{name}:error={error}:when={mode}"])
                sound = done.kind in ("done", "refused")
                tally.check(sound, done.kind, f"{name} {at} {error} {mode}: {done.kind} {done.text}")
    tally.close()
