"""T8: nothing outside of the root is opened, by the word of the kernel."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from fault_names import crafted_names
from fault_roots import WAYS, make_root, outcome_of, random_names, read_as_file, swapped
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger import Begin, Tally
from tracing import traced

RANDOM_NAMES = 10_000
SWAPS = 100_000
OPENING = ("open", "openat", "openat2", "creat")


def _outside(root: Path, way: Callable[[Path, str], bytes], names: Iterable[str], log: Path) -> tuple[int, list[str]]:
    """How many files were opened while `names` were read, and which of them are outside of `root`."""
    done = traced(lambda: [outcome_of(way, root, name) for name in names], log, trace=OPENING, seconds=300)
    assert done.kind == "done", f"{done.kind} {done.text}"
    opened = [call.path for call in done.calls if call.path]
    return len(opened), [path for path in opened if not Path(path).is_relative_to(root)]


@pytest.mark.parametrize("way", WAYS)
def test_crafted_names(way: Callable[[Path, str], bytes], memory_folder: Path, begin: Begin) -> None:
    root, names = make_root(memory_folder), list(crafted_names())
    outcome_of(way, root, "good")  # imports
    num_opened, outside = _outside(root, way, names, memory_folder / "log")
    _count(begin("T8", f"crafted names, {way.__name__}"), len(names), num_opened, outside)


def test_random_names(memory_folder: Path, begin: Begin, seed: int, scaled: Callable[[int], int]) -> None:
    root, names = make_root(memory_folder), random_names(np.random.default_rng(seed), scaled(RANDOM_NAMES))
    outcome_of(read_as_file, root, "good")
    num_opened, outside = _outside(root, read_as_file, names, memory_folder / "log")
    _count(begin("T8", "random names"), len(names), num_opened, outside)


def _count(tally: Tally, num_names: int, num_opened: int, outside: list[str]) -> None:
    for path in outside:
        tally.fail(f"opened {path}")
    tally.add("stayed inside", num_names)
    tally.note = f"{num_opened} opened"
    tally.close()
    assert num_opened


def test_names_that_hypothesis_thinks_of(memory_folder: Path, begin: Begin, scaled: Callable[[int], int]) -> None:
    tally = begin("T8", "names by Hypothesis")
    root = make_root(memory_folder)

    @settings(max_examples=scaled(RANDOM_NAMES), database=None, suppress_health_check=list(HealthCheck))
    @given(
        st.text(max_size=30)
        | st.text(alphabet="./\\ab\0:~ ", max_size=20)
        | st.lists(st.sampled_from(["a", "good", "link", "folder_link", "..", "."]), max_size=4).map("/".join)
    )
    def stays_inside(name: str) -> None:
        tally.add(outcome_of(read_as_file, root, name))

    stays_inside()
    tally.close()


def test_a_folder_that_becomes_a_link_between_check_and_open(
    memory_folder: Path, begin: Begin, scaled: Callable[[int], int]
) -> None:
    tally = begin("T8", "a folder swapped for a link")
    root = make_root(memory_folder)
    swapped(root, 0)
    pid = os.fork()
    if pid == 0:
        number = 0
        while True:
            number += 1
            swapped(root, number)
    try:
        for _ in range(scaled(SWAPS)):
            tally.add(outcome_of(read_as_file, root, "moving/secret"))
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    tally.close()
    assert len(tally.outcomes) == 2  # both sides were seen
