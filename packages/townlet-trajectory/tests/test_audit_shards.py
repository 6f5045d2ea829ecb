"""Directories of shards: audited, described, filtered, merged, split and laid out anew, as they are on disk."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from strategies import assert_same_batch, make_trajectory

from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.audit.dataset import audit_dataset
from townlet_trajectory.audit.describe import describe_dataset, text_of
from townlet_trajectory.audit.report import Severity
from townlet_trajectory.data.pieces import canonical, joined
from townlet_trajectory.dataset.curation import filter_dataset, merge_datasets, reshard, split_dataset
from townlet_trajectory.dataset.filter import TrajectoryFilter
from townlet_trajectory.dataset.info import DatasetInfo
from townlet_trajectory.formats.shards.reader import ShardReader, read_shards
from townlet_trajectory.formats.shards.writer import ShardWriter, write_shards

BATCH = TrajectoryBatch.from_trajectories(
    [make_trajectory(seed, 20 + seed, agent_id=f"agent {seed}", episode=seed % 4, terminated=True) for seed in range(9)]
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write_shards(tmp_path / "town", BATCH, info=DatasetInfo(tags=("idle",), seeds={"town": 7}), rows_per_shard=50)
    return tmp_path / "town"


def failures(directory: Path) -> list[tuple[str, str]]:
    return [(f.code, f.entry) for f in audit_dataset(directory).findings if f.severity is Severity.FAIL]


def test_a_sound_directory(directory: Path) -> None:
    report = audit_dataset(directory)
    (dataset,) = report.datasets
    assert failures(directory) == []
    assert (dataset.name, dataset.manifest) == ("town", str(directory / "manifest.json"))
    assert dataset.sample_count == len(read_shards(directory))
    assert {f.code: f.message for f in dataset.findings}["lengths"] == "9 of 20 to 28 steps, median 24"


@pytest.mark.parametrize("name", ["steps-000001.arrow", "trajectories-000001.arrow"])
def test_one_byte_changed(directory: Path, name: str) -> None:
    content = bytearray((directory / name).read_bytes())
    content[len(content) // 2] ^= 1
    (directory / name).write_bytes(bytes(content))
    assert failures(directory) == [("block", name)]


@pytest.mark.parametrize("name", ["steps-000001.arrow", "trajectories-000001.arrow"])
def test_one_file_missing(directory: Path, name: str) -> None:
    (directory / name).unlink()
    assert failures(directory) == [("block", name)]


def test_a_file_that_nothing_lists(directory: Path) -> None:
    (directory / "old").mkdir()
    shutil.copy(directory / "steps-000000.arrow", directory / "old")
    (directory / "notes.txt").write_text("mine")
    assert failures(directory) == [("unlisted-file", "notes.txt"), ("unlisted-file", "old/steps-000000.arrow")]


def test_what_a_killed_writer_leaves_is_no_failure(directory: Path) -> None:
    """The dataset is whole without it."""
    names = [f".steps-000078.arrow.{'0' * 16}.tmp", "steps-000077.arrow"]
    for name in names:
        (directory / name).write_bytes(b"half")
    assert failures(directory) == []
    warned = [f.entry for f in audit_dataset(directory).findings if f.code == "unfinished-file"]
    assert warned == names


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff"])
def test_a_manifest_that_is_none(directory: Path, content: bytes) -> None:
    path = directory / "manifest.json"
    path.write_bytes(content)
    assert failures(directory) == [("manifest", str(path))]
    assert audit_dataset(directory).datasets[0].sample_count == 0


def test_a_manifest_that_is_missing(directory: Path) -> None:
    (directory / "manifest.json").unlink()
    assert failures(directory) == [("manifest", str(directory))]


def test_it_is_described_with_what_it_says_of_itself(directory: Path) -> None:
    description = describe_dataset(directory)
    assert (description.name, len(description.lengths)) == ("town", 9)
    assert description.info == DatasetInfo(tags=("idle",), seeds={"town": 7})
    assert "  tags: idle\n  seeds: town 7\n" in text_of(description)


def test_split_and_merged_again(directory: Path, tmp_path: Path) -> None:
    source = ShardReader(directory)
    with ShardWriter(tmp_path / "a", source.schema) as train, ShardWriter(tmp_path / "b", source.schema) as held_out:
        split_dataset(source, train, held_out, fraction=0.5, seed=3)
    sides = [ShardReader(tmp_path / name) for name in ("a", "b")]
    assert not set(sides[0].table.episodes.tolist()) & set(sides[1].table.episodes.tolist())
    with ShardWriter(tmp_path / "all", source.schema, info=source.manifest.info) as sink:
        merge_datasets(sides, sink)
    assert_same_batch(canonical(joined(read_shards(tmp_path / "all"))), canonical(BATCH))
    assert ShardReader(tmp_path / "all").manifest.info.seeds == {"town": 7}


def test_laid_out_anew_in_another_compression(directory: Path, tmp_path: Path) -> None:
    source = ShardReader(directory)
    with ShardWriter(tmp_path / "new", source.schema, compression="zstd", rows_per_shard=1_000) as sink:
        assert reshard(source, sink) == 9
    assert len(source.manifest.shards) > 1
    assert len(ShardReader(tmp_path / "new").manifest.shards) == 1
    assert_same_batch(canonical(read_shards(tmp_path / "new")), canonical(BATCH))


def test_filtered_by_what_the_whole_of_each_is(directory: Path, tmp_path: Path) -> None:
    source = ShardReader(directory)
    with ShardWriter(tmp_path / "long", source.schema) as sink:
        condition = TrajectoryFilter(min_length=25, tags=frozenset({"idle"}))
        result = filter_dataset(source, sink, condition)
    assert (result.total, result.accepted, result.num_steps) == (9, 4, 25 + 26 + 27 + 28)
    long = joined(read_shards(tmp_path / "long"))
    np.testing.assert_array_equal(np.sort(long.lengths), [25, 26, 27, 28])
