"""Classic samples as trajectories: exactly what was recorded where a sample says so, else what can be known of it."""

from __future__ import annotations

import numpy as np

from townlet_trajectory.data.schema import ArraySpec, TrajectorySchema
from townlet_trajectory.data.trajectory import Trajectory
from townlet_trajectory.errors import CaptureError
from townlet_trajectory.formats.captures.replay_sample import ReplaySample

_DECISIONS = {
    "action": ArraySpec("int64"),
    "old_log_probs": ArraySpec("float32"),
    "value_preds": ArraySpec("float32"),
}


def trajectory_of(sample: ReplaySample, *, episode: int) -> Trajectory:
    """The trajectory of a sample, ours or the original's.

    The original stored beside an action what was seen *after* it. So its row t - 1 holds the observation that action t
    was decided from: T rows make T - 1 steps, and the last row is their final observation. A step's decision columns
    are `action`, and `old_log_probs` and `value_preds` of a network that did not act. `dones` do not tell a true end
    from a cut; they are taken for true ends. World and ticks are not known: 0, and counted from 1, as row 0 is lost.

    Args:
        sample: as it was read.
        episode: number to give a sample that does not know its own.

    Raises:
        CaptureError: if a sample of the original is too short, or goes on after a `done`.
    """
    if sample.trajectory is not None:
        return sample.trajectory
    num_steps = len(sample) - 1
    if num_steps == 0:
        raise CaptureError(sample.path, "restore", "one row of the original's holds no observation before an action")
    if sample.dones[:-1].any():
        row = int(np.flatnonzero(sample.dones)[0])
        raise CaptureError(sample.path, "restore", f"`dones` may be true in the last row alone, got row {row}")
    return Trajectory(
        schema=TrajectorySchema(
            observations={
                "map": ArraySpec("float32", sample.map.shape[1:]),
                "features": ArraySpec("float32", sample.features.shape[1:]),
            },
            decisions=_DECISIONS,
            vocabulary=sample.vocabulary,
        ),
        observations={"map": sample.map, "features": sample.features},
        columns={
            "action": sample.actions[1:].copy(),
            "old_log_probs": sample.old_log_probs[1:].copy(),
            "value_preds": sample.value_preds[1 : num_steps + 1].copy(),
        },
        rewards=sample.rewards[1:].copy(),
        ticks=np.arange(1, num_steps + 1),
        terminated=bool(sample.dones[-1]),
        truncated=False,
        agent_id=str(sample.metadata.get("agent_id", "")),
        world=0,
        episode=episode,
    )
