"""Manifests: a JSON list, a JSON or YAML mapping, read before any sample is."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from townlet_trajectory import ArtifactError, CaptureError
from townlet_trajectory.formats.captures.directory import read_captures
from townlet_trajectory.formats.captures.manifest import (
    SampleChecksum,
    catalogue_entry,
    list_captures,
    read_capture_manifest,
    read_catalogue,
    read_checksums,
    sample_digest,
)
from townlet_trajectory.storage.files import write_json_atomic
from townlet_trajectory.storage.json import JsonValue

DATA = Path(__file__).parent / "data"
KITCHEN = DATA / "kitchen_capture"
CATALOGUE = DATA / "catalogue"
IDLE = CATALOGUE / "data" / "bc_datasets" / "manifests" / "idle_v1.json"


def test_the_manifest_of_a_capture_of_the_original() -> None:
    manifest = read_capture_manifest(KITCHEN / "rollout_sample_manifest.json")
    assert manifest.metadata["scenario_name"] == "kitchen_breakfast"
    assert manifest.metadata["policy_hash"] is None
    alice, bob = manifest.entries
    assert (alice.sample, alice.meta, alice.agent_id, alice.frame_count, alice.accepted) == (
        "rollout_sample_alice_001.npz",
        "rollout_sample_alice_001.json",
        "alice",
        40,
        True,
    )
    assert (bob.sha256, bob.metrics) == (None, None)
    assert len(bob.load()) == 40


def test_a_list_of_the_original_relative_to_the_data_root() -> None:
    manifest = read_capture_manifest(IDLE, data_root=CATALOGUE)
    assert manifest.metadata == {}
    alice, bob = manifest.accepted
    assert alice.metrics == {
        "timesteps": 200,
        "reward_sum": -40.00000059604645,
        "mean_reward": -0.20000000298023224,
        "done_count": 174,
    }
    samples = [entry.load() for entry in (alice, bob)]
    for sample, entry in zip(samples, (alice, bob), strict=True):
        assert (len(sample), sample.map.shape[1:], sample.vocabulary) == (200, (4, 11, 11), ('{"kind": "wait"}',))
        assert int(sample.dones.sum()) == entry.metrics["done_count"]
        assert sample.value_preds.shape == (201,)
        assert not np.may_share_memory(sample.map, sample.features)
    assert [sample.metadata["agent_id"] for sample in samples] == ["alice", "bob"]
    with pytest.raises(ArtifactError, match="idle_alice.npz is not below"):
        read_capture_manifest(IDLE).entries[0].load()


def test_digests_of_the_catalogue_are_of_both_files() -> None:
    checksums = json.loads((CATALOGUE / "data" / "bc_datasets" / "checksums" / "idle_v1.json").read_bytes())
    for entry in checksums.values():
        files = [(CATALOGUE / entry[name]).read_bytes() for name in ("sample", "meta")]
        assert sample_digest(*files) == hashlib.sha256(b"".join(files)).hexdigest() == entry["sha256"]


def test_what_is_not_accepted_is_listed_and_not_looked_for(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text('[{"sample": "missing.npz", "accepted": false}, "other.npz"]')
    manifest = read_capture_manifest(path)
    assert [entry.sample for entry in manifest.entries] == ["missing.npz", "other.npz"]
    assert [entry.meta for entry in manifest.accepted] == ["other.json"]
    with pytest.raises(ArtifactError, match="m.json: entry 1: open: other.npz is not below"):
        manifest.accepted[0].load()


@pytest.mark.parametrize("name", ["../x.npz", "/x.npz", "a//x.npz", "C:x.npz", "a\\x.npz"])
@pytest.mark.parametrize("key", ["sample", "meta"])
def test_paths_stay_below_their_roots(name: str, key: str, tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps([{"sample": "x.npz", key: name}]))
    with pytest.raises(ArtifactError, match="m.json: entry 0: path: a path must"):
        read_capture_manifest(path, data_root=tmp_path)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"sample": "x.npz", "metrics": [1]}, "`metrics` must be an object"),
        ({"sample": "x.npz", "sha256": 3}, "`sha256` must be a string"),
        ({"sample": "x.npz", "frame_count": "3"}, "`frame_count` must be an integer"),
        (None, "`sample` must be a string"),
    ],
)
def test_bad_entries_are_named(entry: object, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps(["a.npz", entry]))
    with pytest.raises(CaptureError, match=f"m.json: entry 1: parse: {reason}"):
        read_capture_manifest(path)


def test_a_name_says_whether_it_is_yaml(tmp_path: Path) -> None:
    for name in ("m.json", "m.txt", "m"):
        (tmp_path / name).write_text("- a.npz\n")
        with pytest.raises(ArtifactError, match="not JSON"):
            read_capture_manifest(tmp_path / name)


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
