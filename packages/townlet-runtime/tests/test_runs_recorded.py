import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from classic_files import FEATURES, write_originals
from dataset_samples import save_town

from townlet_runtime.runs.recorded import RecordedData, open_recorded
from townlet_runtime.simulation.interface import SimulationSpec
from townlet_runtime.testing import Corridor
from townlet_trajectory import BatchSource, EpisodeLabel
from townlet_trajectory.dataset.filter import TrajectoryFilter
from townlet_trajectory.errors import ArtifactError
from townlet_trajectory.formats.label import label_dataset


def opened(path: Path, warnings: list[str]) -> RecordedData:
    with open_recorded(path, data_root=Path(), warn=warnings.append) as data:
        return data


def test_a_capture_of_the_original_by_its_manifest(tmp_path: Path) -> None:
    warnings: list[str] = []
    data = opened(write_originals(tmp_path / "idle_v9"), warnings)
    assert (data.name, data.feature_names, data.digest) == ("idle_v9", tuple(FEATURES), None)
    assert data.vocabulary == ('{"kind": "wait"}', '{"kind": "move"}')
    assert data.observation_shapes == {"map": (4, 3, 3), "features": (3,)}
    # Of the manifest; what it does not say is left to the rows.
    assert data.baseline == {"sample_count": 3.0, "reward_sum": 45.0, "reward_sum_mean": 15.0, "reward_mean": 0.5}
    assert warnings == []


def test_the_metrics_beside_a_manifest_win_over_those_in_it(tmp_path: Path) -> None:
    manifest = write_originals(tmp_path / "folder")
    named = manifest.with_name("rollout_sample_manifest.json")
    manifest.rename(named)
    metrics = {f"{name}.npz": {"reward_sum": 1.0, "log_prob_mean": -2.0} for name in ("anna", "bert", "cleo")}
    manifest.with_name("rollout_sample_metrics.json").write_text(json.dumps({"metadata": {}, "samples": metrics}))
    for path in (named, named.parent):
        data = opened(path, [])
        assert data.name == "folder"
        assert data.baseline["reward_sum"] == 3.0 and data.baseline["log_prob_mean"] == -2.0


def test_figures_that_a_sample_lacks_are_none_of_the_record(tmp_path: Path) -> None:
    manifest = write_originals(tmp_path / "some")
    entries = json.loads(manifest.read_text())
    del entries[0]["metrics"]
    manifest.write_text(json.dumps(entries))
    assert opened(manifest, []).baseline == {}


def test_what_is_odd_is_said(tmp_path: Path) -> None:
    manifest = write_originals(tmp_path / "some")
    for path in manifest.parent.glob("*.json"):
        document = json.loads(path.read_text())
        if isinstance(document, dict):
            path.write_text(json.dumps({**document, "action_lookup": {}}))
    warnings: list[str] = []
    assert opened(manifest, warnings).vocabulary == ("action_0", "action_1")
    assert len(warnings) == 1 and "3 of 3 samples do not say what their action ids mean" in warnings[0]


def test_a_record_of_a_world_fits_it_and_no_other(tmp_path: Path) -> None:
    spec: SimulationSpec = Corridor(num_worlds=1).spec
    data = opened(write_originals(tmp_path / "idle_v9"), [])
    text = data.misfit(spec)
    assert text is not None and f"{data.path} does not fit `{spec.name}`" in text and len(text) <= 240
    own = _recorded_in(spec, data)
    assert own.misfit(spec) is None
    named = replace(own, feature_names=("a",))
    assert named.misfit(replace(spec, feature_names=())) is None


def _recorded_in(spec: SimulationSpec, data: RecordedData) -> RecordedData:
    from townlet_behavior import BridgeConfig
    from townlet_runtime.core.rollouts import Collector
    from townlet_runtime.simulation.one_group import OneGroup

    worlds = OneGroup(Corridor(num_worlds=1))
    collector = Collector(worlds, config=BridgeConfig(), seed=0, max_rows=100)
    batch = collector.collect(None, num_ticks=5, ratio=0.0).batches["agents"]
    return replace(data, source=BatchSource(batch), feature_names=())


def test_what_is_no_record_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="nothing.json"):
        opened(tmp_path / "nothing.json", [])
    np.savez(tmp_path / "x.npz", a=np.zeros(1))
    with pytest.raises(ArtifactError, match=r"x\.npz"):
        opened(tmp_path / "x.npz", [])


def test_batches_of_a_record_leave_out_what_was_labelled_discard(tmp_path: Path) -> None:
    save_town(tmp_path / "town.npz")
    label_dataset(tmp_path / "town.npz", EpisodeLabel.DISCARD, TrajectoryFilter(agent_ids=frozenset({"b", "g"})))
    data = opened(tmp_path / "town.npz", [])
    reading = {"batch_size": 3, "seed": 0, "shuffle": False, "drop_last": False}
    for streaming in (False, True):
        for labels, agents in ((None, "acdef"), (("none", "discard"), "abcdefg"), (("discard",), "bg")):
            batches = data.batches(**reading, streaming=streaming, episode_labels=labels)
            found = "".join(agent for batch in batches.epoch(0) for agent in batch.agent_ids)
            assert found == agents
