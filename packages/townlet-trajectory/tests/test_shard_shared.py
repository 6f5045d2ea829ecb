"""A part that many processes write for one owner: shards from anywhere, a manifest from the owner alone."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from strategies import SCHEMA, assert_same_batch, make_trajectory
from test_shard_parts import batch_of, files_in, write_part

from townlet_trajectory import (
    ArraySpec,
    ArtifactError,
    DatasetInfo,
    EpisodeLabel,
    OrderError,
    PartOwner,
    PartsReader,
    PartWriter,
    SchemaError,
    ShardEntry,
    TrajectoryBatch,
    joined,
    read_shards,
    save_batch,
    write_shards,
)
from townlet_trajectory.dataset.filter import TrajectoryFilter
from townlet_trajectory.dataset.info import MAX_SHARDS, parse_shard
from townlet_trajectory.errors import ManifestError
from townlet_trajectory.formats.label import label_dataset
from townlet_trajectory.formats.shards.reader import open_shards
from townlet_trajectory.formats.shards.targets import require_nothing_there, shard_number
from townlet_trajectory.storage.folders import LocalFolder
from townlet_trajectory.storage.json import Fields

TOKEN = "of-this-run"
PART = "unit-0000"


def owner_of(folder: Path, *, token: str = TOKEN, part: str = PART) -> PartOwner:
    owner = PartOwner(folder, part, token=token, info=DatasetInfo(seeds={"run": 3}))
    owner.claim()
    return owner


def written(folder: Path, number: int, seed: int) -> ShardEntry:
    entry = PartWriter(folder, PART, token=TOKEN).write(number, batch_of(seed))
    assert entry is not None
    return entry


def recorded(folder: Path, numbers: range) -> PartOwner:
    """A part with a shard for each of `numbers`, of the rows of `batch_of(number)`."""
    owner = owner_of(folder)
    for number in numbers:
        owner.add(written(folder, number, number), SCHEMA)
    owner.list_shards()
    return owner


def test_what_was_listed_is_read_in_the_order_of_the_numbers(tmp_path: Path) -> None:
    recorded(tmp_path, range(3))
    assert files_in(tmp_path / "parts" / PART) == [
        "begun.json",
        "manifest.json",
        *(f"steps-00000{number}.arrow" for number in range(3)),
        *(f"trajectories-00000{number}.arrow" for number in range(3)),
    ]
    reader = open_shards(tmp_path)
    assert isinstance(reader, PartsReader) and reader.info.seeds == {"run": 3}
    # Trajectories of 3 and 4 steps in each of three batches.
    assert reader.num_steps == 3 * 7 and len(reader.block_offsets) == 4
    assert_same_batch(read_shards(tmp_path), TrajectoryBatch.concatenate([batch_of(number) for number in range(3)]))


WRITE = """
import json, sys
from townlet_trajectory import PartWriter, load_batch
entry = PartWriter(sys.argv[1], sys.argv[2], token=sys.argv[3]).write(int(sys.argv[4]), load_batch(sys.argv[5]))
print(json.dumps(entry.document()))
"""


def test_another_process_writes_the_same_bytes_and_its_entry_travels_as_json(tmp_path: Path) -> None:
    import json

    owner, file = owner_of(tmp_path / "elsewhere"), tmp_path / "batch.npz"
    save_batch(file, batch_of(5))
    words = [sys.executable, "-c", WRITE, str(tmp_path / "elsewhere"), PART, TOKEN, "0", str(file)]
    said = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    owner_of(tmp_path / "here")
    here = written(tmp_path / "here", 0, 5)
    assert parse_shard(Fields(said, "an answer"), "an answer") == here
    owner.add(here, SCHEMA)
    owner.list_shards()
    assert_same_batch(read_shards(tmp_path / "elsewhere"), batch_of(5))


def test_an_entry_that_is_none_is_refused() -> None:
    with pytest.raises(ManifestError, match="`number` must be an integer"):
        parse_shard(Fields({"number": "0", "files": {}}, "an answer", error=ManifestError), "an answer")


def test_a_shard_that_is_written_again_is_the_same(tmp_path: Path) -> None:
    recorded(tmp_path, range(2))
    before = {name: (tmp_path / "parts" / PART / name).read_bytes() for name in files_in(tmp_path / "parts" / PART)}
    assert written(tmp_path, 1, 1).steps.size == len(before["steps-000001.arrow"])
    after = {name: (tmp_path / "parts" / PART / name).read_bytes() for name in files_in(tmp_path / "parts" / PART)}
    assert after == before


def test_nothing_is_read_that_was_not_listed(tmp_path: Path) -> None:
    owner = owner_of(tmp_path)
    owner.add(written(tmp_path, 0, 1), SCHEMA)
    with pytest.raises(ArtifactError, match="complete parts, and of unit-0000 none is"):
        open_shards(tmp_path)
    owner.list_shards()
    owner.add(written(tmp_path, 1, 2), SCHEMA)
    assert_same_batch(read_shards(tmp_path), batch_of(1))


def test_a_batch_without_a_row_is_no_shard_and_an_empty_part_is_a_dataset(tmp_path: Path) -> None:
    owner = owner_of(tmp_path)
    entry = PartWriter(tmp_path, PART, token=TOKEN).write(0, TrajectoryBatch.empty(SCHEMA))
    assert entry is None
    owner.add(entry, SCHEMA)
    owner.list_shards()
    assert len(read_shards(tmp_path)) == 0
    owner.add(written(tmp_path, 1, 1), SCHEMA)
    owner.list_shards()
    assert_same_batch(read_shards(tmp_path), batch_of(1))


def test_pieces_of_a_trajectory_in_two_shards_are_one_again(tmp_path: Path) -> None:
    whole = make_trajectory(4, 9, agent_id="ann", terminated=True)
    first, second = (TrajectoryBatch.from_trajectories([piece]) for piece in (whole[:5], whole[5:]))
    owner, writer = owner_of(tmp_path), PartWriter(tmp_path, PART, token=TOKEN)
    for number, batch in enumerate((first, second)):
        owner.add(writer.write(number, batch), SCHEMA)
    owner.list_shards()
    assert read_shards(tmp_path).lengths.tolist() == [5, 4]
    assert_same_batch(joined(read_shards(tmp_path)), TrajectoryBatch.from_trajectories([whole]))


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_an_owner_that_comes_again_goes_back(number: int, tmp_path: Path) -> None:
    """The unbroken part is that of an owner that was broken off after shard 2 and comes again at any shard."""
    recorded(tmp_path / "whole", range(4)).finish()
    recorded(tmp_path / "broken", range(3)).close()
    folder = tmp_path / "broken" / "parts" / PART
    (folder / ".steps-000007.arrow.0123456789abcdef.tmp").write_bytes(b"half")
    (folder / "steps-000003.arrow").write_bytes(b"of a collection that nobody took")
    owner = owner_of(tmp_path / "broken")
    owner.go_back_to(number)
    assert open_shards(tmp_path / "broken").num_steps == 7 * number
    assert not (folder / "steps-000003.arrow").exists()
    for again in range(number, 4):
        owner.add(written(tmp_path / "broken", again, again), SCHEMA)
    owner.finish()
    for name in files_in(tmp_path / "whole"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert files_in(tmp_path / "broken") == files_in(tmp_path / "whole")


def test_finishing_removes_shards_that_were_not_taken(tmp_path: Path) -> None:
    owner = recorded(tmp_path, range(2))
    written(tmp_path, 2, 2)
    (tmp_path / "parts" / PART / "notes.txt").write_text("mine")
    owner.finish()
    assert [name for name in files_in(tmp_path) if "000002" in name] == []
    assert (tmp_path / "parts" / PART / "notes.txt").exists()


def test_going_back_to_shards_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"expected the shards before number 2, found no manifest.json"):
        owner_of(tmp_path).go_back_to(2)


@pytest.mark.parametrize(("size", "found"), [(None, "no such file"), (3, "a file of 3 bytes")])
def test_a_shard_that_is_elsewhere_is_named_and_the_manifest_stays(
    size: int | None, found: str, tmp_path: Path
) -> None:
    owner = recorded(tmp_path, range(1))
    owner.add(written(tmp_path, 1, 1), SCHEMA)
    file = tmp_path / "parts" / PART / "trajectories-000001.arrow"
    file.unlink() if size is None else file.write_bytes(b"x" * size)
    said = rf"trajectories-000001.arrow: verify: expected the \d+ bytes that its writer wrote, found {found}"
    with pytest.raises(ArtifactError, match=said + ".*name a URL or a directory that they share"):
        owner.list_shards()
    assert_same_batch(read_shards(tmp_path), batch_of(0))


def test_a_writer_that_does_not_see_the_claim_writes_nothing(tmp_path: Path) -> None:
    """As on another machine, whose disk is its own."""
    owner_of(tmp_path, token="of-another-run")
    for folder in (tmp_path, tmp_path / "another disk"):
        with pytest.raises(ArtifactError, match="the claim of `unit-0000` is not seen from here: where several"):
            written(folder, 0, 0)
    assert files_in(tmp_path) == [f"parts/{PART}/begun.json"]


def test_labels_are_refused_while_there_is_an_owner_and_kept_when_it_comes_again(tmp_path: Path) -> None:
    owner, everything = recorded(tmp_path, range(2)), TrajectoryFilter()
    with pytest.raises(ArtifactError, match="lock: another writer holds this directory"):
        label_dataset(tmp_path, EpisodeLabel.SUCCESS, everything)
    owner.close()
    assert label_dataset(tmp_path, EpisodeLabel.SUCCESS, everything).labelled == len(read_shards(tmp_path)) > 0
    again = owner_of(tmp_path)
    again.go_back_to(1)
    again.add(written(tmp_path, 1, 1), SCHEMA)
    again.finish()
    labels = read_shards(tmp_path).episode_labels
    assert (labels[: len(batch_of(0))] == EpisodeLabel.SUCCESS).all()
    assert (labels[len(batch_of(0)) :] == batch_of(1).episode_labels).all()


def test_a_part_is_of_one_owner(tmp_path: Path) -> None:
    first = owner_of(tmp_path)
    first.claim()  # of the same owner
    with pytest.raises(ArtifactError, match="another writer holds this directory"):
        owner_of(tmp_path)  # with the same token, while the first one has it
    first.close()
    owner_of(tmp_path)
    with pytest.raises(ArtifactError, match="`unit-0000` is taken, it is being written"):
        owner_of(tmp_path, token="of-another-run")
    write_shards(tmp_path / "one", batch_of(1))
    with pytest.raises(ArtifactError, match="a dataset of a single writer"):
        owner_of(tmp_path / "one")
    with pytest.raises(SchemaError, match="must be the name of a part"):
        owner_of(tmp_path, part="a/b")


def test_a_place_where_something_is(tmp_path: Path) -> None:
    require_nothing_there(LocalFolder(tmp_path / "missing"))
    write_shards(tmp_path / "one", batch_of(1))
    with pytest.raises(ArtifactError, match=r"one: write: holds a dataset of a single writer \(manifest.json\)"):
        require_nothing_there(LocalFolder(tmp_path / "one"))
    write_part(tmp_path / "many", "b", 1)
    owner_of(tmp_path / "many", part="a")
    with pytest.raises(ArtifactError, match=r"many: write: holds a dataset already, with parts \(a, b\)"):
        require_nothing_there(LocalFolder(tmp_path / "many"))


def test_numbers_ascend_and_schemas_are_alike(tmp_path: Path) -> None:
    owner = recorded(tmp_path, range(2))
    with pytest.raises(OrderError, match="expected a shard after number 1, got 1"):
        owner.add(written(tmp_path, 1, 1), SCHEMA)
    other = replace(SCHEMA, observations={"other": ArraySpec("float32")})
    with pytest.raises(SchemaError, match="observation"):
        owner.add(written(tmp_path, 2, 2), other)


def test_more_shards_than_a_manifest_lists_are_refused_and_what_was_listed_stays(tmp_path: Path) -> None:
    owner = recorded(tmp_path, range(1))
    entry = written(tmp_path, 1, 1)
    for number in range(1, MAX_SHARDS + 1):
        owner.add(replace(entry, number=number), SCHEMA)
    with pytest.raises(SchemaError, match=f"a dataset has at most {MAX_SHARDS} shards"):
        owner.list_shards()
    assert_same_batch(read_shards(tmp_path), batch_of(0))


def test_rows_that_are_too_many_for_a_shard_are_refused(tmp_path: Path) -> None:
    owner_of(tmp_path)
    wide = replace(SCHEMA, observations={"wide": ArraySpec("float32", (1 << 28,))})
    with pytest.raises(SchemaError, match="a shard has at least one row, and at most"):
        PartWriter(tmp_path, PART, token=TOKEN).write(0, TrajectoryBatch.empty(wide))


@pytest.mark.parametrize(
    ("name", "number"),
    [("steps-000012.arrow", 12), ("trajectories-123456789.arrow", 123_456_789), ("manifest.json", None)],
)
def test_numbers_of_files(name: str, number: int | None) -> None:
    assert shard_number(name) == number
