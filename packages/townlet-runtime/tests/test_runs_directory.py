import fcntl
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from threading import Barrier

import pytest

from townlet_runtime.errors import RunDirectoryError
from townlet_runtime.runs import directory as rundir
from townlet_runtime.runs.directory import (
    default_run_dir,
    new_run_directory,
    policy_file,
    require_finished,
    require_free,
    require_resumable,
)

HOLD = """
import sys, time
from pathlib import Path
from threading import Barrier
from townlet_runtime.runs.directory import new_run_directory
with new_run_directory(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_default_name_has_time_mode_and_seed() -> None:
    path = default_run_dir(now=datetime(2026, 3, 4, 5, 6, 7), mode="anneal", seed=12)
    assert path == Path("runs/20260304-050607-anneal-12")


def test_a_new_directory_is_made_and_holds_nothing_extra(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    with new_run_directory(path) as claimed:
        assert claimed == path and list(path.iterdir()) == []
    with new_run_directory(path):
        (path / "config.yaml").write_text("x")
    assert [file.name for file in path.iterdir()] == ["config.yaml"]


def test_only_the_directory_of_a_run_that_nobody_holds_is_gone_on_with(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="expected the directory of a run, found no config.yaml in it"):
        require_resumable(tmp_path)
    with pytest.raises(RunDirectoryError, match="expected the directory of a run, found no directory"):
        require_resumable(tmp_path / "missing")
    (tmp_path / "config.yaml").touch()
    require_resumable(tmp_path)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(RunDirectoryError, match=r"in use by [^;]*$"):
            require_resumable(tmp_path)
    finally:
        os.close(descriptor)


def test_runs_of_one_second_get_numbers(tmp_path: Path) -> None:
    path, gate = tmp_path / "runs" / "20260304-050607-anneal-0", Barrier(3)

    def begin() -> str:
        gate.wait()
        with new_run_directory(path, numbered=True) as claimed:
            (claimed / "config.yaml").write_text("x")
        return claimed.name

    with ThreadPoolExecutor(3) as pool:
        names = {future.result() for future in [pool.submit(begin) for _ in range(3)]}
    assert names == {path.name, f"{path.name}-2", f"{path.name}-3"}


def test_where_nothing_was_written_no_directory_that_was_made_stays(tmp_path: Path) -> None:
    with new_run_directory(tmp_path / "runs" / "deeper" / "one", numbered=True):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_policy_of_a_group_has_its_name() -> None:
    groups = ("listener", "speaker")
    assert policy_file("listener", groups) == "policy-listener.onnx"
    assert policy_file("agents", ("agents",)) == "policy.onnx"
    assert policy_file("miners", ("miners",)) == "policy-miners.onnx"  # a lone group of another name


def test_a_directory_that_holds_something_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunDirectoryError, match=rf"{tmp_path}: exists and is not empty"), new_run_directory(tmp_path):
        pytest.fail("entered")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_directory_in_use_is_refused_and_its_holder_named(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        named = rf"process {holder.pid}" if sys.platform == "linux" else "another process"
        with pytest.raises(RunDirectoryError, match=rf"in use by {named}"), new_run_directory(tmp_path):
            pytest.fail("entered")
    finally:
        holder.communicate()
    with new_run_directory(tmp_path):
        pass


def test_where_the_system_does_not_say_who_the_holder_is_unnamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rundir, "_LOCKS", tmp_path / "absent")
    folder = tmp_path / "run"
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(RunDirectoryError, match="in use by another process"), new_run_directory(folder):
            pytest.fail("entered")
    finally:
        os.close(descriptor)


def test_a_place_where_nothing_can_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(RunDirectoryError, match=r"cannot be made: .*/file is no directory"),
        new_run_directory(tmp_path / "file" / "x"),
    ):
        pytest.fail("entered")


def test_nothing_is_touched_where_a_directory_is_refused(tmp_path: Path) -> None:
    left = tmp_path / f".config.yaml.{'0' * 16}.tmp"
    left.write_text("mine")
    with pytest.raises(RunDirectoryError, match="not empty"), new_run_directory(tmp_path):
        pytest.fail("entered")
    assert left.read_text() == "mine"


def test_where_the_first_file_cannot_be_written_no_directory_stays(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    theirs.mkdir()
    for path in (ours, theirs):
        with pytest.raises(OSError, match="full"), new_run_directory(path):
            raise OSError("full")
    assert not ours.exists()
    assert theirs.is_dir()


def test_a_place_can_be_refused_before_anything_is_made(tmp_path: Path) -> None:
    require_free(tmp_path / "a" / "b")
    require_free(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "a" / "b"):
        with pytest.raises(RunDirectoryError, match=rf"{path}: cannot be made: {tmp_path}/file is no directory"):
            require_free(path)


def test_a_place_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rundir.os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(RunDirectoryError, match=f"cannot be written to: no permission for {tmp_path}"):
        require_free(tmp_path / "run")


def test_only_a_directory_with_a_manifest_is_one_of_a_finished_run(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"absent: expected .* found no directory"):
        require_finished(tmp_path / "absent")
    with pytest.raises(RunDirectoryError, match=r"found no manifest\.json in it"):
        require_finished(tmp_path)
    (tmp_path / "manifest.json").write_text("")
    require_finished(tmp_path)
