"""T1, T10: whenever its writers are killed and however many there are, a registry loses and doubles nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ledger import Begin
from registry_play import hammer, kill_writers, require_sound

KILLS = 100
CHANGES = 400


def test_kills(memory_folder: Path, begin: Begin, scaled: Callable[[int], int]) -> None:
    """A writer that submits, compares, promotes, rolls back, swaps and prunes is killed again and again."""
    tally = begin("T1", f"kills of the writer of a registry, {scaled(KILLS)}")
    kill_writers(memory_folder / "r", num_kills=scaled(KILLS), seed=7)
    state = require_sound(memory_folder / "r")
    tally.check(state.sequence > scaled(KILLS), "records", f"{state.sequence} records")
    tally.close()


def test_crowds(memory_folder: Path, begin: Begin, scaled: Callable[[int], int]) -> None:
    """Four writers at once; every change that one of them was told of is one record."""
    tally = begin("T10", f"changes by four writers of a registry, {scaled(CHANGES)} each")
    hammer(memory_folder / "r", num_writers=4, num_changes=scaled(CHANGES))
    state = require_sound(memory_folder / "r")
    tally.check(len(state.periods) > 1, "releases", f"{len(state.periods)} times something else was live")
    tally.close()
