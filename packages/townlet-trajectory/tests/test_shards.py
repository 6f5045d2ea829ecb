"""Whole datasets in one call."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import any_batches, assert_identical_batch, assert_same_batch, make_trajectory

from townlet_trajectory import ArtifactError, SchemaError, TrajectoryBatch
from townlet_trajectory.data.pieces import joined
from townlet_trajectory.dataset.info import DatasetInfo
from townlet_trajectory.formats.shards.reader import ShardReader, read_shards
from townlet_trajectory.formats.shards.writer import write_shards

LONG = TrajectoryBatch.from_trajectories(
    [make_trajectory(1, 7, agent_id="a", terminated=True), make_trajectory(2, 3, agent_id="b", truncated=True)]
)


@pytest.mark.property
@given(any_batches(max_trajectories=2), st.integers(3, 8))
def test_joined_restores_what_was_cut(
    tmp_path_factory: pytest.TempPathFactory, batch: TrajectoryBatch, rows_per_shard: int
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    write_shards(folder, batch, rows_per_shard=rows_per_shard)
    read = read_shards(folder)
    assert read.num_steps == batch.num_steps
    assert read.lengths.max(initial=0) <= rows_per_shard
    assert_identical_batch(joined(read), joined(batch))


def test_pieces_by_hand(tmp_path: Path) -> None:
    manifest = write_shards(tmp_path, LONG, rows_per_shard=3)
    assert [shard.num_steps for shard in manifest.shards] == [3, 3, 1, 3]
    read = read_shards(tmp_path)
    assert read.terminated.tolist() == [False, False, True, False]
    assert read.truncated.tolist() == [False, False, False, True]
    assert read.agent_ids.tolist() == ["a", "a", "a", "b"]
    assert read.ticks[read.offsets[:-1]].tolist() == [0, 3, 6, 0]
    assert_same_batch(joined(read), LONG)


def test_any_iterable_of_batches(tmp_path: Path) -> None:
    write_shards(tmp_path, (LONG[n : n + 1] for n in range(2)), info=DatasetInfo(group="g"))
    assert_same_batch(read_shards(tmp_path), LONG)
    assert ShardReader(tmp_path).manifest.info.group == "g"
    with pytest.raises(SchemaError, match="at least one batch is needed"):
        write_shards(tmp_path / "none", [])
    assert not (tmp_path / "none").exists()


def test_a_dataset_is_not_overwritten(tmp_path: Path) -> None:
    write_shards(tmp_path, LONG)
    with pytest.raises(ArtifactError, match="holds a dataset already; `append` goes on with it"):
        write_shards(tmp_path, LONG)
    write_shards(tmp_path, LONG, append=True, compression="zstd")
    assert_same_batch(read_shards(tmp_path), TrajectoryBatch.concatenate([LONG, LONG]))
