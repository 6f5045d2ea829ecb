"""Positions as JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_trajectory.dataset.dataset import DatasetPosition, position_of
from townlet_trajectory.errors import DatasetError
from townlet_trajectory.storage.json import JsonValue


@pytest.mark.property
@given(st.integers(0), st.integers(0), st.binary(min_size=32, max_size=32))
def test_a_position_survives_json(epoch: int, batch: int, digest: bytes) -> None:
    position = DatasetPosition(epoch=epoch, batch=batch, fingerprint=digest.hex())
    assert position_of(json.loads(json.dumps(position.document()))) == position


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (None, "a position must be an object of epoch, batch, fingerprint, got None"),
        ({"epoch": 0, "batch": 0}, "a position must be an object"),
        ({"epoch": 0, "batch": 0, "fingerprint": "0" * 64, "more": 1}, "a position must be an object"),
        ({"epoch": "0", "batch": 0, "fingerprint": "0" * 64}, "must hold two integers and a text"),
        ({"epoch": True, "batch": 0, "fingerprint": "0" * 64}, "`epoch` must be an integer >= 0, got True"),
        ({"epoch": 0, "batch": -1, "fingerprint": "0" * 64}, "`batch` must be an integer >= 0, got -1"),
        ({"epoch": 0, "batch": 0.0, "fingerprint": "0" * 64}, "must hold two integers"),
        ({"epoch": 0, "batch": 0, "fingerprint": "0" * 63}, "`fingerprint` must be 64 hex digits"),
    ],
)
def test_anything_else_is_refused(document: JsonValue, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        position_of(document)
