"""The limits of reading are exact: one less and the limit itself are read, one more is refused."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from fault_limits import LIMITS, Limit

from townlet_trajectory import ArtifactError

LIGHT = [limit for limit in LIMITS if not limit.heavy]


@pytest.mark.parametrize("limit", LIGHT, ids=[limit.name for limit in LIGHT])
def test_exact(limit: Limit, tmp_path: Path) -> None:
    for measure in (limit.at - 1, limit.at, limit.at + 1):
        place = tmp_path / str(measure)
        place.mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of actions without names
            if measure <= limit.at:
                limit.read(place, measure)
            else:
                with pytest.raises(ArtifactError):
                    limit.read(place, measure)
