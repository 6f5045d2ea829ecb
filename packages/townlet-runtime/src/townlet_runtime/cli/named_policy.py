"""The policy that a command was given: as a file, or as the run directory it was trained in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from townlet_runtime.acting import require_fit
from townlet_runtime.cli.exits import CommandError
from townlet_runtime.errors import SimulationError
from townlet_runtime.finished import FinishedRun, read_run
from townlet_runtime.policies import OnnxPolicy
from townlet_runtime.simulation import SimulationSpec


@dataclass(frozen=True, kw_only=True)
class NamedPolicy:
    """A policy and the run that it came from."""

    path: Path
    """Of the file or the directory, as it was given."""
    policy: OnnxPolicy
    run: FinishedRun | None
    """None: a bare file."""

    @property
    def config(self) -> Path | None:
        """The config that it was trained with, where that is known."""
        return None if self.run is None else self.run.config

    def require_fit(self, spec: SimulationSpec) -> None:
        """Refuse it for a simulation that has other actions or observations.

        Raises:
            CommandError: names the policy and what differs.
        """
        try:
            require_fit(self.policy, spec)
        except SimulationError as error:
            raise CommandError(f"{self.path}: {error}") from error


def load_policy(path: Path) -> NamedPolicy:
    """Load a policy from its file, or from the run directory it was trained in (checked against its summary).

    Raises:
        PolicyFileError: if it is missing, damaged or foreign.
        RunDirectoryError: if `path` is a directory, but not one of a finished run.
    """
    if path.is_dir():
        return policy_of(read_run(path))
    return NamedPolicy(path=path, policy=OnnxPolicy.load(path), run=None)


def policy_of(run: FinishedRun) -> NamedPolicy:
    """Load the policy that a run has ended with.

    Raises:
        PolicyFileError: if it is damaged or foreign.
    """
    return NamedPolicy(path=run.path, policy=OnnxPolicy.load(run.policy), run=run)
