"""Never two writers: of many that want a directory one gets it, and whoever ends gives it back, however it ends."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from townlet_trajectory import ArtifactError
from townlet_trajectory.storage.files import DirectoryLock


def test_one_thread_of_many(tmp_path: Path) -> None:
    for _ in range(50):
        barrier, over, won = threading.Barrier(4), threading.Barrier(4), []

        def race(
            number: int, barrier: threading.Barrier = barrier, over: threading.Barrier = over, won: list = won
        ) -> None:
            barrier.wait()
            try:
                with DirectoryLock(tmp_path):
                    won.append(number)
                    over.wait()
            except ArtifactError:
                over.wait()

        threads = [threading.Thread(target=race, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1


def test_a_killed_holder_gives_the_lock_back(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        DirectoryLock(tmp_path).__enter__()
        os.write(writing, b"!")
        signal.pause()
    assert os.read(reading, 1) == b"!"
    with pytest.raises(ArtifactError, match="another writer"):
        DirectoryLock(tmp_path).__enter__()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with DirectoryLock(tmp_path):
        pass


def test_a_forked_child_does_not_go_on_holding_the_lock(tmp_path: Path) -> None:
    with DirectoryLock(tmp_path):
        pid = os.fork()
        if pid == 0:
            signal.pause()
        with pytest.raises(ArtifactError, match="another writer"):
            DirectoryLock(tmp_path).__enter__()
    try:
        with DirectoryLock(tmp_path):
            pass
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_forked_child_cannot_give_the_lock_of_its_parent_back(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    with lock:
        pid = os.fork()
        if pid == 0:
            lock.release()
            os._exit(0)
        os.waitpid(pid, 0)
        with pytest.raises(ArtifactError, match="another writer"):
            DirectoryLock(tmp_path).__enter__()


def test_a_lock_that_could_not_clean_up_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f".f.{'0' * 16}.tmp").write_bytes(b"half")
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", _refuse)
        with pytest.raises(ArtifactError, match="clean: Permission denied"):
            DirectoryLock(tmp_path).__enter__()
    with DirectoryLock(tmp_path):
        assert list(tmp_path.iterdir()) == []


def _refuse(path: Path) -> None:
    raise PermissionError(13, "Permission denied")
