"""Captures whose manifest is YAML."""

from pathlib import Path

import pytest

from townlet_trajectory.dataset.dataset import TrajectoryDataset
from townlet_trajectory.formats.captures.directory import UnnamedActionsWarning
from townlet_trajectory.formats.captures.source import CaptureSource

DATA = Path(__file__).parent / "data"


def test_a_yaml_manifest_names_samples_below_the_data_root(tmp_path: Path) -> None:
    manifest = tmp_path / "replay.yaml"
    manifest.write_text(
        "samples:\n"
        "  - sample: kitchen_capture/rollout_sample_alice_001.npz\n"
        "    meta: kitchen_capture/rollout_sample_alice_001.json\n"
        "  - sample: kitchen_capture/rollout_sample_bob_002.npz\n"
        "    meta: kitchen_capture/rollout_sample_bob_002.json\n"
        "    accepted: false\n"
    )
    with pytest.warns(UnnamedActionsWarning):
        source = CaptureSource(manifest, data_root=DATA)
    assert source.table.agent_ids.tolist() == ["alice"]
    assert sum(map(len, TrajectoryDataset(source, batch_size=32, seed=0))) == 39
