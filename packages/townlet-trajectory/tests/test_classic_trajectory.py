"""Classic samples as trajectories."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from townlet_trajectory.errors import CaptureError
from townlet_trajectory.formats.captures.manifest import read_capture_manifest
from townlet_trajectory.formats.captures.sample import ReplaySample
from townlet_trajectory.formats.captures.source import trajectory_of

KITCHEN = Path(__file__).parent / "data" / "kitchen_capture" / "rollout_sample_manifest.json"


def make_sample(num_rows: int) -> ReplaySample:
    """One of the original's form: row t of the observations is what was seen after action t."""
    values = np.arange(num_rows, dtype=np.float32)
    return ReplaySample(
        path=Path("sample.npz"),
        map=np.broadcast_to(values[:, None, None, None], (num_rows, 1, 1, 1)).copy(),
        features=np.repeat(values[:, None], 2, axis=1),
        actions=np.arange(num_rows) % 2,
        old_log_probs=-values,
        value_preds=np.append(values, np.float32(9)),
        rewards=10 * values,
        dones=values == num_rows - 1,
        metadata={"agent_id": "alice"},
        feature_names=("rivalry_max", "rivalry_avoid_count"),
        vocabulary=("action_0", "action_1"),
        trajectory=None,
    )


def test_an_action_is_joined_with_what_was_seen_before_it() -> None:
    trajectory = trajectory_of(make_sample(4), episode=7)
    assert trajectory.observations["map"].ravel().tolist() == [0, 1, 2, 3]
    assert trajectory.columns["action"].tolist() == [1, 0, 1]
    assert trajectory.columns["old_log_probs"].tolist() == [-1, -2, -3]
    assert trajectory.columns["value_preds"].tolist() == [1, 2, 3]
    assert trajectory.rewards.tolist() == [10, 20, 30]
    assert trajectory.ticks.tolist() == [1, 2, 3]
    assert (trajectory.terminated, trajectory.truncated) == (True, False)
    assert (trajectory.agent_id, trajectory.world, trajectory.episode) == ("alice", 0, 7)


def test_values_without_the_last_one_are_read_as_well() -> None:
    sample = make_sample(3)
    assert trajectory_of(replace(sample, value_preds=sample.value_preds[:3]), episode=0).columns[
        "value_preds"
    ].tolist() == [1, 2]


def test_what_holds_no_whole_step_is_refused() -> None:
    with pytest.raises(CaptureError, match="one row of the original's holds no observation before an action"):
        trajectory_of(make_sample(1), episode=0)
    with pytest.raises(CaptureError, match="`dones` may be true in the last row alone, got row 1"):
        trajectory_of(replace(make_sample(4), dones=np.array([False, True, False, True])), episode=0)


def test_the_originals_file() -> None:
    sample = read_capture_manifest(KITCHEN).entries[0].load()
    trajectory = trajectory_of(sample, episode=0)
    assert len(trajectory) == len(sample) - 1 == 39
    np.testing.assert_array_equal(trajectory.observations["map"], sample.map)
