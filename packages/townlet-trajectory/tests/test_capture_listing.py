"""A manifest for a folder of samples: the one that the catalogue has."""

import json
import shutil
from pathlib import Path

import pytest

from townlet_trajectory.errors import ArtifactError
from townlet_trajectory.formats.captures.directory import read_captures
from townlet_trajectory.formats.captures.manifest import list_captures
from townlet_trajectory.storage.files import write_json_atomic

CATALOGUE = Path(__file__).parent / "data" / "catalogue"
CAPTURES = CATALOGUE / "data" / "bc_datasets" / "captures" / "idle_v1"


def test_the_manifest_of_the_catalogue_is_made_again() -> None:
    entries = list_captures(CAPTURES, relative_to=CATALOGUE)
    assert entries == json.loads((CATALOGUE / "data" / "bc_datasets" / "manifests" / "idle_v1.json").read_text())


@pytest.mark.parametrize(
    ("limits", "accepted"),
    [
        ({}, True),
        ({"min_length": 200}, True),
        ({"min_length": 201}, False),
        ({"min_return": -41.0}, True),
        ({"min_return": -39.0}, False),
    ],
)
def test_what_is_accepted(limits: dict[str, float], accepted: bool) -> None:
    entries = list_captures(CAPTURES, relative_to=CAPTURES, **limits)
    assert [(entry["sample"], entry["accepted"]) for entry in entries] == [
        ("idle_alice.npz", accepted),
        ("idle_bob.npz", accepted),
    ]


def test_what_is_listed_can_be_read(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(CAPTURES, tmp_path / "captures"))
    write_json_atomic(tmp_path / "manifest.json", [*list_captures(folder, relative_to=tmp_path)])
    assert [len(sample) for sample in read_captures(tmp_path / "manifest.json").samples] == [200, 200]


def test_a_sample_without_its_description_is_an_error(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(CAPTURES, tmp_path / "captures"))
    (folder / "idle_bob.json").unlink()
    with pytest.raises(ArtifactError, match=r"open: idle_bob\.json is not below"):
        list_captures(folder, relative_to=tmp_path)


def test_the_folder_is_below_what_paths_are_relative_to(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="expected a folder at or below"):
        list_captures(CAPTURES, relative_to=tmp_path)
    with pytest.raises(ArtifactError, match="nowhere: open"):
        list_captures(tmp_path / "nowhere", relative_to=tmp_path)
