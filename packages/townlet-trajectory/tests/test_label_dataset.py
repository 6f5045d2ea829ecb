"""Labels given to datasets on disk: in place where that is possible, and with nothing else changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from strategies import SCHEMA, assert_same_batch, make_trajectory

from townlet_trajectory import (
    ArtifactError,
    DatasetError,
    EpisodeLabel,
    ShardReader,
    ShardWriter,
    TrajectoryBatch,
    load_batch,
    read_shards,
    save_batch,
    write_shards,
)
from townlet_trajectory.data.pieces import joined, split_every
from townlet_trajectory.dataset.filter import TrajectoryFilter
from townlet_trajectory.formats.label import LabelResult, label_dataset
from townlet_trajectory.formats.minari.writer import to_minari

LIVES = TrajectoryBatch.from_trajectories(
    [
        make_trajectory(1, 5, agent_id="ann", terminated=True),
        make_trajectory(2, 3, agent_id="ben", terminated=True),
        make_trajectory(3, 4, agent_id="ann", episode=1, first_tick=5, episode_label=EpisodeLabel.SUCCESS),
    ]
)
ANN = TrajectoryFilter(agent_ids=frozenset({"ann"}), episodes=frozenset({0}))


@pytest.fixture(params=["npz", "shards"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "npz":
        save_batch(tmp_path / "lives.npz", split_every(LIVES, 2))
        return tmp_path / "lives.npz"
    write_shards(tmp_path / "lives", split_every(LIVES, 2), rows_per_shard=4)
    return tmp_path / "lives"


def read(path: Path) -> TrajectoryBatch:
    return joined(load_batch(path) if path.is_file() else read_shards(path))


def test_pieces_are_labelled_and_counted_as_the_whole_that_they_are(path: Path) -> None:
    assert label_dataset(path, EpisodeLabel.DISCARD, ANN) == LabelResult(total=3, labelled=1)
    assert read(path).episode_labels.tolist() == [EpisodeLabel.DISCARD, EpisodeLabel.NONE, EpisodeLabel.SUCCESS]
    found = label_dataset(path, EpisodeLabel.NONE, TrajectoryFilter(agent_ids=frozenset({"ann"})))
    assert found == LabelResult(total=3, labelled=2)
    assert not read(path).episode_labels.any()


def test_a_label_takes_the_place_of_the_one_before(path: Path) -> None:
    for label in (EpisodeLabel.FAILURE, EpisodeLabel.DISCARD, EpisodeLabel.SUCCESS):
        label_dataset(path, label, TrajectoryFilter())
        assert set(read(path).episode_labels.tolist()) == {label}
    label_dataset(path, EpisodeLabel.NONE, TrajectoryFilter(episode_labels=(EpisodeLabel.FAILURE,)))
    assert set(read(path).episode_labels.tolist()) == {EpisodeLabel.SUCCESS}


def test_nothing_else_is_changed(path: Path) -> None:
    before = read(path)
    label_dataset(path, EpisodeLabel.FAILURE, ANN)
    label_dataset(path, EpisodeLabel.NONE, ANN)
    assert_same_batch(read(path), before)


def test_of_shards_the_manifest_alone_is_written_anew(tmp_path: Path) -> None:
    write_shards(tmp_path, LIVES, rows_per_shard=5)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    fingerprint = ShardReader(tmp_path).fingerprint
    label_dataset(tmp_path, EpisodeLabel.DISCARD, ANN)
    after = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    assert {name for name, data in after.items() if before[name] != data} == {"manifest.json"}
    assert ShardReader(tmp_path).fingerprint != fingerprint
    label_dataset(tmp_path, EpisodeLabel.NONE, ANN)
    assert [shard.labels for shard in ShardReader(tmp_path).manifest.shards] == [{EpisodeLabel.NONE: (0,)}, {}, {}]
    with ShardWriter(tmp_path, SCHEMA, append=True) as writer:
        writer.write(LIVES)
        with pytest.raises(ArtifactError, match="lock"):
            label_dataset(tmp_path, EpisodeLabel.DISCARD, ANN)
    assert read_shards(tmp_path).episode_labels.tolist() == [0, 0, 1, 0, 0, 1]


def test_other_formats_are_written_anew(tmp_path: Path) -> None:
    folder = to_minari(LIVES, "lives-v0", root=tmp_path)
    with pytest.raises(DatasetError, match="changed in place in npz and shards, and this is of the form `minari`"):
        label_dataset(folder, EpisodeLabel.DISCARD, ANN)


def test_rows_that_a_shard_has_not(tmp_path: Path) -> None:
    write_shards(tmp_path, LIVES)
    [shard] = ShardReader(tmp_path).manifest.shards
    with pytest.raises(Exception, match=r"shard 0: `labels` must be of different rows in \[0, 3\), got \[3\]"):
        shard.relabelled(EpisodeLabel.DISCARD, np.array([3]))
