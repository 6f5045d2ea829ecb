"""Writing shards while recording."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import (
    SCHEMA,
    Said,
    any_batches,
    assert_identical_batch,
    assert_same_batch,
    make_trajectory,
    record_labelled_lives,
    record_lives,
    what_is_said,
)

from townlet_trajectory import (
    ArraySpec,
    ArtifactError,
    EpisodeLabel,
    LabelSink,
    OrderError,
    SchemaError,
    TrajectoryBatch,
    TrajectorySchema,
    TrajectoryService,
)
from townlet_trajectory.data.batch import BatchSink
from townlet_trajectory.data.labels import WhichEpisode
from townlet_trajectory.data.pieces import joined
from townlet_trajectory.dataset.info import DatasetInfo, DatasetManifest, parse_dataset_manifest
from townlet_trajectory.formats.shards.reader import ShardReader, read_shards
from townlet_trajectory.formats.shards.writer import ShardWriter, write_shards
from townlet_trajectory.storage.files import write_bytes_atomic


def batch_of(*lengths: int, seed: int = 0) -> TrajectoryBatch:
    return TrajectoryBatch.from_trajectories(
        [make_trajectory(seed + n, length, agent_id=f"{seed}.{n}") for n, length in enumerate(lengths)]
    )


def on_disk(folder: Path) -> list[list[int]]:
    """The lengths of the trajectories of each shard that the manifest lists."""
    manifest = parse_dataset_manifest((folder / "manifest.json").read_bytes(), folder)
    read = iter(read_shards(folder).lengths.tolist())
    return [[next(read) for _ in range(shard.num_trajectories)] for shard in manifest.shards]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_shard_is_written_as_soon_as_it_is_full(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, SCHEMA, rows_per_shard=5) as writer:
        sink: BatchSink = writer
        assert on_disk(tmp_path) == []
        sink.write(batch_of(2))
        assert on_disk(tmp_path) == []
        sink.write(batch_of(2, 3))  # the 3 do not fit
        assert on_disk(tmp_path) == [[2, 2]]
        sink.write(batch_of(2))
        assert on_disk(tmp_path) == [[2, 2], [3, 2]]
        sink.write(batch_of(1, 12, 4))
        assert on_disk(tmp_path) == [[2, 2], [3, 2], [1], [5], [5], [2]]
        assert writer.manifest.num_steps == 22
    assert on_disk(tmp_path) == [[2, 2], [3, 2], [1], [5], [5], [2], [4]]


@given(st.lists(st.lists(st.integers(1, 6), max_size=3), max_size=2), st.integers(3, 7))
def test_order_is_kept_and_shards_are_filled(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[list[int]], rows_per_shard: int
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    batches = [
        batch_of(*part, seed=10 * n) if part else TrajectoryBatch.empty(SCHEMA) for n, part in enumerate(lengths)
    ]
    pieces = [
        min(rows_per_shard, length - first)
        for part in lengths
        for length in part
        for first in range(0, length, rows_per_shard)
    ]
    expected: list[list[int]] = []
    for piece in pieces:
        if not expected or sum(expected[-1]) + piece > rows_per_shard:
            expected.append([])
        expected[-1].append(piece)
    with ShardWriter(folder, SCHEMA, rows_per_shard=rows_per_shard) as writer:
        for batch in batches:
            writer.write(batch)
    assert on_disk(folder) == expected


def test_flush_and_close(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, SCHEMA)
    writer.flush()
    writer.write(batch_of(3))
    writer.flush()
    assert on_disk(tmp_path) == [[3]]
    writer.write(batch_of(1))
    manifest = writer.close()
    assert (manifest, writer.close()) == (writer.manifest, manifest)
    assert on_disk(tmp_path) == [[3], [1]]
    for call in (writer.flush, lambda: writer.write(batch_of(1))):
        with pytest.raises(OrderError, match="the writer is closed"):
            call()


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, SCHEMA), pytest.raises(ArtifactError, match="another writer holds this directory"):
        ShardWriter(tmp_path, SCHEMA, append=True)
    ShardWriter(tmp_path, SCHEMA, append=True).close()


def test_append(tmp_path: Path) -> None:
    info = DatasetInfo(group="a")
    write_shards(tmp_path, batch_of(3), info=info)
    with ShardWriter(tmp_path, SCHEMA, append=True, compression="none") as writer:
        writer.write(batch_of(2, seed=5))
    assert on_disk(tmp_path) == [[3], [2]]
    assert (writer.manifest.info, writer.manifest.compression) == (info, "none")
    ShardWriter(tmp_path, SCHEMA, append=True, info=DatasetInfo(group="b")).close()
    assert_same_batch(read_shards(tmp_path), TrajectoryBatch.concatenate([batch_of(3), batch_of(2, seed=5)]))
    other = TrajectorySchema(
        observations=SCHEMA.observations, decisions={"action": ArraySpec("int64")}, vocabulary=SCHEMA.vocabulary
    )
    with pytest.raises(SchemaError, match="decision `behavior_log_prob` differs"):
        ShardWriter(tmp_path, other, append=True)
    ShardWriter(tmp_path, SCHEMA, append=True).close()  # the failed one has let the directory go


def test_names_that_later_rows_contradict_are_dropped(tmp_path: Path) -> None:
    named, other = (replace(SCHEMA, veto_reasons=("action_mask", reason)) for reason in ("rivalry", "curfew"))
    write_shards(tmp_path, replace(batch_of(2), schema=named))
    write_shards(tmp_path, replace(batch_of(3), schema=named), append=True)
    assert ShardReader(tmp_path).schema.veto_reasons == ("action_mask", "rivalry")
    write_shards(tmp_path, replace(batch_of(4), schema=other), append=True)
    assert ShardReader(tmp_path).schema.veto_reasons == ()
    assert read_shards(tmp_path).num_steps == 9


def test_a_later_minor_version_is_not_gone_on_with(tmp_path: Path) -> None:
    write_shards(tmp_path, batch_of(3))
    manifest = parse_dataset_manifest((tmp_path / "manifest.json").read_bytes(), tmp_path)
    later = DatasetManifest(schema=SCHEMA, shards=manifest.shards, schema_version=(1, 1)).encode()
    (tmp_path / "manifest.json").write_bytes(later)
    assert on_disk(tmp_path) == [[3]]
    with pytest.raises(ArtifactError, match=r"version \(1, 1\) is read, but only \(1, 0\) gone on with"):
        ShardWriter(tmp_path, SCHEMA, append=True)
    assert (tmp_path / "manifest.json").read_bytes() == later


def test_what_a_crash_left_is_removed(tmp_path: Path) -> None:
    write_shards(tmp_path, batch_of(3))
    for name in ("steps-000001.arrow", "steps-000002.arrow", "trajectories-000002.arrow", ".x.0123456789abcdef.tmp"):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / "notes.arrow").write_bytes(b"mine")
    assert on_disk(tmp_path) == [[3]]
    with ShardWriter(tmp_path, SCHEMA, append=True) as writer:
        kept = ["manifest.json", "notes.arrow", "steps-000000.arrow", "trajectories-000000.arrow"]
        assert names(tmp_path) == kept
        writer.write(batch_of(2))
    assert on_disk(tmp_path) == [[3], [2]]


def test_shards_without_a_manifest_are_left_alone(tmp_path: Path) -> None:
    write_shards(tmp_path, batch_of(3))
    (tmp_path / "manifest.json").unlink()
    for append in (True, False):
        with pytest.raises(ArtifactError, match=r"holds shards without a manifest: \['steps-000000.arrow', 'traj"):
            ShardWriter(tmp_path, SCHEMA, append=append)
    assert names(tmp_path) == ["steps-000000.arrow", "trajectories-000000.arrow"]


def test_other_arguments(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="`compression` must be one of"):
        ShardWriter(tmp_path / "d", SCHEMA, compression="gzip")
    with pytest.raises(SchemaError, match="at least one row"):
        ShardWriter(tmp_path / "d", SCHEMA, rows_per_shard=0)
    assert not (tmp_path / "d").exists()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ArtifactError, match="file: write"):
        ShardWriter(tmp_path / "file", SCHEMA)


def test_batches_that_are_refused_are_not_taken(tmp_path: Path) -> None:
    other = TrajectorySchema(observations=SCHEMA.observations, decisions=SCHEMA.decisions, vocabulary=("a", "b", "c"))
    with ShardWriter(tmp_path, SCHEMA) as writer:
        with pytest.raises(SchemaError, match="vocabularies differ"):
            writer.write(TrajectoryBatch.empty(other))
        with pytest.raises(SchemaError, match="Arrow holds Unicode text"):
            writer.write(TrajectoryBatch.from_trajectories([make_trajectory(1, 2, agent_id="\ud800")]))
        writer.write(batch_of(2))
    assert on_disk(tmp_path) == [[2]]


class Failing:
    """Stands for `write_bytes_atomic`, and fails at one call: before the file is there, or after."""

    def __init__(self, call: int, *, after: bool = False) -> None:
        self.call, self.after, self.number = call, after, 0

    def __call__(self, path: Path, data: bytes) -> None:
        self.number += 1
        fails = self.number == self.call
        if not fails or self.after:
            write_bytes_atomic(path, data)
        if fails:
            raise ArtifactError(path, "write", "No space left on device")


PATCHED = "townlet_trajectory.storage.folders.write_bytes_atomic"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("call", range(1, 6))
def test_a_failed_write_takes_nothing(call: int, after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Calls: the two files of two shards, then the manifest. `after`: the file is there, but its folder is not synced.
    first, second = batch_of(2, 1), batch_of(3, 4, seed=5)
    writer = ShardWriter(tmp_path, SCHEMA, rows_per_shard=5)
    writer.write(first)
    with monkeypatch.context() as patch:
        patch.setattr(PATCHED, Failing(call, after=after))
        with pytest.raises(ArtifactError, match="No space left on device"):
            writer.write(second)
    read_shards(tmp_path)  # whatever the manifest lists is there
    if call < 5:
        assert names(tmp_path) == ["manifest.json"]
    writer.write(second)
    writer.close()
    assert on_disk(tmp_path) == [[2, 1], [3], [4]]
    assert_same_batch(read_shards(tmp_path), TrajectoryBatch.concatenate([first, second]))
    ShardWriter(tmp_path, SCHEMA, append=True).close()
    assert len(names(tmp_path)) == 1 + 2 * 3


def test_close_can_be_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = ShardWriter(tmp_path, SCHEMA)
    writer.write(batch_of(2))
    with monkeypatch.context() as patch:
        patch.setattr(PATCHED, Failing(1))
        with pytest.raises(ArtifactError, match="No space left"):
            writer.close()
    writer.close()
    assert on_disk(tmp_path) == [[2]]


def test_an_exception_inside_keeps_what_was_written(tmp_path: Path) -> None:
    def record() -> None:
        with ShardWriter(tmp_path, SCHEMA, rows_per_shard=5) as writer:
            writer.write(batch_of(5, 2))
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        record()
    assert on_disk(tmp_path) == [[5], [2]]
    ShardWriter(tmp_path, SCHEMA, append=True).close()


def test_an_exception_inside_is_not_hidden_by_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def record() -> None:
        with ShardWriter(tmp_path, SCHEMA) as writer:
            writer.write(batch_of(2))
            monkeypatch.setattr(PATCHED, Failing(1))
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        record()
    assert "not yet in a shard are lost" in caught.value.__notes__[0]
    assert "No space left on device" in caught.value.__notes__[0]
    monkeypatch.undo()
    ShardWriter(tmp_path, SCHEMA, append=True).close()


def test_a_full_disk_at_the_end_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def record() -> None:
        with ShardWriter(tmp_path, SCHEMA) as writer:
            writer.write(batch_of(2))
            monkeypatch.setattr(PATCHED, Failing(1))

    with pytest.raises(ArtifactError, match="No space left on device"):
        record()
    monkeypatch.undo()
    ShardWriter(tmp_path, SCHEMA, append=True).close()


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[2])
from strategies import SCHEMA, TrajectoryBatch, make_trajectory
from townlet_trajectory.storage.files import write_bytes_atomic
from townlet_trajectory.formats.shards.writer import ShardWriter
writer = ShardWriter(sys.argv[1], SCHEMA, rows_per_shard=4)
for seed in range(3):
    writer.write(TrajectoryBatch.from_trajectories([make_trajectory(seed, 3)]))
os.kill(os.getpid(), 9)
"""


def test_what_was_full_survives_a_kill(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(Path(__file__).parent)]
    assert subprocess.run(command, check=False).returncode == -9
    expected = TrajectoryBatch.from_trajectories([make_trajectory(0, 3), make_trajectory(1, 3)])
    assert_same_batch(read_shards(tmp_path), expected)
    write_shards(tmp_path, TrajectoryBatch.from_trajectories([make_trajectory(2, 3)]), append=True)
    assert on_disk(tmp_path) == [[3], [3], [3]]


def test_the_greatest_number_of_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("townlet_trajectory.dataset.info.MAX_SHARDS", 2)
    writer = ShardWriter(tmp_path, SCHEMA, rows_per_shard=2)
    with pytest.raises(SchemaError, match="a dataset has at most 2 shards: make them larger, `rows_per_shard`"):
        writer.write(batch_of(2, 2, 2))
    assert names(tmp_path) == ["manifest.json"]
    writer.write(batch_of(2, 2))
    writer.close()
    assert on_disk(tmp_path) == [[2], [2]]


def test_a_manifest_that_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="manifest.json: encode: at most 8388608 bytes are read, got"):
        ShardWriter(tmp_path, SCHEMA, info=DatasetInfo(notes={"x": "y" * (8 << 20)}))
    ShardWriter(tmp_path, SCHEMA).close()


LONG = TrajectoryBatch.from_trajectories(
    [make_trajectory(1, 7, agent_id="a", terminated=True), make_trajectory(2, 3, agent_id="b", truncated=True)]
)


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


def test_recording_into_shards(tmp_path: Path) -> None:
    whole = TrajectoryService(SCHEMA, max_rows=1000)
    record_lives(whole, 60, 7)
    expected = whole.collect()
    with ShardWriter(tmp_path / "data", SCHEMA, rows_per_shard=20) as writer:
        service = TrajectoryService(SCHEMA, max_rows=17, on_full="spill", spill=writer)
        record_lives(service, 60, 7)
        service.spill()
    assert writer.manifest.num_steps == service.spilled_rows == expected.num_steps
    assert len(writer.manifest.shards) > 2
    actual = joined(read_shards(tmp_path / "data"))
    by_beginning = (actual.ticks[actual.offsets[:-1]], actual.agent_ids.astype(str), actual.worlds)
    assert_same_batch(actual.select(np.lexsort(by_beginning)), expected)


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 20), st.integers(5, 30), st.integers(3, 30), what_is_said())
def test_what_is_said_of_an_episode_reaches_its_shards(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    num_ticks: int,
    max_rows: int,
    rows_per_shard: int,
    said: Said,
) -> None:
    """Wherever the rows are then: in the recorder, in the writer, or on disk, a long trajectory in pieces."""
    whole = TrajectoryService(SCHEMA, max_rows=1000)
    record_labelled_lives(whole, num_ticks, seed, said)
    expected = whole.collect()
    folder = tmp_path_factory.mktemp("labels") / "data"
    with ShardWriter(folder, SCHEMA, rows_per_shard=rows_per_shard) as writer:
        service = TrajectoryService(SCHEMA, max_rows=max_rows, on_full="spill", spill=writer)
        record_labelled_lives(service, num_ticks, seed, said)
        service.spill()
    actual = joined(read_shards(folder))
    by_beginning = (actual.ticks[actual.offsets[:-1]], actual.agent_ids.astype(str), actual.worlds)
    assert_same_batch(actual.select(np.lexsort(by_beginning)), expected)


def test_a_label_that_comes_when_the_shard_is_written_is_in_the_manifest(tmp_path: Path) -> None:
    lives = [("ann", 0, 0, True), ("ben", 0, 0, True), ("ann", 1, 3, True), ("ben", 1, 3, False)]
    batch = TrajectoryBatch.from_trajectories(
        [
            make_trajectory(n, 3, agent_id=agent_id, episode=episode, first_tick=tick, terminated=over)
            for n, (agent_id, episode, tick, over) in enumerate(lives)
        ]
    )
    with ShardWriter(tmp_path, SCHEMA, rows_per_shard=6) as writer:
        sink: LabelSink = writer
        sink.write(batch[:3])  # two are on disk, the third waits
        files = {name: (tmp_path / name).read_bytes() for name in names(tmp_path) if name.endswith(".arrow")}
        assert sink.label(EpisodeLabel.FAILURE, WhichEpisode(world=0, episode=0, ended=True))
        assert sink.label(EpisodeLabel.DISCARD, WhichEpisode(world=0, episode=0, agent_id="ben"))
        assert ShardReader(tmp_path).table.episode_labels.tolist() == [2, 3]  # at once, without a `flush`
        assert sink.label(EpisodeLabel.DISCARD, WhichEpisode(world=0, agent_id="ann", ended=True))
        sink.write(batch[3:])  # the second shard is full
        assert sink.label(EpisodeLabel.SUCCESS, WhichEpisode(world=0, agent_id="ben"))
        assert not sink.label(EpisodeLabel.SUCCESS, WhichEpisode(world=0, agent_id="eve"))
        assert not sink.label(EpisodeLabel.SUCCESS, WhichEpisode(world=0, episode=2))
    assert all((tmp_path / name).read_bytes() == data for name, data in files.items())
    assert read_shards(tmp_path).episode_labels.tolist() == [2, 3, 3, 1]
    assert ShardReader(tmp_path).table.episode_labels.tolist() == [2, 3, 3, 1]
    assert [shard.labels for shard in ShardReader(tmp_path).manifest.shards] == [
        {EpisodeLabel.FAILURE: (0,), EpisodeLabel.DISCARD: (1,)},
        {EpisodeLabel.SUCCESS: (1,)},  # that of ann is in the table
    ]
    with pytest.raises(OrderError, match="the writer is closed"):
        writer.label(EpisodeLabel.SUCCESS, WhichEpisode(world=0))


def test_what_another_run_wrote_is_not_labelled(tmp_path: Path) -> None:
    write_shards(tmp_path, LONG)
    with ShardWriter(tmp_path, SCHEMA, append=True) as writer:
        assert not writer.label(EpisodeLabel.DISCARD, WhichEpisode(world=0))
    assert not read_shards(tmp_path).episode_labels.any()


def test_a_label_that_cannot_be_written_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise ArtifactError(path, "write", "no space left")

    with ShardWriter(tmp_path, SCHEMA, rows_per_shard=4) as writer:
        writer.write(batch_of(4, 2))
        with monkeypatch.context() as patched:
            patched.setattr("townlet_trajectory.storage.folders.write_bytes_atomic", full)
            with pytest.raises(ArtifactError, match="no space left"):
                writer.label(EpisodeLabel.DISCARD, WhichEpisode(world=0))
    assert not read_shards(tmp_path).episode_labels.any()
