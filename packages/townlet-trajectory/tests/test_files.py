"""Old or new, never half: an error or a crash at every call of the file module."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from faulty_os import FaultyOS, Killed, inject, temporaries

from townlet_trajectory import ArtifactError
from townlet_trajectory.storage import files, system
from townlet_trajectory.storage.json import canonical_json

Case = tuple[str, Callable[[Path], None], Callable[[Path], bytes | None], bytes | None, bytes]


def read_file(folder: Path) -> bytes | None:
    path = folder / "f"
    return path.read_bytes() if path.exists() else None


def read_folder(folder: Path) -> bytes | None:
    path = folder / "d"
    return b"|".join(sorted(item.read_bytes() for item in path.iterdir())) if path.exists() else None


CASES: list[Case] = [
    ("replace", lambda at: files.write_bytes_atomic(at / "f", b"new" * 9), read_file, b"old\n", b"new" * 9),
    ("create", lambda at: files.write_bytes_atomic(at / "f", b"new"), read_file, None, b"new"),
    ("json", lambda at: files.write_json_atomic(at / "f", {"a": 1}), read_file, b"old\n", b'{\n  "a": 1\n}\n'),
    (
        "directory",
        lambda at: files.write_directory_atomic(at / "d", {"x": b"1", "y": b"22"}),
        read_folder,
        None,
        b"1|22",
    ),
    ("append", lambda at: files.append_line(at / "f", "new"), read_file, b"old\n", b"old\nnew\n"),
    ("cut", lambda at: files.append_line(at / "f", "new"), read_file, b"old\npart", b"old\nnew\n"),
]


def prepare(folder: Path, old: bytes | None) -> None:
    folder.mkdir()
    if old is not None:
        (folder / "f").write_bytes(old)


def count_calls(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    _, write, read, old, new = case
    prepare(folder, old)
    with monkeypatch.context() as patch:
        counting = inject(patch, at=10**9, error=errno.EIO)
        write(folder)
    assert read(folder) == new
    assert temporaries(folder) == []
    return counting.count


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EACCES])
@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_error_at_every_call(case: Case, error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, write, read, old, new = case
    num_calls = count_calls(case, tmp_path / "count", monkeypatch)
    assert num_calls >= 4
    for at in range(1, num_calls + 1):
        for ever_after in (False, True):
            folder = tmp_path / f"{at}-{ever_after}"
            prepare(folder, old)
            with monkeypatch.context() as patch:
                inject(patch, at, error=error, ever_after=ever_after)
                with pytest.raises(ArtifactError, match=os.strerror(error)):
                    write(folder)
            assert read(folder) in (old, new) or (name == "cut" and read(folder) == b"old\n")
            assert temporaries(folder) == []


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_killed_at_every_call(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, write, read, old, new = case
    num_calls = count_calls(case, tmp_path / "count", monkeypatch)
    for at in range(1, num_calls + 1):
        folder = tmp_path / str(at)
        prepare(folder, old)
        with monkeypatch.context() as patch:
            inject(patch, at, error=None)
            with pytest.raises(Killed):
                write(folder)
        assert read(folder) in (old, new) or (name == "cut" and read(folder) == b"old\n")
        with files.DirectoryLock(folder):
            assert temporaries(folder) == []  # the next writer cleans up
        if read(folder) != new:
            write(folder)
            assert read(folder) == new


def test_a_disk_that_fills_up_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system writes three bytes at a time, and at last none."""
    room = 7

    def write(descriptor: int, data: memoryview) -> int:
        nonlocal room
        if room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = os.write(descriptor, data[: min(3, room)])
        room -= written
        return written

    full = FaultyOS(10**9, error=errno.EIO, ever_after=False)
    full.write = write
    (tmp_path / "f").write_bytes(b"old\n")
    monkeypatch.setattr(files, "os", full)
    for act in (files.append_line, lambda path, line: files.write_bytes_atomic(path, line.encode())):
        room = 7
        with pytest.raises(ArtifactError, match="No space left"):
            act(tmp_path / "f", "0123456789")
        assert (tmp_path / "f").read_bytes() == b"old\n"
        assert temporaries(tmp_path) == []
    room = 100
    files.append_line(tmp_path / "f", "0123456789")
    assert (tmp_path / "f").read_bytes() == b"old\n0123456789\n"


def test_a_line_that_was_cut_is_kept_aside(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b'{"a":1}\n' + b"x" * 100_000)
    assert files.read_json_lines(log) == [{"a": 1}]
    files.append_json_line(log, {"b": 2})
    assert log.read_bytes() == b'{"a":1}\n{"b":2}\n'
    assert (tmp_path / "log.partial").read_bytes() == b"x" * 100_000 + b"\n"
    assert files.read_json_lines(log) == [{"a": 1}, {"b": 2}]


def test_a_log_that_is_only_a_partial_line(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"abc")
    files.append_line(tmp_path / "log", "1")
    assert (tmp_path / "log").read_bytes() == b"1\n"
    assert (tmp_path / "log.partial").read_bytes() == b"abc\n"


def test_a_bad_terminated_line_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"1\nNaN\n2")
    with pytest.raises(ArtifactError, match="log:2: parse: not JSON: NaN"):
        files.read_json_lines(tmp_path / "log")


@pytest.mark.parametrize("write", [files.write_json_atomic, files.append_json_line])
def test_no_nan_reaches_a_file(write: Callable[[Path, float], None], tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="encode"):
        write(tmp_path / "f", float("nan"))
    assert list(tmp_path.iterdir()) == []


def test_a_line_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="line feed"):
        files.append_line(tmp_path / "log", "a\nb")


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"target")
    (tmp_path / "log").symlink_to(tmp_path / "target")
    with pytest.raises(ArtifactError, match="append"):
        files.append_line(tmp_path / "log", "x")
    assert (tmp_path / "target").read_bytes() == b"target"


def test_a_pipe_or_a_folder_is_no_log(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(ArtifactError) as caught:
            files.append_line(path, "x")
        assert caught.value.stage == "append"
        with pytest.raises(ArtifactError):
            files.read_json_lines(path)


def test_directories(tmp_path: Path) -> None:
    files.make_directory(tmp_path / "a" / "b")
    files.write_directory_atomic(tmp_path / "a" / "b" / "d", {"x": b"1"})
    with pytest.raises(ArtifactError, match="exists already"):
        files.write_directory_atomic(tmp_path / "a" / "b" / "d", {"x": b"2"})
    assert (tmp_path / "a" / "b" / "d" / "x").read_bytes() == b"1"
    with pytest.raises(ArtifactError, match="expected a file name, got 'x/y'"):
        files.write_directory_atomic(tmp_path / "e", {"x/y": b"2"})
    files.remove_directory(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ArtifactError, match="remove: No such file"):
        files.remove_directory(tmp_path / "a")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ArtifactError, match="write"):
        files.make_directory(tmp_path / "file" / "x")


def test_new_folders_survive_a_power_cut_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is an entry of its parent, which must be synced."""
    logging = LoggingOS()
    logging.watch(monkeypatch)
    files.make_directory(tmp_path / "a" / "b")
    assert logging.log == [path.stat().st_ino for path in (tmp_path / "a", tmp_path)]
    files.make_directory(tmp_path / "a" / "b")
    assert len(logging.log) == 2


def test_a_long_cut_line_is_kept_aside_in_linear_time(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"1\n" + b"x" * (32 << 20))
    files.append_line(log, "2")
    assert log.read_bytes() == b"1\n2\n"
    assert (tmp_path / "log.partial").stat().st_size == (32 << 20) + 1


def test_json_lines_are_canonical(tmp_path: Path) -> None:
    files.append_json_line(tmp_path / "log", {"b": 1, "a": 2})
    assert (tmp_path / "log").read_bytes() == canonical_json({"a": 2, "b": 1}) + b"\n"


class LoggingOS(FaultyOS):
    """The os module; notes what is synced and renamed, in order."""

    def __init__(self) -> None:
        super().__init__(10**9, error=errno.EIO, ever_after=False)
        self.log: list[str | int] = []

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (files, system):
            monkeypatch.setattr(module, "os", self)

    def fsync(self, descriptor: int) -> None:
        self.log.append(os.fstat(descriptor).st_ino)

    def replace(self, source: Path, target: Path) -> None:
        self.log.append("rename")
        os.replace(source, target)

    rename = replace


def test_content_is_synced_before_the_rename_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a power cut leaves an empty file, or the old one after the call has returned."""
    folder = tmp_path.stat().st_ino
    for write, synced in (
        (lambda: files.write_bytes_atomic(tmp_path / "f", b"x"), ["f"]),
        (lambda: files.write_directory_atomic(tmp_path / "d", {"x": b"1", "y": b"2"}), ["d/x", "d/y", "d"]),
    ):
        logging = LoggingOS()
        with monkeypatch.context() as patch:
            logging.watch(patch)
            write()
        assert logging.log == [*((tmp_path / name).stat().st_ino for name in synced), "rename", folder]
    logging = LoggingOS()
    logging.watch(monkeypatch)
    files.append_line(tmp_path / "log", "x")
    assert logging.log == [(tmp_path / "log").stat().st_ino, folder]
    files.append_line(tmp_path / "log", "y")
    assert logging.log[2:] == [(tmp_path / "log").stat().st_ino]


def test_a_filled_directory_appears_when_the_block_ends(tmp_path: Path) -> None:
    with files.filled_directory(tmp_path / "new") as folder:
        (folder / "below").mkdir()
        (folder / "below" / "a").write_text("x")
        assert not (tmp_path / "new").exists()
    assert (tmp_path / "new" / "below" / "a").read_text() == "x"
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, ArtifactError("x", "read", "y")])
def test_nothing_is_left_of_a_directory_after_an_exception(
    error: BaseException | type[BaseException], tmp_path: Path
) -> None:
    kind = error if isinstance(error, type) else type(error)

    def fail(folder: Path) -> None:
        (folder / "a").write_text("x")
        raise error

    with pytest.raises(kind), files.filled_directory(tmp_path / "new") as folder:
        fail(folder)
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "new").symlink_to("nowhere")
    with pytest.raises(ArtifactError, match="new: write: exists already"), files.filled_directory(tmp_path / "new"):
        pytest.fail("the block must not run")
    assert (tmp_path / "new").is_symlink()


def test_what_came_into_being_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    def interfere() -> None:
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "theirs").write_text("x")

    with pytest.raises(ArtifactError, match="new: write: "), files.filled_directory(tmp_path / "new"):
        interfere()
    assert (tmp_path / "new" / "theirs").read_text() == "x"
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("call", ["mkdir", "fsync", "rename"])
def test_errors_of_the_system_while_filling(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, fail)
    with (
        pytest.raises(ArtifactError, match="new: write: No space left on device"),
        files.filled_directory(tmp_path / "new"),
    ):
        pass
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_everything_is_synced_before_it_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    sync, rename = os.fsync, os.rename

    def noted_sync(descriptor: int) -> None:
        calls.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name if os.path.isdir("/proc/self/fd") else "?")
        sync(descriptor)

    def noted_rename(old: str, new: str) -> None:
        calls.append("rename")
        rename(old, new)

    with files.filled_directory(tmp_path / "new") as folder:
        (folder / "below").mkdir()
        (folder / "below" / "a").write_text("x")
        (folder / "b").write_text("x")
        monkeypatch.setattr(os, "fsync", noted_sync)
        monkeypatch.setattr(os, "rename", noted_rename)
    assert len(calls) == 6
    assert calls.index("rename") == 4
    if "?" not in calls:
        assert calls == ["a", "below", "b", folder.name, "rename", tmp_path.name]
