"""Everything that this package writes, as steps that can be broken off: what was there before, and what is after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fault_formats import INFO, LAYOUT, batch_digest, capture_digest, digest_of
from strategies import make_trajectory

from townlet_trajectory import ArtifactError, TrajectoryBatch
from townlet_trajectory.formats.batch_file import load_batch, save_batch
from townlet_trajectory.formats.captures.directory import read_metrics, write_captures
from townlet_trajectory.storage import files
from townlet_trajectory.storage.manifest import read_directory, write_directory

ABSENT, REFUSED = "absent", "refused"


def _nothing(folder: Path) -> None:
    """The folder stays empty."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One call that writes."""

    name: str
    act: Callable[[Path], None]
    """Below the folder."""
    read: Callable[[Path], object]
    """What a reader finds afterwards; `ArtifactError` where it is refused."""
    prepare: Callable[[Path], None] = _nothing
    """What was there before."""
    removes: bool = False
    """Whether it removes something itself: what an error keeps it from removing is left to the next writer."""
    between: Callable[[object, object, object], bool] = lambda state, old, new: False
    """Whether something that is neither old nor new may be found after the call was broken off."""

    def state(self, folder: Path) -> object:
        """What a reader finds."""
        try:
            return self.read(folder)
        except ArtifactError:
            return REFUSED

    def allowed(self, state: object, old: object, new: object) -> bool:
        """Whether `state` may be found after the call was broken off."""
        return state in (old, new) or self.between(state, old, new)


def make_trajectories(seed: int) -> TrajectoryBatch:
    return TrajectoryBatch.from_trajectories([make_trajectory(seed, 3, terminated=True)])


def _file(folder: Path) -> object:
    path = folder / "f"
    return path.read_bytes() if path.exists() else ABSENT


def _log(folder: Path) -> object:
    path = folder / "log.jsonl"
    return digest_of(files.read_json_lines(path)) if path.exists() else ABSENT


def _directory(folder: Path) -> object:
    return digest_of(read_directory(folder / "d")) if (folder / "d").exists() else ABSENT


def _capture(folder: Path) -> object:
    capture = capture_digest(folder) if (folder / "rollout_sample_manifest.json").exists() else ABSENT
    if capture != ABSENT:
        read_metrics(folder / "rollout_sample_metrics.json")
    return capture


def _write_capture(folder: Path, batch: TrajectoryBatch) -> None:
    write_captures(folder, batch, final_values=np.zeros(len(batch), np.float32), layout=LAYOUT, info=INFO)


def _put(name: str, data: bytes) -> Callable[[Path], None]:
    def put(folder: Path) -> None:
        (folder / name).write_bytes(data)

    return put


def _put_unfinished(folder: Path) -> None:
    (folder / "f").write_bytes(b"old\n")
    (folder / f".f.{'0' * 16}.tmp").write_bytes(b"half")
    (folder / f".d.{'1' * 16}.tmp").mkdir()
    (folder / f".d.{'1' * 16}.tmp" / "x").write_bytes(b"half")


def _write_under_lock(folder: Path) -> None:
    with files.DirectoryLock(folder):
        files.write_bytes_atomic(folder / "f", b"new\n")


def _make_and_write(folder: Path) -> None:
    files.make_directory(folder / "a" / "b")
    files.write_bytes_atomic(folder / "a" / "b" / "f", b"new\n")


_ENTRIES = {"x.bin": b"1" * 3000, "y.json": b"{}\n"}
_LINE = {"epoch": 3, "loss": 0.5}

REPLACE = Operation(
    name="replace a file",
    prepare=_put("f", b"old\n"),
    act=lambda folder: files.write_bytes_atomic(folder / "f", b"new\n" * 5000),
    read=_file,
)

OPERATIONS: tuple[Operation, ...] = (
    REPLACE,
    Operation(name="create a file", act=lambda folder: files.write_bytes_atomic(folder / "f", b"new\n"), read=_file),
    Operation(
        name="replace json",
        prepare=_put("f", b"old\n"),
        act=lambda folder: files.write_json_atomic(folder / "f", {"new": [1, 2, 3]}),
        read=_file,
    ),
    Operation(name="create a directory", act=lambda folder: write_directory(folder / "d", _ENTRIES), read=_directory),
    Operation(
        name="remove a directory",
        removes=True,
        prepare=lambda folder: write_directory(folder / "d", _ENTRIES),
        act=lambda folder: files.remove_directory(folder / "d"),
        read=_directory,
    ),
    Operation(
        name="make folders",
        act=_make_and_write,
        read=lambda folder: _file(folder / "a" / "b"),
    ),
    Operation(
        name="append to a log",
        prepare=_put("log.jsonl", b'{"epoch":1}\n{"epoch":2}\n'),
        act=lambda folder: files.append_json_line(folder / "log.jsonl", _LINE),
        read=_log,
    ),
    Operation(
        name="begin a log",
        act=lambda folder: files.append_json_line(folder / "log.jsonl", _LINE),
        read=_log,
        between=lambda state, old, new: state == digest_of([]),  # created, and nothing in it yet
    ),
    Operation(
        name="append after a crash",
        prepare=_put("log.jsonl", b'{"epoch":1}\n{"epoch":2}\n{"ep'),
        act=lambda folder: files.append_json_line(folder / "log.jsonl", _LINE),
        read=_log,
    ),
    Operation(
        name="replace a batch",
        prepare=lambda folder: save_batch(folder / "b.npz", make_trajectories(1)),
        act=lambda folder: save_batch(folder / "b.npz", make_trajectories(2)),
        read=lambda folder: batch_digest(load_batch(folder / "b.npz")),
    ),
    Operation(name="clean up and write", removes=True, prepare=_put_unfinished, act=_write_under_lock, read=_file),
    Operation(name="create a capture", act=lambda folder: _write_capture(folder, make_trajectories(2)), read=_capture),
    Operation(
        name="replace a capture",
        prepare=lambda folder: _write_capture(folder, make_trajectories(1)),
        act=lambda folder: _write_capture(folder, make_trajectories(2)),
        read=_capture,
        # Each file is replaced as a whole, but not all at once: until the manifest is, its digests say so.
        between=lambda state, old, new: state == REFUSED,
    ),
)
"""What needs numpy alone."""
