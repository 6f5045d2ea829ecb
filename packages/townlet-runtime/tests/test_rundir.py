import fcntl
import hashlib
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from report_samples import copy_run, edit

from townlet_runtime import rundir
from townlet_runtime.errors import PolicyFileError, RunDirectoryError
from townlet_runtime.rundir import default_run_dir, file_sha256, new_run_directory, read_run

HOLD = """
import sys, time
from pathlib import Path
from townlet_runtime.rundir import new_run_directory
with new_run_directory(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_default_name_has_time_mode_and_seed() -> None:
    path = default_run_dir(now=datetime(2026, 3, 4, 5, 6, 7), mode="anneal", seed=12)
    assert path == Path("runs/20260304-050607-anneal-12")


def test_a_new_directory_is_made_and_holds_nothing_extra(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    with new_run_directory(path):
        assert list(path.iterdir()) == []
    with new_run_directory(path):
        (path / "config.yaml").write_text("x")
    assert [file.name for file in path.iterdir()] == ["config.yaml"]


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
        pytest.raises(RunDirectoryError, match="cannot be made: Not a directory"),
        new_run_directory(tmp_path / "file" / "x"),
    ):
        pytest.fail("entered")


def test_what_is_no_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"found no summary.json"):
        read_run(tmp_path)


def finished(path: Path, **changes: object) -> Path:
    """The sample run with a policy file and `changes` to its summary."""
    copy_run(path)
    (path / "policy.onnx").write_bytes(b"a policy")
    edit(path / "summary.json", lambda summary: summary.update(changes))
    return path


def test_a_finished_run_is_read_and_its_policy_checked(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"a policy").hexdigest()
    run = read_run(finished(tmp_path / "run", policy_sha256=digest))
    assert run.summary.policy_sha256 == file_sha256(run.policy) == digest
    assert (run.config.name, run.policy.name) == ("config.yaml", "policy.onnx")


def test_a_run_without_a_policy_or_with_another_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="ended without a policy"):
        read_run(finished(tmp_path / "none", policy_sha256=None))
    with pytest.raises(PolicyFileError, match=rf"policy.onnx: expected the policy {'0' * 64} of summary.json"):
        read_run(finished(tmp_path / "other", policy_sha256="0" * 64))
