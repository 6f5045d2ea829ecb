"""A dataset that several writers write at the same time, each a part of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from strategies import SCHEMA, assert_same_batch, make_trajectory

from townlet_trajectory import (
    ArtifactError,
    EpisodeLabel,
    SchemaError,
    ShardReader,
    ShardWriter,
    TrajectoryBatch,
    read_shards,
    save_batch,
    write_shards,
)
from townlet_trajectory.audit.dataset import audit_dataset
from townlet_trajectory.audit.report import Severity
from townlet_trajectory.dataset.filter import TrajectoryFilter
from townlet_trajectory.dataset.info import DatasetInfo
from townlet_trajectory.formats.convert import convert
from townlet_trajectory.formats.label import label_dataset
from townlet_trajectory.formats.open import format_of, open_dataset
from townlet_trajectory.formats.shards.parts import check_part_name, digest_of_parts, joined_info
from townlet_trajectory.formats.shards.reader import PartsReader, open_shards


def batch_of(seed: int, *, world: int = 0) -> TrajectoryBatch:
    return TrajectoryBatch.from_trajectories(
        [make_trajectory(seed + n, 3 + n, agent_id=f"agent-{n}", world=world, terminated=True) for n in range(2)]
    )


def write_part(folder: Path, name: str, seed: int, **options: object) -> None:
    write_shards(folder, batch_of(seed), rows_per_shard=4, writer=name, info=DatasetInfo(**options))


def break_off(place: str | Path, name: str) -> None:
    """Write some of a part, and fail."""
    with ShardWriter(place, SCHEMA, rows_per_shard=4, writer=name) as writer:
        writer.write(batch_of(2))
        raise RuntimeError


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_order_is_that_of_the_names(tmp_path: Path) -> None:
    for folder, order in ((tmp_path / "a", "123"), (tmp_path / "b", "312")):
        for number in order:
            write_part(folder, f"worker-{number}", int(number))
    first, second = open_shards(tmp_path / "a"), open_shards(tmp_path / "b")
    assert first.fingerprint == second.fingerprint
    assert_same_batch(read_shards(tmp_path / "a"), read_shards(tmp_path / "b"))
    assert isinstance(first, PartsReader) and [*first.parts] == ["worker-1", "worker-2", "worker-3"]
    # Three writers had a world 0 each; these are three worlds.
    assert first.table.worlds.tolist() == [0, 0, 1, 1, 2, 2]
    assert [first.load_block(block).worlds.tolist() for block in range(6)] == [[0], [0], [1], [1], [2], [2]]
    assert (first.table.agent_ids.tolist(), first.num_steps) == (["agent-0", "agent-1"] * 3, 3 * 7)
    assert first.decision_column(5, "action").tolist() == batch_of(3).columns["action"][3:].tolist()


def test_the_digest_follows_from_those_of_the_parts(tmp_path: Path) -> None:
    """Written out by hand: SHA-256 of `{"parts":{"a":...,"b":...}}`, keys sorted, no spaces."""
    import hashlib

    text = '{"parts":{"a":"11","b":"22"}}'
    assert digest_of_parts({"b": "22", "a": "11"}) == hashlib.sha256(text.encode()).hexdigest()
    write_part(tmp_path, "a", 1)
    before = open_shards(tmp_path).fingerprint
    write_part(tmp_path, "b", 2)
    assert open_shards(tmp_path).fingerprint != before


def test_a_part_is_there_when_its_manifest_is(tmp_path: Path) -> None:
    write_part(tmp_path, "a", 1)
    with ShardWriter(tmp_path, SCHEMA, rows_per_shard=4, writer="b") as writer:
        writer.write(batch_of(2))
        writer.flush()
        assert files_in(tmp_path / "parts" / "b")[0] == "begun.json"
        assert len(files_in(tmp_path / "parts" / "b")) == 5  # the claim, and two shards of two files
        with pytest.warns(UserWarning, match=r"1 of its parts have no manifest and are not read: b;"):
            with open_dataset(tmp_path) as opened:
                assert len(opened.source.table) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with open_dataset(tmp_path) as opened:
            assert len(opened.source.table) == 4


def test_a_name_is_given_once(tmp_path: Path) -> None:
    write_part(tmp_path, "a", 1)
    with pytest.raises(ArtifactError, match="`a` is taken, it is complete"):
        write_part(tmp_path, "a", 2)
    with ShardWriter(tmp_path, SCHEMA, writer="b"):
        with pytest.raises(ArtifactError, match="`b` is taken, it is being written, or was broken off"):
            write_part(tmp_path, "b", 2)


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    write_part(tmp_path, "a", 1)
    with pytest.raises(RuntimeError):
        break_off(tmp_path, "b")
    assert files_in(tmp_path / "parts" / "b") == []
    write_part(tmp_path, "b", 2)
    assert len(read_shards(tmp_path)) == 4


KILLED = """
import os, sys
from townlet_trajectory import ShardWriter, load_batch
batch = load_batch(sys.argv[2])
with ShardWriter(sys.argv[1], batch.schema, rows_per_shard=4, writer="killed") as writer:
    writer.write(batch)
    os._exit(9)
"""


def test_a_killed_writer_is_named(tmp_path: Path) -> None:
    file, tmp_path = tmp_path / "batch.npz", tmp_path / "town"
    write_part(tmp_path, "a", 1)
    save_batch(file, batch_of(2))
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(file)]
    assert subprocess.run(command, check=False).returncode == 9
    source = open_shards(tmp_path)
    assert source.unfinished == ("killed",) and len(source.table) == 2
    with pytest.warns(UserWarning, match="1 of its parts have no manifest and are not read: killed;"):
        found = {(f.severity, f.code, f.entry) for f in audit_dataset(tmp_path).findings}
    assert (Severity.WARN, "unfinished-part", "parts/killed") in found
    assert Severity.FAIL not in {severity for severity, _, _ in found}


def test_nothing_but_broken_parts_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "parts" / "a").mkdir(parents=True)
    assert format_of(tmp_path) == "shards"
    with pytest.raises(ArtifactError, match=r"complete parts, and of a none is"):
        open_shards(tmp_path)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", ".hidden", "end.", "-a", "ä", "a" * 101])
def test_what_is_no_name_of_a_part(name: str, tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="must be the name of a part"):
        write_part(tmp_path, name, 1)
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("name", ["a", "worker-03", "a.b_c", "a" * 100])
def test_names_of_parts(name: str) -> None:
    check_part_name(name)


def test_one_writer_and_parts_do_not_mix(tmp_path: Path) -> None:
    write_shards(tmp_path / "one", batch_of(1))
    with pytest.raises(ArtifactError, match=r"a dataset of a single writer \(manifest.json\)"):
        write_part(tmp_path / "one", "a", 1)
    assert not (tmp_path / "one" / "parts").exists()
    write_part(tmp_path / "many", "a", 1)
    with pytest.raises(ArtifactError, match=r"a dataset in parts \(a\)"):
        write_shards(tmp_path / "many", batch_of(1))
    with pytest.raises(ArtifactError, match="`append` is for"):
        write_shards(tmp_path / "many", batch_of(1), writer="b", append=True)


def test_parts_of_other_schemas_or_groups(tmp_path: Path) -> None:
    write_part(tmp_path, "a", 1)
    write_part(tmp_path, "b", 1, group="others")
    with pytest.raises(SchemaError, match=r"one group of agents, got \['agents', 'others'\]"):
        open_shards(tmp_path)


def test_where_parts_come_from() -> None:
    first = DatasetInfo(tags=("day", "town"), seeds={"world": 1, "all": 5}, notes={"ticks": 9, "on": 1})
    second = DatasetInfo(tags=("town",), seeds={"world": 2, "all": 5}, notes={"ticks": 9, "on": True})
    both = joined_info({"a": first, "b": second})
    assert (both.tags, both.notes) == (("town",), {"ticks": 9})
    assert both.seeds == {"all": 5, "a/world": 1, "b/world": 2}


def test_a_part_is_a_dataset_itself(tmp_path: Path) -> None:
    write_part(tmp_path, "a", 1)
    assert_same_batch(read_shards(tmp_path / "parts" / "a"), read_shards(tmp_path))
    shutil.move(tmp_path / "parts" / "a", tmp_path / "alone")
    assert len(ShardReader(tmp_path / "alone").table) == 2


def test_labels_in_place_are_those_of_each_part(tmp_path: Path) -> None:
    for name in "ab":
        write_part(tmp_path, name, 1)
    result = label_dataset(tmp_path, EpisodeLabel.SUCCESS, TrajectoryFilter(worlds=frozenset({1})))
    assert (result.total, result.labelled) == (4, 2)
    assert read_shards(tmp_path).episode_labels.tolist() == [0, 0, 1, 1]
    labels = json.loads((tmp_path / "parts" / "b" / "manifest.json").read_bytes())["shards"][0]["labels"]
    assert labels == {"success": [0]}


def test_parts_are_converted_and_audited(tmp_path: Path) -> None:
    for name in "ab":
        write_part(tmp_path / "in", name, 1)
    done = convert(tmp_path / "in", tmp_path / "out", to="shards")
    assert (done.num_trajectories, done.num_steps) == (4, 14)
    assert_same_batch(read_shards(tmp_path / "out"), read_shards(tmp_path / "in"))
    (tmp_path / "in" / "notes.txt").write_text("mine")
    (tmp_path / "in" / "parts" / "b" / "old.arrow").write_text("mine")
    failed = [f.entry for f in audit_dataset(tmp_path / "in").findings if f.severity is Severity.FAIL]
    assert failed == ["notes.txt", "parts/b/old.arrow"]


def test_a_damaged_part_is_an_error(tmp_path: Path) -> None:
    for name in "ab":
        write_part(tmp_path, name, 1)
    manifest = tmp_path / "parts" / "b" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"lz4"', b'"zstd"'))
    with pytest.raises(ArtifactError, match="`sha256` must be"):
        open_shards(tmp_path)
