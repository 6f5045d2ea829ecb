"""Classic captures as a source."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_source import least_budget
from strategies import FEATURE_NAMES, SCHEMA, VOCABULARY, assert_same_batch, make_trajectory

from townlet_trajectory import ArtifactError, SchemaError, TrajectoryBatch
from townlet_trajectory.dataset.dataset import TrajectoryDataset
from townlet_trajectory.dataset.selection import StepSelection
from townlet_trajectory.dataset.source import TrajectorySource
from townlet_trajectory.errors import CaptureError
from townlet_trajectory.formats.captures.directory import (
    CaptureInfo,
    UnnamedActionsWarning,
    read_captures,
    write_captures,
)
from townlet_trajectory.formats.captures.manifest import read_capture_manifest
from townlet_trajectory.formats.captures.sample import CaptureLayout, ReplaySample
from townlet_trajectory.formats.captures.source import CaptureSource, trajectory_of

KITCHEN = Path(__file__).parent / "data" / "kitchen_capture"


def write(directory: Path, *, num_samples: int = 4) -> Path:
    batch = TrajectoryBatch.from_trajectories(
        [make_trajectory(n, n + 2, world=n, episode=2, first_tick=n) for n in range(num_samples)]
    )
    return write_captures(
        directory,
        batch,
        final_values=np.zeros(num_samples, np.float32),
        layout=CaptureLayout(feature_names=FEATURE_NAMES, map_channels=("a", "b"), action_texts=VOCABULARY),
        info=CaptureInfo(
            config_path=None,
            config_id=None,
            scenario_name=None,
            scenario_description=None,
            ticks=9,
            seed=1,
            policy_hash=None,
            capture_timestamp="2025-01-01T00:00:00Z",
        ),
    )


def test_samples_of_ours_are_blocks_of_one_trajectory(tmp_path: Path) -> None:
    manifest = write(tmp_path)
    source: TrajectorySource = CaptureSource(manifest)
    assert source.block_offsets.tolist() == [0, 1, 2, 3, 4]
    assert source.table.worlds.tolist() == [0, 1, 2, 3]
    assert source.table.episodes.tolist() == [2, 2, 2, 2]
    assert source.table.lengths.tolist() == [2, 3, 4, 5]
    source.schema.require_equal(SCHEMA)
    whole = TrajectoryBatch.concatenate([source.load_block(block) for block in range(4)])
    assert_same_batch(whole, read_captures(manifest).batch())
    np.testing.assert_array_equal(source.decision_column(3, "kind"), whole.columns["kind"][9:])
    assert (source.encoded_bytes > 0).all()
    assert source.fingerprint == CaptureSource(manifest).fingerprint


def test_a_dataset_reads_samples_again_where_the_budget_does_not_hold_them_all(tmp_path: Path) -> None:
    loads: list[int] = []

    class Counted(CaptureSource):
        def load_block(self, block: int) -> TrajectoryBatch:
            loads.append(block)
            return super().load_block(block)

    source = Counted(write(tmp_path))
    least = least_budget([source], batch_size=3)
    dataset = TrajectoryDataset(source, batch_size=3, seed=0, memory_budget_bytes=least)
    for _ in range(2):
        assert sorted(step for batch in dataset for step in batch.steps.tolist()) == list(range(14))
    assert sorted(loads[:4]) == [0, 1, 2, 3]
    assert len(loads) > 4


def test_the_originals_captures_are_read() -> None:
    with pytest.warns(UnnamedActionsWarning, match="2 of 2 samples do not say what their action ids mean"):
        source = CaptureSource(KITCHEN / "rollout_sample_manifest.json")
    assert source.table.agent_ids.tolist() == ["alice", "bob"]
    assert source.table.lengths.tolist() == [39, 39]
    assert source.table.episodes.tolist() == [0, 1]
    assert source.schema.vocabulary == ("action_0", "action_1")  # alice did one thing, bob two
    assert source.load_block(0).schema == source.schema
    assert sum(map(len, TrajectoryDataset(source, batch_size=32, seed=0))) == 78
    with pytest.raises(SchemaError, match="`kind` is no decision column"):
        TrajectoryDataset(source, batch_size=32, seed=0, select=StepSelection(kinds=()))


def test_tags_of_descriptions_are_tags_of_trajectories(tmp_path: Path) -> None:
    shutil.copytree(KITCHEN, tmp_path, dirs_exist_ok=True)
    description = tmp_path / "rollout_sample_bob_002.json"
    document = json.loads(description.read_text())
    description.write_text(json.dumps({**document, "tags": ["calm"]}))
    with pytest.warns(UnnamedActionsWarning):
        source = CaptureSource(tmp_path / "rollout_sample_manifest.json")
    assert source.table.tags == (frozenset(), frozenset({"calm"}))
    description.write_text(json.dumps({**document, "tags": "calm"}))
    with pytest.raises(CaptureError, match="entry 1.*`tags` must be a list of strings"):
        CaptureSource(tmp_path / "rollout_sample_manifest.json")


def test_a_sample_that_changes_later_is_refused(tmp_path: Path) -> None:
    shutil.copytree(KITCHEN, tmp_path, dirs_exist_ok=True)
    with pytest.warns(UnnamedActionsWarning):
        source = CaptureSource(tmp_path / "rollout_sample_manifest.json")
    arrays = dict(np.load(tmp_path / "rollout_sample_bob_002.npz"))
    arrays["rewards"][5] += 1
    np.savez(tmp_path / "rollout_sample_bob_002.npz", **arrays)
    source.load_block(0)
    with pytest.raises(CaptureError, match="entry 1: verify: the sample is not what it was"):
        source.load_block(1)
    (tmp_path / "rollout_sample_bob_002.npz").unlink()
    with pytest.raises(ArtifactError, match="rollout_sample_bob_002.npz"):
        source.load_block(1)


def test_a_damaged_sample_is_refused_at_once(tmp_path: Path) -> None:
    manifest = write(tmp_path)
    path = next(tmp_path.glob("*_003.npz"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CaptureError, match="entry 2: verify"):
        CaptureSource(manifest)


def test_samples_with_other_schemas_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    shutil.copytree(KITCHEN, tmp_path, dirs_exist_ok=True)
    ours = next(tmp_path.glob("rollout_sample_alice_002.npz")).name
    manifest = tmp_path / "both.json"
    manifest.write_text(json.dumps([ours, "rollout_sample_bob_002.npz"]))
    with pytest.raises(CaptureError, match="entry 1: check: not as other samples are: vocabularies differ"):
        CaptureSource(manifest)


def test_a_manifest_without_samples_is_refused(tmp_path: Path) -> None:
    manifest = tmp_path / "empty.json"
    manifest.write_text(json.dumps([{"sample": "a.npz", "accepted": False}]))
    with pytest.raises(CaptureError, match="there is no accepted sample"):
        CaptureSource(manifest)


KITCHEN_MANIFEST = Path(__file__).parent / "data" / "kitchen_capture" / "rollout_sample_manifest.json"


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
    sample = read_capture_manifest(KITCHEN_MANIFEST).entries[0].load()
    trajectory = trajectory_of(sample, episode=0)
    assert len(trajectory) == len(sample) - 1 == 39
    np.testing.assert_array_equal(trajectory.observations["map"], sample.map)
