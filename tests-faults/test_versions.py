"""T16: files of every version of every format load, or are refused; none is misread."""

from __future__ import annotations

from pathlib import Path

import pytest
from fault_versions import VERSIONED, VERSIONS, Versioned, check_versions
from fault_versions_extras import VERSIONED_OF_EXTRAS
from ledger import Begin

ALL = (*VERSIONED, *VERSIONED_OF_EXTRAS)


@pytest.mark.parametrize("one", ALL, ids=[one.name for one in ALL])
def test_versions(one: Versioned, tmp_path: Path, begin: Begin) -> None:
    tally = begin("T16", one.name)
    tally.add("loaded or refused", check_versions(one, tmp_path))
    tally.close()


def test_every_version_that_is_kept_is_read() -> None:
    assert {path.name for path in VERSIONS.iterdir()} == {one.name for one in ALL}
