"""The directory of a finished run: what it came to, and the policy it ended with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from townlet_runtime.errors import PolicyFileError, RunDirectoryError
from townlet_runtime.rundir import CONFIG, POLICY, SUMMARY, file_sha256, require_finished
from townlet_runtime.summary import RunSummaryFile


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
    require_finished(path)
    summary = RunSummaryFile.read(path / SUMMARY)
    if summary.policy_sha256 is None:
        raise RunDirectoryError(path, "its run ended without a policy")
    digest = file_sha256(path / POLICY)
    if digest != summary.policy_sha256:
        raise PolicyFileError(path / POLICY, expected=f"the policy {summary.policy_sha256} of {SUMMARY}", got=digest)
    return FinishedRun(path=path, summary=summary)
