"""Run directories: made and locked by one process while a run writes into it, read by everything else."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from townlet_runtime.errors import PolicyFileError, RunDirectoryError
from townlet_runtime.policy_file import read_policy_bytes
from townlet_runtime.summary import RunSummaryFile
from townlet_trajectory.errors import ArtifactError
from townlet_trajectory.files import DirectoryLock

CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
CHECKPOINTS = "checkpoints"
POLICY = "policy.onnx"
EVALUATION = "evaluation.json"
PROMOTION = "promotion.json"
SUMMARY = "summary.json"
REPORT = "report.html"

_LOCKS = Path("/proc/locks")


def default_run_dir(*, now: datetime, mode: str, seed: int) -> Path:
    """Return `runs/YYYYMMDD-HHMMSS-MODE-SEED`."""
    return Path("runs") / f"{now:%Y%m%d-%H%M%S}-{mode}-{seed}"


@contextmanager
def new_run_directory(path: Path) -> Iterator[None]:
    """Make the directory `path`, and hold it while the block puts the first file into it.

    From there on it is not empty, so no other run takes it; the trainer holds it again as long as it writes.

    Raises:
        RunDirectoryError: if another process holds it (named), it is not empty, or it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunDirectoryError(path, f"cannot be made: {error.strerror}") from error
    with ExitStack() as stack:
        try:
            stack.enter_context(DirectoryLock(path))
        except ArtifactError as error:
            raise RunDirectoryError(path, f"in use by {_holder(path)} ({error.reason})") from error
        if any(path.iterdir()):
            raise RunDirectoryError(path, "exists and is not empty; name another one with --run-dir")
        yield


def _holder(path: Path) -> str:
    """Who has locked `path`, as far as the system says (Linux does)."""
    try:
        status = path.stat()
        locks = _LOCKS.read_text()
    except OSError:
        return "another process"
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    rows = (line.split() for line in locks.splitlines())
    holders = [row[4] for row in rows if row[1] == "FLOCK" and row[5] == place]
    return f"process {holders[0]}" if holders else "another process"


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A run directory whose run has ended with a policy."""

    path: Path
    summary: RunSummaryFile

    @property
    def config(self) -> Path:
        """The config it ran with."""
        return self.path / CONFIG

    @property
    def policy(self) -> Path:
        """The policy it ended with."""
        return self.path / POLICY


def read_run(path: Path) -> FinishedRun:
    """Read what the run in `path` came to, and check that its policy is still the one it ended with.

    Raises:
        RunDirectoryError: if it is no run directory, or its run has no policy.
        ReportError: if its summary is damaged.
        PolicyFileError: if its policy is another one than its summary says.
    """
    if not (path / SUMMARY).is_file():
        raise RunDirectoryError(path, f"expected the directory of a finished run, found no {SUMMARY} in it")
    summary = RunSummaryFile.read(path / SUMMARY)
    if summary.policy_sha256 is None:
        raise RunDirectoryError(path, "its run ended without a policy")
    digest = file_sha256(path / POLICY)
    if digest != summary.policy_sha256:
        raise PolicyFileError(path / POLICY, expected=f"the policy {summary.policy_sha256} of {SUMMARY}", got=digest)
    return FinishedRun(path=path, summary=summary)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of the policy file `path`, as `sha256sum` prints it."""
    return hashlib.sha256(read_policy_bytes(path)).hexdigest()
