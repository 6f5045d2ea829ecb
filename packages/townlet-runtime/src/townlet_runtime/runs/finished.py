"""The directory of a finished run: what it came to, and the policies it ended with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from townlet_runtime.errors import PolicyFileError, RunDirectoryError
from townlet_runtime.runs.directory import CONFIG, POLICY, SUMMARY, file_sha256, group_policy, require_finished
from townlet_runtime.simulation.interface import AGENTS
from townlet_runtime.runs.summary import RunSummaryFile


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A run directory whose run has ended with a policy for every group of agents."""

    path: Path
    summary: RunSummaryFile
    policies: Mapping[str, Path]
    """By group; `agents` where there is one."""

    @property
    def config(self) -> Path:
        """The config it ran with."""
        return self.path / CONFIG


def read_run(path: Path) -> FinishedRun:
    """Read what the run in `path` came to, and check that its policies are still those it ended with.

    Raises:
        RunDirectoryError: if it is no run directory, or its run has no policy.
        ReportError: if its summary is damaged.
        PolicyFileError: if a policy is another one than its summary says.
    """
    require_finished(path)
    summary = RunSummaryFile.read(path / SUMMARY)
    policies = {}
    for group, (name, expected) in _policy_files(summary).items():
        digest = file_sha256(path / name)
        if digest != expected:
            raise PolicyFileError(path / name, expected=f"the policy {expected} of {SUMMARY}", got=digest)
        policies[group] = path / name
    if not policies:
        raise RunDirectoryError(path, "its run ended without a policy")
    return FinishedRun(path=path, summary=summary, policies=policies)


def _policy_files(summary: RunSummaryFile) -> Mapping[str, tuple[str, str]]:
    """File name and SHA-256 by group."""
    if summary.policy_sha256 is not None:
        return {AGENTS: (POLICY, summary.policy_sha256)}
    return {group: (group_policy(group), digest) for group, digest in (summary.policies_sha256 or {}).items()}
