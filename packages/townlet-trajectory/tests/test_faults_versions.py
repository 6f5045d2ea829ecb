"""Files of every version that was ever written are read, those of a newer one are refused by name, none is misread."""

from __future__ import annotations

from pathlib import Path

import pytest
from fault_versions import VERSIONED, VERSIONS, Versioned, check_versions


@pytest.mark.parametrize("one", VERSIONED, ids=[one.name for one in VERSIONED])
def test_versions(one: Versioned, tmp_path: Path) -> None:
    assert check_versions(one, tmp_path) > 5


def test_what_is_kept_is_read_by_a_test() -> None:
    kept = {path.name for path in VERSIONS.iterdir() if not path.name.startswith(("shards", "minari"))}
    assert kept == {one.name for one in VERSIONED}
