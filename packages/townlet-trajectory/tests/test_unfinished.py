"""Temporary files: named so that they fit beside any file, and removed only where they are ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from townlet_trajectory.storage import files
from townlet_trajectory.storage.locks import DirectoryLock
from townlet_trajectory.storage.unfinished import remove_tree, temporary_name


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127, "\U0001f600" * 63])
def test_a_long_name_still_has_room_for_the_temporary_one(name: str, tmp_path: Path) -> None:
    """A file name has at most 255 bytes, and a character up to four."""
    assert len(temporary_name(tmp_path / name).name.encode()) <= 255
    files.write_bytes_atomic(tmp_path / name, b"x")
    assert (tmp_path / name).read_bytes() == b"x"


def test_two_names_differ() -> None:
    assert temporary_name(Path("f")) != temporary_name(Path("f"))


def test_a_lock_removes_only_what_a_writer_left(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / f".f.{'0' * 16}.tmp").write_bytes(b"half")
    (tmp_path / f".d.{'a' * 16}.tmp").mkdir()
    (tmp_path / f".d.{'a' * 16}.tmp" / "x").write_bytes(b"half")
    (tmp_path / "mine.tmp").write_bytes(b"mine")
    with DirectoryLock(tmp_path):
        assert sorted(path.name for path in tmp_path.rglob("*")) == ["mine.tmp", "sub"]


def test_removing_a_tree_never_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *, ignore_errors: bool) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("shutil.rmtree", refuse)
    remove_tree(tmp_path)
    assert tmp_path.exists()
