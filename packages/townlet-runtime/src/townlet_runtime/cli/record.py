"""`townlet run --record`: what happened, as classic replay samples."""

from __future__ import annotations

from pathlib import Path

from townlet_runtime.cli.capture_files import capture_info, write_town_captures
from townlet_runtime.cli.checks import require_empty
from townlet_runtime.policy.policy import Policy
from townlet_runtime.simulation.interface import SimulationSpec
from townlet_trajectory import ArtifactError, TrajectoryBatch
from townlet_trajectory.formats.captures.directory import DEFAULT_PREFIX, CaptureInfo

__all__ = ["capture_info", "record_captures"]


def record_captures(
    folder: Path, batch: TrajectoryBatch, spec: SimulationSpec, *, policy: Policy | None, info: CaptureInfo
) -> Path:
    """Write one sample per trajectory and the manifest; return the manifest's path.

    Args:
        folder: must be empty still; nothing stays in it when it cannot be written.
        policy: says what the final observations are worth; None: nothing.
    """
    require_empty(folder)
    try:
        return write_town_captures(folder, batch, spec, policy=policy, info=info)
    except ArtifactError:
        # Samples without a manifest are no recording, and would refuse the next one.
        for path in folder.glob(f"{DEFAULT_PREFIX}_*"):
            path.unlink()
        raise
