"""Damaged files of every kind: the same content, or an ArtifactError. `tests-faults` does it with 100,000 of each."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from fault_cases import DamagedFormat
from fault_formats import FORMATS, Format

CASES = 200
SEED = 20_260_101


@pytest.mark.parametrize("kind", FORMATS, ids=[kind.name for kind in FORMATS])
def test_a_damaged_file_is_never_read_as_something_else(kind: Format, tmp_path: Path) -> None:
    subject = DamagedFormat(kind, tmp_path, seed=SEED)
    outcomes = Counter(subject.run(index) for index in range(CASES))
    assert outcomes["refused"] > CASES // 10
    assert kind.told is not None or kind.sealed is not None or not outcomes["as told"]
