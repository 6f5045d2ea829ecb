"""A directory with a manifest is read whole and right, or not at all."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import damaged

from townlet_trajectory import ArtifactError, ManifestError
from townlet_trajectory.storage.manifest import (
    MANIFEST_NAME,
    FileEntry,
    Manifest,
    manifest_of,
    parse_manifest,
    read_directory,
    write_directory,
)

FILES = {"weights": b"\0\1\2" * 50, "state.json": b"{}", "empty": b""}


@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9_.]{0,8}(/[a-z]{1,3})?", fullmatch=True), st.binary(max_size=9)))
def test_parse_inverts_encode(contents: dict[str, bytes]) -> None:
    manifest = manifest_of(contents)
    assert parse_manifest(manifest.encode(), "m") == manifest


def test_digests_by_hand() -> None:
    manifest = manifest_of({"a": b"abc"})
    digest = hashlib.sha256(b"abc").hexdigest()
    assert manifest.files == {"a": FileEntry(sha256=digest, size=3)}
    text = f'{{"files":{{"a":{{"sha256":"{digest}","size":3}}}},"format":"townlet-manifest","version":1}}'
    assert manifest.sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_save_then_load(tmp_path: Path) -> None:
    write_directory(tmp_path / "d", FILES)
    assert read_directory(tmp_path / "d") == FILES
    with pytest.raises(ArtifactError, match="exists already"):
        write_directory(tmp_path / "d", FILES)
    with pytest.raises(ManifestError, match="is written by the manifest itself"):
        write_directory(tmp_path / "e", {MANIFEST_NAME: b""})


def test_total_size_is_bounded(tmp_path: Path) -> None:
    write_directory(tmp_path / "d", FILES)
    assert read_directory(tmp_path / "d", max_bytes=152) == FILES
    with pytest.raises(ManifestError, match="at most 151 bytes are read, the manifest lists 152"):
        read_directory(tmp_path / "d", max_bytes=151)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"\0\1\3" * 50, "expected SHA-256"), (b"\0", "expected 150 bytes, got 1"), (b"\0" * 151, "at most 150 bytes")],
)
def test_changed_files(content: bytes, reason: str, tmp_path: Path) -> None:
    write_directory(tmp_path / "d", FILES)
    (tmp_path / "d" / "weights").write_bytes(content)
    with pytest.raises(ArtifactError, match=reason):
        read_directory(tmp_path / "d")


def test_missing_files(tmp_path: Path) -> None:
    write_directory(tmp_path / "d", FILES)
    (tmp_path / "d" / "empty").unlink()
    with pytest.raises(ArtifactError, match="empty: open: No such file"):
        read_directory(tmp_path / "d")
    with pytest.raises(ArtifactError, match="missing"):
        read_directory(tmp_path / "missing")


def test_a_link_in_place_of_a_file(tmp_path: Path) -> None:
    write_directory(tmp_path / "d", FILES)
    (tmp_path / "same").write_bytes(FILES["weights"])
    (tmp_path / "d" / "weights").unlink()
    (tmp_path / "d" / "weights").symlink_to(tmp_path / "same")
    with pytest.raises(ArtifactError, match="weights: open"):
        read_directory(tmp_path / "d")


def test_a_changed_list_is_refused() -> None:
    document = json.loads(manifest_of(FILES).encode())
    del document["files"]["empty"]
    with pytest.raises(ManifestError, match="`sha256` must be"):
        parse_manifest(json.dumps(document).encode(), "m")


def test_paths_stay_below_the_directory() -> None:
    for name in ("../x", "/x", "a\\b"):
        manifest = Manifest(files={name: FileEntry(sha256="0" * 64, size=1)})
        with pytest.raises(ArtifactError, match="path"):
            parse_manifest(manifest.encode(), "m")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": "other"}, "not a townlet-manifest"),
        ({"extra": 1}, "not a townlet-manifest"),
        ({"version": 2}, "version must be 1, got 2"),
        ({"files": []}, "`files` must be an object"),
        ({"files": {str(n): {} for n in range(4097)}}, "at most 4096 files"),
        ({"files": {"a": 1}}, "expected `sha256` and `size`, got 1"),
        ({"files": {"a": {"sha256": "0", "size": -1}}}, "expected a digest and a size"),
        ({"files": {"a": {"sha256": "0", "size": True}}}, "expected a digest and a size"),
        ({"files": {"a": {"sha256": 0, "size": 1}}}, "expected a digest and a size"),
    ],
)
def test_other_forms(changes: dict[str, object], reason: str) -> None:
    document = {**json.loads(manifest_of(FILES).encode()), **changes}
    with pytest.raises(ManifestError, match=reason):
        parse_manifest(json.dumps(document).encode(), "m")


def test_a_damaged_manifest_is_never_read_as_another() -> None:
    manifest = manifest_of(FILES)
    data, rng = manifest.encode(), np.random.default_rng(5)
    for _ in range(1500):
        try:
            read = parse_manifest(damaged(data, rng), "m")
        except ArtifactError:
            continue
        assert read == manifest
