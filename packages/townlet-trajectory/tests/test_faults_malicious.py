"""Files made to harm are refused with the one kind of error, and nothing in them runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from fault_corpus import ATTACKS, CANARY, Attack

from townlet_trajectory import ArtifactError

# What is only a question of memory is for `tests-faults`, which can measure it.
LIGHT = [attack for attack in ATTACKS if not attack.heavy and not attack.may_be_read]


@pytest.mark.parametrize("attack", LIGHT, ids=[attack.name.encode("ascii", "replace").decode() for attack in LIGHT])
def test_refused(attack: Attack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, place = tmp_path / "work", tmp_path / "place"
    work.mkdir()
    place.mkdir()
    monkeypatch.chdir(work)
    attack.write(place)
    with pytest.raises(ArtifactError):
        attack.read(place)
    assert not Path(CANARY).exists()


def test_the_corpus_names_each_attack_once() -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)
