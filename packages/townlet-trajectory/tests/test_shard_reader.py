"""Reading shards."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_source import least_budget
from strategies import SCHEMA, any_batches, assert_identical_batch, assert_same_batch, make_trajectory

from townlet_trajectory import ManifestError, SchemaError, TrajectoryBatch
from townlet_trajectory.dataset.dataset import TrajectoryDataset
from townlet_trajectory.dataset.info import COMPRESSIONS, DatasetInfo
from townlet_trajectory.dataset.selection import StepSelection
from townlet_trajectory.dataset.source import TrajectorySource, table_of
from townlet_trajectory.errors import ArtifactError, DatasetError
from townlet_trajectory.formats.shards.reader import ShardReader, read_dataset_manifest, read_shards
from townlet_trajectory.formats.shards.writer import write_shards

BATCH = TrajectoryBatch.from_trajectories(
    [make_trajectory(n, length, agent_id=f"agent {n}", terminated=n == 1) for n, length in enumerate([3, 2, 4, 1])]
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three shards: [3, 2], [4, 1] and [3, 2] steps."""
    write_shards(tmp_path / "d", [BATCH, BATCH[:2]], rows_per_shard=5, info=DatasetInfo(tags=("demo",)))
    return tmp_path / "d"


@given(any_batches(), st.sampled_from(COMPRESSIONS), st.integers(7, 30))
def test_read_inverts_write(
    tmp_path_factory: pytest.TempPathFactory, batch: TrajectoryBatch, compression: str, rows_per_shard: int
) -> None:
    folder = tmp_path_factory.mktemp("shards")  # no trajectory is longer than a shard
    manifest = write_shards(folder, batch, compression=compression, rows_per_shard=rows_per_shard)
    assert_identical_batch(read_shards(folder), batch)
    assert (manifest.num_steps, manifest.num_trajectories) == (batch.num_steps, len(batch))
    assert all(shard.num_steps <= rows_per_shard for shard in manifest.shards)


def test_what_a_reader_knows_without_reading(folder: Path) -> None:
    reader: TrajectorySource = ShardReader(folder)
    assert reader.schema == SCHEMA
    np.testing.assert_array_equal(reader.block_offsets, [0, 2, 4, 6], strict=True)
    sizes = [
        sum((folder / f"{kind}-00000{number}.arrow").stat().st_size for kind in ("steps", "trajectories"))
        for number in range(3)
    ]
    np.testing.assert_array_equal(reader.encoded_bytes, sizes, strict=True)
    assert reader.fingerprint == json.loads((folder / "manifest.json").read_bytes())["sha256"]


def test_table_and_blocks(folder: Path) -> None:
    reader = ShardReader(folder)
    expected = table_of(TrajectoryBatch.concatenate([BATCH, BATCH[:2]]))
    table = reader.table
    assert table.agent_ids.tolist() == expected.agent_ids.tolist()
    for name in ("worlds", "episodes", "first_ticks", "lengths", "terminated", "truncated"):
        np.testing.assert_array_equal(getattr(table, name), getattr(expected, name), strict=True)
    assert table.tags == (frozenset({"demo"}),) * 6
    assert_same_batch(reader.load_block(0), BATCH[:2])
    assert_same_batch(reader.load_block(1), BATCH[2:])
    np.testing.assert_array_equal(
        reader.decision_column(1, "behavior_log_prob"), BATCH[2:].columns["behavior_log_prob"], strict=True
    )
    reader.verify()


def test_what_is_not_there(folder: Path) -> None:
    reader = ShardReader(folder)
    for block in (-1, 3):
        with pytest.raises(IndexError, match=f"block {block} of 3"):
            reader.load_block(block)
        with pytest.raises(IndexError, match=f"block {block} of 3"):
            reader.decision_column(block, "action")
    with pytest.raises(SchemaError, match="`map` is no decision column"):
        reader.decision_column(0, "map")
    with pytest.raises(ArtifactError, match="elsewhere/manifest.json: open: No such file"):
        ShardReader(folder / "elsewhere")


def test_an_empty_dataset(tmp_path: Path) -> None:
    write_shards(tmp_path, TrajectoryBatch.empty(SCHEMA))
    reader = ShardReader(tmp_path)
    assert (len(reader.table), reader.table.tags, reader.block_offsets.tolist()) == (0, (), [0])
    assert reader.encoded_bytes.shape == (0,)
    assert_identical_batch(read_shards(tmp_path), TrajectoryBatch.empty(SCHEMA))
    reader.verify()


def test_only_so_much_is_read_at_once(folder: Path) -> None:
    total = ShardReader(folder).num_bytes
    assert len(read_shards(folder, max_bytes=total)) == 6
    with pytest.raises(ManifestError, match=f"at most {total - 1} bytes are read, the dataset decodes to {total}"):
        read_shards(folder, max_bytes=total - 1)


@pytest.mark.parametrize("kind", ["steps", "trajectories"])
def test_damage_is_named(folder: Path, kind: str) -> None:
    path = folder / f"{kind}-000001.arrow"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    reader = ShardReader(folder)
    for read in (reader.verify, lambda: reader.load_block(1), lambda: read_shards(folder)):
        with pytest.raises(ManifestError, match=f"{kind}-000001.arrow: verify: expected SHA-256"):
            read()
    assert_same_batch(reader.load_block(0), BATCH[:2])


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "expected [0-9]+ bytes, got 0"), (b"\0" * 99_999, "at most [0-9]+ bytes are read")]
)
def test_other_lengths(folder: Path, content: bytes, reason: str) -> None:
    (folder / "steps-000002.arrow").write_bytes(content)
    with pytest.raises(ArtifactError, match=f"steps-000002.arrow: .*{reason}"):
        ShardReader(folder).decision_column(2, "action")


def test_missing_and_linked_files(folder: Path) -> None:
    path = folder / "trajectories-000000.arrow"
    path.rename(folder / "aside")
    with pytest.raises(ArtifactError, match="trajectories-000000.arrow: open: No such file"):
        len(ShardReader(folder).table)
    os.symlink(folder / "aside", path)
    with pytest.raises(ArtifactError, match="trajectories-000000.arrow: open"):
        ShardReader(folder).verify()


def test_two_shards_exchanged(folder: Path) -> None:
    first, third = folder / "steps-000000.arrow", folder / "steps-000001.arrow"
    content = first.read_bytes()
    first.write_bytes(third.read_bytes())
    third.write_bytes(content)
    with pytest.raises(ArtifactError, match="steps-000000.arrow"):
        ShardReader(folder).verify()


def test_a_reader_sees_the_dataset_as_it_was(folder: Path) -> None:
    reader = ShardReader(folder)
    write_shards(folder, BATCH, append=True)
    assert len(reader.table) == 6
    assert len(ShardReader(folder).table) == 10


def test_a_manifest_that_promises_too_much(folder: Path) -> None:
    manifest = read_dataset_manifest(folder)
    lying = replace(
        manifest,
        shards=tuple(replace(shard, num_steps=1 << 40, num_trajectories=1 << 40) for shard in manifest.shards),
    )
    (folder / "manifest.json").write_bytes(lying.encode())
    with pytest.raises(ArtifactError, match="expected 1099511627776 rows, got 2"):
        ShardReader(folder).load_block(0)


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
