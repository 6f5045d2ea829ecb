"""One writer for a directory. Races, killed holders and forked children: `test_faults_locks`."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from townlet_trajectory import ArtifactError
from townlet_trajectory.storage.locks import DirectoryLock


def test_one_writer_per_directory(tmp_path: Path) -> None:
    with DirectoryLock(tmp_path):
        with pytest.raises(ArtifactError, match="another writer holds this directory") as caught:
            DirectoryLock(tmp_path).__enter__()
        assert caught.value.path == tmp_path
        other = (
            "import sys; from townlet_trajectory.storage.files import DirectoryLock; "
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
