"""Catalogues as they are read: typed, and with no path that leaves the data root."""

import json
from pathlib import Path

import pytest

from townlet_trajectory.errors import ArtifactError, CaptureError
from townlet_trajectory.formats.captures.manifest import (
    SampleChecksum,
    catalogue_entry,
    read_catalogue,
    read_checksums,
)
from townlet_trajectory.storage.json import JsonValue

CATALOGUE = Path(__file__).parent / "data" / "catalogue"
VERSIONS = CATALOGUE / "data" / "bc_datasets" / "versions.json"
NAME = "idle_v1_production"


def entry_document() -> dict[str, JsonValue]:
    value = read_catalogue(VERSIONS)[NAME]
    assert isinstance(value, dict)
    return value


def test_the_catalogue_of_the_original() -> None:
    assert [*read_catalogue(VERSIONS)] == [NAME]
    entry = catalogue_entry(VERSIONS, NAME, entry_document())
    assert entry.manifest == "data/bc_datasets/manifests/idle_v1.json"
    assert entry.captures_dir == "data/bc_datasets/captures/idle_v1"
    assert (entry.tags, entry.state) == (("idle", "baseline", "production"), "active")
    assert entry.samples == read_checksums(CATALOGUE, entry.checksums, origin=VERSIONS)
    assert entry.samples["idle_bob"] == SampleChecksum(
        sample="data/bc_datasets/captures/idle_v1/idle_bob.npz",
        meta="data/bc_datasets/captures/idle_v1/idle_bob.json",
        sha256="fe8de3731087901ada060d7b9e1a650ae22f36272ff99eb8d3acc97e229b5758",
    )


def test_what_may_be_left_out() -> None:
    entry = catalogue_entry("v.json", "x", {"manifest": "m.json", "checksums": "c.json", "captures_dir": "x"})
    assert (entry.tags, entry.state, entry.samples) == ((), "", {})


@pytest.mark.parametrize("name", ["manifest", "checksums", "captures_dir"])
@pytest.mark.parametrize("path", ["/etc/passwd", "../other", "a/../../b", "", "a//b", "C:/x", "a\\b"])
def test_paths_stay_below_the_data_root(name: str, path: str) -> None:
    with pytest.raises(ArtifactError, match="idle_v1_production: path: a path must"):
        catalogue_entry(VERSIONS, NAME, {**entry_document(), name: path})


@pytest.mark.parametrize("file", ["/etc/passwd", "../other.npz"])
def test_paths_of_samples_too(file: str, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(json.dumps({"alice": {"sample": file, "meta": "a.json", "sha256": "0"}}))
    with pytest.raises(ArtifactError, match="alice: path: a path must"):
        read_checksums(tmp_path, "c.json", origin=tmp_path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (["a"], "expected an object"),
        ({"checksums": "c", "captures_dir": "d"}, "`manifest` must be a string"),
        ({"manifest": 3, "checksums": "c", "captures_dir": "d"}, "`manifest` must be a string"),
        ({"manifest": "m", "checksums": "c", "captures_dir": "d", "tags": "idle"}, "`tags` must be a list"),
        ({"manifest": "m", "checksums": "c", "captures_dir": "d", "samples": {"a": {}}}, "`sample` must be a string"),
    ],
)
def test_entries_are_checked(value: JsonValue, message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        catalogue_entry("v.json", "x", value)
