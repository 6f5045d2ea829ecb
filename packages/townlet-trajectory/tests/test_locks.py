"""One writer for a directory, who removes what a killed one left. Races, killed holders, forks: `test_faults_locks`."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from townlet_trajectory import ArtifactError
from townlet_trajectory.storage import files
from townlet_trajectory.storage.locks import DirectoryLock, is_locked, remove_tree, temporary_name


def test_one_writer_per_directory(tmp_path: Path) -> None:
    with DirectoryLock(tmp_path):
        with pytest.raises(ArtifactError, match="another writer holds this directory") as caught:
            DirectoryLock(tmp_path).__enter__()
        assert caught.value.path == tmp_path
        other = (
            "import sys; from townlet_trajectory.storage.locks import DirectoryLock; "
            "DirectoryLock(sys.argv[1]).__enter__()"
        )
        result = subprocess.run(
            [sys.executable, "-c", other, str(tmp_path)], capture_output=True, text=True, check=False
        )
        assert result.returncode == 1
        assert "another writer holds this directory" in result.stderr
        assert list(tmp_path.iterdir()) == []
    with DirectoryLock(tmp_path):
        pass


def test_a_lock_needs_a_directory(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ArtifactError, match="pipe: lock: Not a directory"):
        DirectoryLock(tmp_path / "pipe").__enter__()
    with pytest.raises(ArtifactError, match="lock: No such file"):
        DirectoryLock(tmp_path / "missing").__enter__()


def test_what_the_system_says_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(ArtifactError, match="lock: No locks available"):
        DirectoryLock(tmp_path).__enter__()


def test_a_lock_is_released_once(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    lock.release()
    with lock:
        lock.release()
        with DirectoryLock(tmp_path):
            lock.release()
            with pytest.raises(ArtifactError, match="another writer"):
                DirectoryLock(tmp_path).__enter__()


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


def test_asking_whether_a_directory_is_locked_changes_nothing(tmp_path: Path) -> None:
    left = tmp_path / f".f.{'0' * 16}.tmp"
    left.write_bytes(b"half")
    assert not is_locked(tmp_path)
    with DirectoryLock(tmp_path):
        assert is_locked(tmp_path)
        left.write_bytes(b"half")
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)
    assert list(tmp_path.iterdir()) == [left]
    with pytest.raises(ArtifactError, match="missing: lock: No such file"):
        is_locked(tmp_path / "missing")
