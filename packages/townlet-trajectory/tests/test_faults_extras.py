"""The short fault tests for what needs the extras: shards, YAML, Minari. See the other `test_faults_*`."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from fault_breaking import check_errors, check_kills
from fault_cases import DamagedFormat
from fault_corpus import CANARY, Attack
from fault_corpus_extras import ATTACKS_OF_EXTRAS
from fault_formats import Format
from fault_formats_extras import FORMATS_OF_EXTRAS
from fault_limits import Limit
from fault_limits_extras import LIMITS_OF_EXTRAS
from fault_operations import Operation
from fault_operations_extras import OPERATIONS_OF_EXTRAS
from fault_versions import Versioned, check_versions
from fault_versions_extras import VERSIONED_OF_EXTRAS

from townlet_trajectory import ArtifactError

CASES = 150
SEED = 20_260_102

# The others may end the process, which only `tests-faults` outlives.
GUARDED = [kind for kind in FORMATS_OF_EXTRAS if not kind.unguarded]
# What is only a question of memory is for `tests-faults`, which can measure it.
LIGHT = [attack for attack in ATTACKS_OF_EXTRAS if not attack.heavy and not attack.may_be_read]
LIMITS = [limit for limit in LIMITS_OF_EXTRAS if not limit.heavy]
# The files of Minari are written by HDF5, past the calls that can be replaced here.
REPLACEABLE = [operation for operation in OPERATIONS_OF_EXTRAS if operation.name == "go on with shards"]


@pytest.mark.parametrize("kind", GUARDED, ids=[kind.name for kind in GUARDED])
def test_a_damaged_file_is_never_read_as_something_else(kind: Format, tmp_path: Path) -> None:
    subject = DamagedFormat(kind, tmp_path, seed=SEED)
    outcomes = Counter(subject.run(index) for index in range(CASES))
    assert outcomes["refused"] > CASES // 10
    assert kind.told is not None or kind.sealed is not None or not outcomes["as told"]


@pytest.mark.parametrize("attack", LIGHT, ids=[attack.name.encode("ascii", "replace").decode() for attack in LIGHT])
def test_malicious_files_are_refused(attack: Attack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, place = tmp_path / "work", tmp_path / "place"
    work.mkdir()
    place.mkdir()
    monkeypatch.chdir(work)
    attack.write(place)
    with pytest.raises(ArtifactError):
        attack.read(place)
    assert not Path(CANARY).exists()


@pytest.mark.parametrize("limit", LIMITS, ids=[limit.name for limit in LIMITS])
def test_limits_are_exact(limit: Limit, tmp_path: Path) -> None:
    for measure in (limit.at - 1, limit.at, limit.at + 1):
        place = tmp_path / str(measure)
        place.mkdir()
        if measure <= limit.at:
            limit.read(place, measure)
        else:
            with pytest.raises(ArtifactError):
                limit.read(place, measure)


@pytest.mark.parametrize("operation", REPLACEABLE, ids=[operation.name for operation in REPLACEABLE])
def test_broken_off_at_every_call(operation: Operation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    assert check_errors(operation, tmp_path / "errors", monkeypatch) >= 20
    assert check_kills(operation, tmp_path / "kills", monkeypatch) >= 10


@pytest.mark.parametrize("one", VERSIONED_OF_EXTRAS, ids=[one.name for one in VERSIONED_OF_EXTRAS])
def test_versions(one: Versioned, tmp_path: Path) -> None:
    assert check_versions(one, tmp_path) > 5
