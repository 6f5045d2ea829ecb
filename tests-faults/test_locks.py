"""T14: of the processes that want a directory exactly one writes, whatever becomes of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from faulty_os import temporaries
from ledger import Begin

from townlet_trajectory import ArtifactError
from townlet_trajectory.storage import files
from townlet_trajectory.storage.json import parse_object

RACES = 1000
RUNNERS = 3


def test_races(memory_folder: Path, begin: Begin, scaled: Callable[[int], int]) -> None:
    """All begin at once; one wins and writes two files; every third winner is killed, every third has a child."""
    tally = begin("T14", f"races of {RUNNERS}")
    for number in range(scaled(RACES)):
        ending = ("ends", "is killed", "leaves a child")[number % 3]
        winners, losers, others = _race(memory_folder, number, ending)
        problem = _problem(memory_folder, number, winners, losers, others)
        tally.check(not problem, f"the winner {ending}", f"race {number}, {ending}: {problem}")
    tally.close()


def _problem(folder: Path, number: int, winners: int, losers: int, others: str) -> str:
    if (winners, losers, others) != (1, RUNNERS - 1, ""):
        return f"{winners} winners, {losers} losers, {others}"
    try:
        with files.DirectoryLock(folder):
            pass
    except ArtifactError as error:
        return f"not given back: {error}"
    first, second = (parse_object((folder / name).read_bytes(), name) for name in ("first.json", "second.json"))
    if first != second or first["race"] != number or temporaries(folder):
        return f"two writers at once: {first}, {second}, {temporaries(folder)}"
    return ""


def _race(folder: Path, number: int, ending: str) -> tuple[int, int, str]:
    """Run one race; how many won, how many lost, and what else happened."""
    start, told, over = os.pipe(), os.pipe(), os.pipe()
    children = []
    for runner in range(RUNNERS):
        pid = os.fork()
        if pid == 0:
            os.close(start[1])
            os.close(over[1])
            _run(folder, number, runner, ending, (start[0], told[1], over[0]))
        children.append(pid)
    for descriptor in (start[0], told[1], over[0], start[1]):
        os.close(descriptor)  # the last one lets them go
    words = b""
    while len(words) < RUNNERS and (word := os.read(told[0], RUNNERS)):
        words += word
    os.close(over[1])
    statuses = [os.waitpid(pid, 0)[1] for pid in children]
    os.close(told[0])
    killed = sum(os.WIFSIGNALED(status) for status in statuses)
    if killed != (ending == "is killed"):
        return words.count(b"w"), words.count(b"l"), f"{killed} were killed"
    return words.count(b"w"), words.count(b"l"), words.replace(b"w", b"").replace(b"l", b"").decode()


def _run(folder: Path, number: int, runner: int, ending: str, pipes: tuple[int, int, int]) -> NoReturn:
    start, told, over = pipes
    os.read(start, 1)
    word = b"?"
    try:
        with files.DirectoryLock(folder):
            if ending == "leaves a child" and os.fork() == 0:
                os.close(told)
                os.read(over, 1)
                os._exit(0)
            for name in ("first.json", "second.json"):
                files.write_json_atomic(folder / name, {"race": number, "runner": runner})
            os.write(told, b"w")
            os.read(over, 1)  # hold it until the others have tried
            if ending == "is killed":
                os.kill(os.getpid(), signal.SIGKILL)
        word = b""
    except ArtifactError as error:
        word = b"l" if "another writer" in error.reason else b"e"
    finally:
        os.write(told, word)
        os._exit(0)
