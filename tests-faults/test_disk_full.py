"""T4: the disk is full, at any byte: a typed error, the old content, nothing left behind."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from fault_operations import Operation
from faulty_os import temporaries
from isolation import isolated
from ledger import Begin
from operations import OPERATIONS

from townlet_trajectory import ArtifactError
from townlet_trajectory.storage import files

OLD = b"old\n" * 7500
KILOBYTE = 1000
SIZES = range(0, 201 * KILOBYTE, KILOBYTE)
IMAGE_BYTES = 4 << 20


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    """A disk of 128 kB."""
    yield from _mounted(tmp_path / "tmpfs", ["-t", "tmpfs", "-o", "size=128k", "tmpfs"])


@pytest.fixture
def ext4(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB with blocks of 1 kB, in a file."""
    image = tmp_path / "image"
    image.write_bytes(bytes(IMAGE_BYTES))
    subprocess.run(["mkfs.ext4", "-q", "-b", "1024", "-m", "0", "-O", "^has_journal", str(image)], check=True)
    yield from _mounted(tmp_path / "ext4", ["-o", "loop", str(image)])


def _mounted(place: Path, arguments: list[str]) -> Iterator[Path]:
    place.mkdir()
    subprocess.run(["mount", *arguments, str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def _outcome(place: Path, size: int, write: Callable[[bytes], None]) -> str:
    """Write `size` bytes over the old ones: `new` or `refused`, or what is wrong."""
    path, data = place / "f", b"n" * size
    path.write_bytes(OLD)
    try:
        write(data)
        expected, outcome = data, "new"
    except ArtifactError:
        expected, outcome = OLD, "refused"
    found = path.read_bytes()
    if found != expected or temporaries(place):
        return f"{outcome}, but found {len(found)} bytes and {temporaries(place)}"
    path.unlink()
    return outcome


def test_a_small_disk(tmpfs: Path, begin: Begin) -> None:
    tally = begin("T4", "tmpfs of 128 kB, 0 to 200 kB")
    for size in SIZES:
        outcome = _outcome(tmpfs, size, lambda data: files.write_bytes_atomic(tmpfs / "f", data))
        tally.check(outcome in ("new", "refused"), outcome, f"{size}: {outcome}")
    tally.close()
    assert tally.outcomes["refused"] > 50 and tally.outcomes["new"] > 50


def test_a_limit_of_the_size_of_files(memory_folder: Path, begin: Begin) -> None:
    """RLIMIT_FSIZE, with the signal ignored: the write ends in its middle."""
    tally = begin("T4", "RLIMIT_FSIZE of 128 kB, 0 to 200 kB")

    def limited(data: bytes) -> None:
        def act() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (128 * 1024, 128 * 1024))
            files.write_bytes_atomic(memory_folder / "f", data)

        done = isolated(act)
        if done.kind == "refused":
            raise ArtifactError(memory_folder, "write", done.text)
        assert done.kind == "returned", done

    for size in SIZES:
        outcome = _outcome(memory_folder, size, limited)
        tally.check(outcome in ("new", "refused"), outcome, f"{size}: {outcome}")
    tally.close()


@pytest.mark.parametrize("operation", OPERATIONS, ids=[operation.name for operation in OPERATIONS])
def test_a_disk_with_little_room(
    operation: Operation, ext4: Path, memory_folder: Path, begin: Begin, scaled: Callable[[int], int]
) -> None:
    """Everything that is written, with any number of free blocks left, until there are enough."""
    tally = begin("T4", f"ext4, {operation.name}")
    operation.prepare(memory_folder)
    old = operation.state(memory_folder)
    operation.act(memory_folder)
    new = operation.state(memory_folder)
    for free in range(0, 200, max(1, 200 // scaled(200))):
        place = ext4 / "place"
        place.mkdir()
        operation.prepare(place)
        _fill(ext4, free_blocks=free)
        try:
            operation.act(place)
            outcome = "written"
        except ArtifactError:
            outcome = "refused"
        (ext4 / "filler").unlink()
        state = operation.state(place)
        sound = state == new if outcome == "written" else operation.allowed(state, old, new)
        sound = sound and (operation.removes or not temporaries(place))
        tally.check(sound, outcome, f"{free} blocks: {outcome}, found {state} and {temporaries(place)}")
        shutil.rmtree(place)
        if tally.outcomes["written"] > 5:
            break
    tally.close()


def _fill(disk: Path, *, free_blocks: int) -> None:
    """Leave about so many blocks free."""
    with open(disk / "filler", "wb", buffering=0) as filler:
        for piece in (bytes(1 << 16), bytes(1 << 10)):
            with suppress(OSError):
                while filler.write(piece) == len(piece):
                    pass
        filler.truncate(max(0, filler.tell() - free_blocks * 1024))
        os.fsync(filler.fileno())


def test_a_log_on_a_full_disk_goes_on_when_there_is_room(tmpfs: Path, begin: Begin) -> None:
    tally = begin("T4", "a log until the disk is full")
    log, written = tmpfs / "log.jsonl", 0
    line = {"filler": "x" * 1021}
    for _ in range(200):
        try:
            files.append_json_line(log, line)
            written += 1
        except ArtifactError:
            tally.add("refused")
        tally.check(files.read_json_lines(log) == [line] * written, "whole", f"after {written} lines")
    (tmpfs / "log.jsonl").rename(tmpfs / "old.jsonl")
    (tmpfs / "old.jsonl").unlink()
    files.append_json_line(log, line)
    tally.check(files.read_json_lines(log) == [line], "goes on", "no line after there was room")
    tally.close()
    assert 100 < written < 130
