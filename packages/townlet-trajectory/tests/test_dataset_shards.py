"""Datasets over shards."""

from pathlib import Path

import numpy as np
import pytest
from made_source import least_budget
from strategies import SCHEMA, make_trajectory

from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.dataset.dataset import TrajectoryDataset
from townlet_trajectory.dataset.info import DatasetInfo
from townlet_trajectory.dataset.selection import StepSelection
from townlet_trajectory.errors import ArtifactError, DatasetError
from townlet_trajectory.formats.shards.reader import ShardReader
from townlet_trajectory.formats.shards.writer import write_shards


def make_batch(seed: int) -> TrajectoryBatch:
    return TrajectoryBatch.from_trajectories([make_trajectory(seed + n, 7, world=n, episode=seed) for n in range(20)])


@pytest.mark.parametrize("compression", ["lz4", "none"])
def test_every_step_of_shards_is_handed_out_once_within_any_budget(tmp_path: Path, compression: str) -> None:
    whole = make_batch(0)
    write_shards(tmp_path, whole, rows_per_shard=20, compression=compression)
    source = ShardReader(tmp_path)
    assert len(source.block_offsets) > 5
    select = StepSelection(demonstrated=True)
    expected = np.flatnonzero(whole.columns["demonstrated"]).tolist()
    for budget in (None, least_budget([source], batch_size=8), 100_000):
        dataset = TrajectoryDataset(source, batch_size=8, seed=3, memory_budget_bytes=budget, select=select)
        for _ in range(2):
            batches = list(dataset)
            assert sorted(step for batch in batches for step in batch.steps.tolist()) == expected
            for batch in batches:
                for name in SCHEMA.observations:
                    np.testing.assert_array_equal(batch.observations[name], whole.observations[name][batch.steps])


def test_a_position_outlives_the_process_but_not_a_change_of_the_data(tmp_path: Path) -> None:
    write_shards(tmp_path / "a", make_batch(0), rows_per_shard=20)
    write_shards(tmp_path / "b", make_batch(100), rows_per_shard=20)
    dataset = TrajectoryDataset(ShardReader(tmp_path / "a"), batch_size=8, seed=3)
    for _ in range(5):
        next(iter(dataset))
    again = TrajectoryDataset(ShardReader(tmp_path / "a"), batch_size=8, seed=3)
    again.seek(dataset.position())
    assert next(iter(again)).steps.tolist() == next(iter(dataset)).steps.tolist()
    with pytest.raises(DatasetError, match="another dataset"):
        TrajectoryDataset(ShardReader(tmp_path / "b"), batch_size=8, seed=3).seek(dataset.position())


def test_directories_are_selected_by_their_tags(tmp_path: Path) -> None:
    write_shards(tmp_path / "a", make_batch(0), info=DatasetInfo(tags=("script",)))
    write_shards(tmp_path / "b", make_batch(100), info=DatasetInfo(tags=("expert",)))
    sources = [ShardReader(tmp_path / name) for name in ("a", "b")]
    dataset = TrajectoryDataset(*sources, batch_size=999, seed=3, select=StepSelection(tags=("expert",)))
    (batch,) = dataset
    assert sorted(batch.steps.tolist()) == list(range(140, 280))


def test_a_damaged_shard_stops_the_epoch_by_name(tmp_path: Path) -> None:
    write_shards(tmp_path, make_batch(0), rows_per_shard=20)
    dataset = TrajectoryDataset(ShardReader(tmp_path), batch_size=8, seed=3)
    path = tmp_path / "steps-000002.arrow"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match="steps-000002.arrow"):
        list(dataset)
