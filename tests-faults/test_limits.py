"""T7: the limits of reading are exact, at their real sizes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fault_limits import Limit
from isolation import isolated
from ledger import Begin
from limits import LIMITS


@pytest.mark.parametrize("limit", LIMITS, ids=[limit.name for limit in LIMITS])
def test_exact(limit: Limit, memory_folder: Path, begin: Begin) -> None:
    tally = begin("T7", limit.name)
    for measure, expected in ((limit.at - 1, "returned"), (limit.at, "returned"), (limit.at + 1, "refused")):
        place = memory_folder / "place"
        place.mkdir()
        done = isolated(lambda place=place, measure=measure: limit.read(place, measure), seconds=120)
        tally.check(done.kind == expected, expected, f"{measure}: {done}")
        shutil.rmtree(place)
    tally.close()
