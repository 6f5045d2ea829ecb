"""Run directories: the names of their files, and how one is claimed and locked by the process that writes into it."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from itertools import count
from pathlib import Path

from townlet_runtime.errors import RunDirectoryError
from townlet_runtime.policy.file import read_policy_bytes, verified_digest
from townlet_runtime.simulation.interface import AGENTS
from townlet_trajectory.errors import ArtifactError
from townlet_trajectory.evaluation.registry import JOURNAL_NAME
from townlet_trajectory.evaluation.registry_state import CHAMPION
from townlet_trajectory.storage.locks import DirectoryLock, is_locked
from townlet_trajectory.storage.manifest import MANIFEST_NAME

BEGUN = "begun.json"
"""Settings that must be the same when the run is resumed: threads, controller, and the resolved config."""
CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
CHECKPOINTS = "checkpoints"
POLICY = "policy.onnx"
"""Of a run whose only group of agents is `agents`; see `policy_file`."""
CLONING = "cloning.json"
EVALUATION = "evaluation.json"
PROMOTION = "promotion.json"
SUMMARY = "summary.json"
REPORT = "report.html"
ADAPTED = "adapted.json"
"""Of the directory of an adapted policy, which is no run."""
INITIAL = "initial"
"""The folder of the weights that a run begins with: in an adapted policy, and copied from there into the run."""
MANIFEST = MANIFEST_NAME
"""Written last: a directory that has one is that of a finished run."""

_ANOTHER = "; name another one with --run-dir"
_LOCKS = Path("/proc/locks")


def policy_file(group: str, groups: Collection[str]) -> str:
    """Name of the policy file of one of the `groups` of a run."""
    return POLICY if set(groups) == {AGENTS} else f"policy-{group}.onnx"


def group_opponent(group: str) -> str:
    """Name of the file of the policy that plays a group that does not learn."""
    return f"opponent-{group}.onnx"


RUNS = Path("runs")
"""Where runs are that no directory was named for."""


def default_run_dir(folder: Path = RUNS, *, now: datetime, mode: str, seed: int) -> Path:
    """Return `FOLDER/YYYYMMDD-HHMMSS-MODE-SEED`.

    Args:
        folder: of the run directories.
        now: local time.
        mode: of training.
        seed: of the run.
    """
    return folder / f"{now:%Y%m%d-%H%M%S}-{mode}-{seed}"


def require_free(path: Path) -> None:
    """Refuse a `path` that no run can take; nothing is made or changed.

    Raises:
        RunDirectoryError: if another process holds it (named), it is not empty, or it cannot be made or written to.
    """
    require_writable(path)
    if path.exists():
        _require_unlocked(path, hint=_ANOTHER)
        _require_empty(path)


def require_resumable(path: Path) -> None:
    """Refuse a `path` that is not the directory of a run, or that another process holds; nothing is changed.

    Raises:
        RunDirectoryError: says what is missing, or who holds it.
    """
    if not (path / CONFIG).is_file():
        found = f"no {CONFIG} in it" if path.is_dir() else "no directory"
        raise RunDirectoryError(path, f"expected the directory of a run, found {found}")
    require_writable(path)
    _require_unlocked(path, hint="")


def require_writable(path: Path) -> None:
    """Refuse a `path` that is no directory we may write to, and that we cannot make either.

    Raises:
        RunDirectoryError: names what stands in the way.
    """
    existing = path.absolute()
    while not os.path.lexists(existing):
        existing = existing.parent
    if not existing.is_dir():
        raise RunDirectoryError(path, f"cannot be made: {existing} is no directory")
    if not os.access(existing, os.R_OK | os.W_OK | os.X_OK):
        raise RunDirectoryError(path, f"cannot be written to: no permission for {existing}")


def _require_unlocked(path: Path, *, hint: str) -> None:
    try:
        locked = is_locked(path)
    except ArtifactError as error:
        raise RunDirectoryError(path, f"cannot be locked: {error.reason}") from error
    if locked:
        raise RunDirectoryError(path, f"in use by {_holder(path)}{hint}")


def _require_empty(path: Path) -> None:
    if any(path.iterdir()):
        raise RunDirectoryError(path, f"exists and is not empty{_ANOTHER}")


@contextmanager
def new_run_directory(path: Path, *, numbered: bool = False) -> Iterator[Path]:
    """Claim a new run directory, and hold it while the block puts the first file into it.

    From there on it is not empty, so no other run takes it; the trainer holds it again as long as it writes. Where the
    block fails before that, directories that were made here are removed again.

    Args:
        path: missing, or an empty directory.
        numbered: whether another run may have taken the name: `PATH-2`, `PATH-3` and so on are claimed then.

    Yields:
        The directory that was claimed.

    Raises:
        RunDirectoryError: as `require_free`, unless `numbered`.
    """
    require_writable(path) if numbered else require_free(path)
    missing = [folder for folder in path.parents if not folder.exists()]
    claimed, made = _claim(path, numbered=numbered)
    with ExitStack() as stack:
        # Once the lock is released: where a folder cannot be locked itself, a file beside it is.
        stack.callback(_remove_empty, missing)
        try:
            stack.enter_context(DirectoryLock(claimed))
        except ArtifactError as error:
            raise RunDirectoryError(claimed, f"in use by {_holder(claimed)}{_ANOTHER}") from error
        _require_empty(claimed)
        try:
            yield claimed
        finally:
            if made and not any(claimed.iterdir()):
                claimed.rmdir()


def _claim(path: Path, *, numbered: bool) -> tuple[Path, bool]:
    """The directory, and whether it was made: `mkdir` lets one process alone make it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for number in count(1):
            claimed = path if number == 1 else path.with_name(f"{path.name}-{number}")
            try:
                claimed.mkdir()
                return claimed, True
            except FileExistsError:
                if not numbered:
                    return claimed, False
    except OSError as error:
        raise RunDirectoryError(path, f"cannot be made: {error.strerror}") from error
    raise AssertionError("unreachable: `count` has no end")


def _remove_empty(folders: list[Path]) -> None:
    """Remove `folders`, the innermost first, up to one that another process uses."""
    for folder in folders:
        if any(folder.iterdir()):
            return
        folder.rmdir()


def _holder(path: Path) -> str:
    """The process that has locked `path`, where the system tells (Linux does)."""
    if sys.platform == "linux":
        try:
            status = path.stat()
            locks = _LOCKS.read_text()
        except OSError:
            return "another process"
        place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        for row in (line.split() for line in locks.splitlines()):
            if row[1] == "FLOCK" and row[5] == place:
                return f"process {row[4]}"
    return "another process"


def require_finished(path: Path) -> None:
    """Refuse a `path` that is not the directory of a finished run; its files are not read.

    Raises:
        RunDirectoryError: says what is missing.
    """
    if not path.is_dir():
        raise RunDirectoryError(path, "expected the directory of a finished run, found no directory")
    if not (path / MANIFEST).is_file():
        raise RunDirectoryError(path, f"expected the directory of a finished run, found no {MANIFEST} in it")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of the policy file `path`, as `sha256sum` prints it."""
    return hashlib.sha256(read_policy_bytes(path)).hexdigest()


def registry_of(path: Path) -> tuple[Path, str] | None:
    """Return the promotion registry that `path` means, as `DIR` or `DIR:NAME`, and the name of a release in it.

    The name is `champion` where none is given; None: `path` is something else.
    """
    if (path / JOURNAL_NAME).is_file():
        return path, CHAMPION
    folder, colon, name = str(path).rpartition(":")
    if colon and (Path(folder) / JOURNAL_NAME).is_file():
        return Path(folder), name
    return None


def require_policy(path: Path) -> None:
    """Refuse a path that is neither an intact policy file, the directory of a finished run, nor a promotion registry.

    Raises:
        PolicyFileError: if the file is missing, damaged or foreign.
        RunDirectoryError: if it is a directory, but not one of a finished run.
    """
    if registry_of(path) is not None:
        return
    if path.is_dir():
        require_finished(path)
    else:
        verified_digest(read_policy_bytes(path), path)


def require_new(path: Path) -> None:
    """Refuse a `path` that exists, or that cannot be made.

    Raises:
        RunDirectoryError: names it.
    """
    if os.path.lexists(path):
        raise RunDirectoryError(path, "exists; name another one with --output")
    require_writable(path)


def require_empty(path: Path, *, option: str = "--record") -> None:
    """Refuse a folder that holds something (samples of two recordings must not mix), or that cannot be written to.

    Args:
        path: of the folder.
        option: that named it.

    Raises:
        RunDirectoryError: names it.
    """
    try:
        used = path.exists() and any(path.iterdir())
    except OSError as error:
        raise RunDirectoryError(path, f"cannot be read: {error.strerror}") from error
    if used:
        raise RunDirectoryError(path, f"exists and is not empty; name another one with {option}")
    require_writable(path)
