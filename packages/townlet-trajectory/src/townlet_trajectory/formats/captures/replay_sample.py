"""One classic replay sample: seven arrays and their description, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.statistics import CONFLICT_FEATURES
from townlet_trajectory.data.trajectory import Array, Trajectory
from townlet_trajectory.errors import CaptureError
from townlet_trajectory.storage.json import JsonValue

TRAINING_ARRAYS = ("actions", "old_log_probs", "rewards", "dones", "value_preds")
CLASSIC_ARRAYS = ("map", "features", *TRAINING_ARRAYS)

_DTYPES = {
    "map": np.dtype(np.float32),
    "features": np.dtype(np.float32),
    "actions": np.dtype(np.int64),
    "old_log_probs": np.dtype(np.float32),
    "value_preds": np.dtype(np.float32),
    "rewards": np.dtype(np.float32),
    "dones": np.dtype(np.bool_),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class ReplaySample:
    """T >= 1 steps of one agent in the classic form."""

    path: Path
    """The npz file, for messages."""
    map: NDArray[np.float32]
    """[T, C, H, W]. In files of the original, what was seen *after* the action of the row; ours: before it."""
    features: NDArray[np.float32]
    """[T, F], as `map`."""
    actions: NDArray[np.int64]
    """[T]; indices into `vocabulary`."""
    old_log_probs: NDArray[np.float32]
    """[T]; of the action under what chose it (ours), or under an untrained network (the original)."""
    value_preds: NDArray[np.float32]
    """[T + 1], the value of the state after the last step at the end; [T] where a file has none."""
    rewards: NDArray[np.float32]
    """[T]."""
    dones: NDArray[np.bool_]
    """[T]; terminated or truncated."""
    metadata: Mapping[str, JsonValue]
    """The description as it is in the file."""
    feature_names: tuple[str, ...]
    """F names."""
    vocabulary: tuple[str, ...]
    """Text of each action id: its JSON, or `action_ID` where the file does not say."""
    trajectory: Trajectory | None
    """Everything that was recorded, where the file holds it (ours do)."""

    def __post_init__(self) -> None:
        num_steps = len(self.rewards)
        if num_steps == 0:
            raise CaptureError(self.path, "check", "a sample has at least one step")
        arrays = self.arrays()
        for name, array in arrays.items():
            if array.dtype != _DTYPES[name]:
                raise CaptureError(self.path, "check", f"`{name}` must be {_DTYPES[name]}, got {array.dtype}")
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise CaptureError(self.path, "check", f"`{name}` must be finite")
        self._check_shapes(num_steps)
        if self.actions.min() < 0 or self.actions.max() >= len(self.vocabulary):
            raise CaptureError(self.path, "check", f"`actions` must be in [0, {len(self.vocabulary)})")
        if missing := [name for name in CONFLICT_FEATURES if name not in self.feature_names]:
            raise CaptureError(self.path, "check", f"`feature_names` must hold {missing}")

    def _check_shapes(self, num_steps: int) -> None:
        expected: dict[str, tuple[tuple[int, ...], ...]] = {
            "features": ((num_steps, len(self.feature_names)),),
            "value_preds": ((num_steps,), (num_steps + 1,)),
            **{name: ((num_steps,),) for name in ("actions", "old_log_probs", "rewards", "dones")},
        }
        arrays = self.arrays()
        for name, shapes in expected.items():
            if arrays[name].shape not in shapes:
                raise CaptureError(self.path, "check", f"`{name}` must be {shapes}, got {arrays[name].shape}")
        if self.map.ndim != 4 or len(self.map) != num_steps:
            raise CaptureError(self.path, "check", f"`map` must be [{num_steps}, C, H, W], got {self.map.shape}")

    def __len__(self) -> int:
        """Steps (T)."""
        return len(self.rewards)

    def arrays(self) -> dict[str, Array]:
        """The seven arrays by their names in the file."""
        return {
            "map": self.map,
            "features": self.features,
            "actions": self.actions,
            "old_log_probs": self.old_log_probs,
            "value_preds": self.value_preds,
            "rewards": self.rewards,
            "dones": self.dones,
        }
