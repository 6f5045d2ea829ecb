"""`townlet run --record`: what happened, as classic replay samples."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.acting import Policy
from townlet_runtime.cli.checks import require_empty
from townlet_runtime.config import Config
from townlet_runtime.simulation import SimulationSpec
from townlet_runtime.town.observations import MAP_CHANNELS
from townlet_trajectory import ArtifactError, TrajectoryBatch
from townlet_trajectory.capture_sample import CaptureLayout
from townlet_trajectory.captures import DEFAULT_PREFIX, CaptureInfo, write_captures

# The original's files know no kind `work`: its scripted agents moved to work.
_CLASSIC_KINDS = {"work": "move"}


def record_captures(
    folder: Path, batch: TrajectoryBatch, spec: SimulationSpec, *, policy: Policy | None, info: CaptureInfo
) -> Path:
    """Write one sample per trajectory and the manifest; return the manifest's path.

    Args:
        folder: must be empty still; nothing stays in it when it cannot be written.
        policy: says what the final observations are worth; None: nothing.
    """
    require_empty(folder)
    layout = CaptureLayout(
        feature_names=spec.feature_names, map_channels=MAP_CHANNELS, action_texts=_action_texts(spec)
    )
    final_values = _final_values(batch, spec, policy)
    try:
        return write_captures(folder, batch, final_values=final_values, layout=layout, info=info)
    except ArtifactError:
        # Samples without a manifest are no recording, and would refuse the next one.
        for path in folder.glob(f"{DEFAULT_PREFIX}_*"):
            path.unlink()
        raise


def capture_info(config: Config, *, path: Path | None, ticks: int, seed: int, policy: Policy | None) -> CaptureInfo:
    """Where a recording comes from."""
    return CaptureInfo(
        config_path=None if path is None else str(path),
        config_id=config.config_id,
        scenario_name=config.scenario.name,
        scenario_description=config.scenario.description,
        ticks=ticks,
        seed=seed,
        policy_hash=None if policy is None else policy.digest,
        capture_timestamp=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _action_texts(spec: SimulationSpec) -> tuple[str, ...]:
    vocabulary = spec.vocabulary
    return tuple(
        json.dumps({"action": key, "kind": _CLASSIC_KINDS.get(kind, kind)}, sort_keys=True, separators=(",", ":"))
        for key, kind in zip(vocabulary.keys, vocabulary.kinds, strict=True)
    )


def _final_values(batch: TrajectoryBatch, spec: SimulationSpec, policy: Policy | None) -> NDArray[np.float32]:
    if policy is None:
        return np.zeros(len(batch), np.float32)
    observations = {name: batch.final_observations[name].astype(np.float32) for name in spec.observation_shapes}
    _, values = policy.act(observations, None)
    return values
