"""T6: files made to harm: one kind of error, below 200 MB, nothing in them runs."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from pathlib import Path

import pytest
from corpus import ATTACKS
from fault_corpus import CANARY, Attack
from isolation import isolated
from ledger import Begin

MAX_PEAK_BYTES = 200_000_000
SECONDS = 20.0

_kinds: dict[str, list[Attack]] = defaultdict(list)
for _attack in ATTACKS:
    _kinds[_attack.name.partition(":")[0]].append(_attack)


@pytest.mark.parametrize("kind", _kinds)
def test_refused(kind: str, memory_folder: Path, begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    tally = begin("T6", kind)
    work, place = memory_folder / "work", memory_folder / "place"
    work.mkdir()
    monkeypatch.chdir(work)
    peak = 0
    for attack in _kinds[kind]:
        place.mkdir()
        made = isolated(lambda attack=attack: attack.write(place), seconds=60)
        assert made.kind == "returned", f"{attack.name} cannot be made: {made}"
        done = isolated(lambda attack=attack: attack.read(place), seconds=SECONDS)
        peak = max(peak, done.peak_bytes)
        allowed = ("refused", "returned") if attack.may_be_read else ("refused",)
        sound = done.kind in allowed and done.peak_bytes < MAX_PEAK_BYTES and os.listdir(work) == []
        tally.check(sound, done.kind, f"{attack.name}: {done}, {os.listdir(work)}")
        shutil.rmtree(place)
    tally.note = f"peak {peak / 1e6:.0f} MB"
    assert not Path(CANARY).exists()
    tally.close()
