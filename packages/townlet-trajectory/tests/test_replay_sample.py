"""A classic sample cannot be wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from townlet_trajectory import CaptureError
from townlet_trajectory.formats.captures.sample import ReplaySample

SAMPLE = ReplaySample(
    path=Path("a.npz"),
    map=np.zeros((2, 1, 3, 3), np.float32),
    features=np.zeros((2, 2), np.float32),
    actions=np.array([0, 1]),
    old_log_probs=np.zeros(2, np.float32),
    value_preds=np.zeros(3, np.float32),
    rewards=np.zeros(2, np.float32),
    dones=np.zeros(2, bool),
    metadata={},
    feature_names=("rivalry_max", "rivalry_avoid_count"),
    vocabulary=("x", "y"),
    trajectory=None,
)


def test_both_lengths_of_values() -> None:
    assert len(SAMPLE) == 2
    assert len(replace(SAMPLE, value_preds=np.zeros(2, np.float32)).value_preds) == 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"map": np.zeros((3, 1, 3, 3), np.float32)}, r"`map` must be \[2, C, H, W\], got \(3, 1, 3, 3\)"),
        ({"map": np.zeros((2, 3, 3), np.float32)}, "`map` must be"),
        ({"features": np.zeros((2, 3), np.float32)}, r"`features` must be \(\(2, 2\),\), got \(2, 3\)"),
        ({"actions": np.array([0, 2])}, r"`actions` must be in \[0, 2\)"),
        ({"actions": np.array([0, -1])}, r"`actions` must be in \[0, 2\)"),
        ({"actions": np.zeros(2, np.int32)}, "`actions` must be int64, got int32"),
        ({"value_preds": np.zeros(4, np.float32)}, r"`value_preds` must be \(\(2,\), \(3,\)\), got \(4,\)"),
        ({"old_log_probs": np.array([0, -np.inf], np.float32)}, "`old_log_probs` must be finite"),
        ({"rewards": np.zeros(0, np.float32)}, "at least one step"),
        ({"dones": np.zeros(2, np.int8)}, "`dones` must be bool, got int8"),
        ({"feature_names": ("a", "rivalry_max")}, r"must hold \['rivalry_avoid_count'\]"),
    ],
)
def test_refused(changes: dict[str, np.ndarray], reason: str) -> None:
    with pytest.raises(CaptureError, match=reason):
        replace(SAMPLE, **changes)
