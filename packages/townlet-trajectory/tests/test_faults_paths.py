"""Whatever a file calls it, nothing outside its folder is opened."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fault_names import crafted_names
from fault_roots import WAYS, make_root, outcome_of, random_names, read_as_file, swapped


@pytest.mark.parametrize("way", WAYS)
def test_crafted_names(way: Callable[[Path, str], bytes], tmp_path: Path) -> None:
    root = make_root(tmp_path)
    names = list(crafted_names())
    assert len(names) > 200
    good = {name for name in names if outcome_of(way, root, name) == "good"}
    assert good == ({"good", "a/good"} if way is read_as_file else set())


def test_random_names(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    for name in random_names(np.random.default_rng(8), 1000):
        outcome_of(read_as_file, root, name)


def test_a_folder_that_becomes_a_link_between_check_and_open(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    swapped(root, 0)
    done = threading.Event()

    def swap() -> None:
        number = 0
        while not done.is_set():
            number += 1
            swapped(root, number)

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        outcomes = {outcome_of(read_as_file, root, "moving/secret") for _ in range(2000)}
    finally:
        done.set()
        swapping.join()
    assert outcomes <= {"good", "refused"}
