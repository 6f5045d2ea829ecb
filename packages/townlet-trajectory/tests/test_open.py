"""Formats of other packages, found where they are registered; those of this package are tested in `test_convert`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from forms import write_form
from installed import install
from strategies import SCHEMA, assert_same_batch, make_trajectory

from townlet_trajectory import ArtifactError, SchemaError, TrajectoryBatch
from townlet_trajectory.dataset.info import DatasetInfo
from townlet_trajectory.dataset.memory import step_bytes
from townlet_trajectory.errors import RegistrationError
from townlet_trajectory.formats.batch_file import load_batch, save_batch
from townlet_trajectory.formats.convert import convert
from townlet_trajectory.formats.open import FORMATS, format_names, format_of, open_dataset, registered_format

MODULE = """
from contextlib import contextmanager
from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.dataset.info import DatasetInfo
from townlet_trajectory.dataset.source import BatchSource
from townlet_trajectory.formats.batch_file import load_batch, save_batch
from townlet_trajectory.formats.open import OpenDataset


class Folders:
    '''A folder with a batch and the name of the group.'''

    def recognizes(self, path):
        return (path / "group").is_file()

    @contextmanager
    def open(self, path):
        info = DatasetInfo(group=(path / "group").read_text())
        yield OpenDataset(source=BatchSource(load_batch(path / "batch.npz")), info=info)

    @contextmanager
    def sink(self, target, schema, info):
        class Sink:
            batches = []

            def write(self, batch):
                self.batches.append(batch)

        sink = Sink()
        yield sink
        target.mkdir()
        (target / "group").write_text(info.group)
        save_batch(target / "batch.npz", TrajectoryBatch.concatenate(sink.batches))


FOLDERS = Folders()
NUMBER = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_formats.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, {"townlet.formats": {"folders": "my_formats:FOLDERS"}})
    return tmp_path


def a_batch() -> TrajectoryBatch:
    return TrajectoryBatch.from_trajectories([make_trajectory(1, 3), make_trajectory(2, 2, agent_id="bob")])


def test_a_registered_format_is_written_recognized_and_opened(folder: Path) -> None:
    assert format_names() == (*FORMATS, "folders")
    batch, target = a_batch(), folder / "data"
    assert convert(batch, target, to="folders", info=DatasetInfo(group="villagers")).left_out == ()
    assert format_of(target) == "folders"
    with open_dataset(target) as opened:
        assert opened.info.group == "villagers" and opened.source.schema == SCHEMA
        assert convert(opened.source, folder / "again.npz", to="npz").num_steps == batch.num_steps
    assert_same_batch(load_batch(folder / "again.npz"), batch)
    assert convert(target, folder / "too.npz", to="npz").left_out == ("group",)


def test_what_is_no_format_is_named(folder: Path) -> None:
    install(folder, {"townlet.formats": {"three": "my_formats:NUMBER"}})
    with pytest.raises(RegistrationError, match=r"`three` of .*: expected a `DatasetFormat` \(recognizes, .*, got 3"):
        registered_format("three")
    with pytest.raises(RegistrationError, match="`four` of .*: expected a `DatasetFormat` .*, got none"):
        registered_format("four")
    with pytest.raises(SchemaError, match=r"`to` must be one of \('captures', .*'three'\), got 'four'"):
        convert(a_batch(), folder / "x", to="four")


def test_a_path_of_no_format_names_those_that_were_tried(folder: Path) -> None:
    with pytest.raises(ArtifactError, match="or a dataset of `folders`$"):
        format_of(folder / "nothing")


def test_a_format_cannot_take_the_place_of_one_of_this_package(folder: Path) -> None:
    install(folder, {"townlet.formats": {"npz": "my_formats:FOLDERS"}})
    assert format_names() == FORMATS
    assert convert(a_batch(), folder / "plain.npz", to="npz").target.is_file()


DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("suffix", [".npz", ".json"])
@pytest.mark.filterwarnings("ignore::townlet_trajectory.formats.captures.directory.UnnamedActionsWarning")
def test_a_sample_of_the_original_alone_is_a_dataset(suffix: str, tmp_path: Path) -> None:
    path = DATA / f"observation_hybrid_sample_conflict_low{suffix}"
    assert format_of(path) == "captures"
    with open_dataset(path) as opened:
        batch = opened.source.load_block(0)
    assert (batch.num_steps, batch.terminated.tolist(), batch.schema.vocabulary) == (1, [True], ("action_0",))
    shutil.copy(path.with_suffix(".npz"), tmp_path / "alone.npz")
    assert format_of(tmp_path / "alone.npz") == "npz"  # nothing says what is in it
    with (
        pytest.raises(ArtifactError, match="alone.npz: parse: not a townlet-batch"),
        open_dataset(tmp_path / "alone.npz"),
    ):
        pass


def test_a_batch_beside_another_file_of_its_name_stays_one(tmp_path: Path) -> None:
    save_batch(tmp_path / "a.npz", a_batch())
    for text in ("{}", "[1]", '{"samples": [], "feature_names": []}', "{"):
        (tmp_path / "a.json").write_text(text)
        assert format_of(tmp_path / "a.npz") == "npz"


@pytest.mark.filterwarnings("ignore::townlet_trajectory.formats.captures.source.LeftOutRowsWarning")
def test_a_folder_of_samples_without_a_manifest_is_a_dataset(tmp_path: Path) -> None:
    folder = DATA / "catalogue" / "data" / "bc_datasets" / "captures" / "idle_v1"
    assert format_of(folder) == "captures"
    with open_dataset(folder) as opened:
        table = opened.source.table
        assert opened.info.tags == ("bc_v1", "idle")
    assert (table.agent_ids.tolist(), table.lengths.tolist()) == (["alice", "bob"], [26, 56])
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "idle_bob.json").unlink()
    with pytest.raises(ArtifactError, match=r"idle_bob\.json is not below"), open_dataset(tmp_path / "copy"):
        pass


def test_a_capture_of_ours_that_was_broken_off_is_no_dataset(tmp_path: Path) -> None:
    manifest = write_form("captures", a_batch(), tmp_path) / "rollout_sample_manifest.json"
    assert format_of(manifest.parent) == "captures"
    manifest.unlink()
    with pytest.raises(ArtifactError, match="expected a batch"):
        format_of(manifest.parent)


def test_blocks_of_a_batch_in_a_file_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("townlet_trajectory.formats.open.BLOCK_BYTES", 3 * step_bytes(SCHEMA))
    save_batch(tmp_path / "a.npz", a_batch())
    with open_dataset(tmp_path / "a.npz") as opened:
        assert opened.source.block_offsets.tolist() == [0, 1, 2]
