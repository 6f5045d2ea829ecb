"""What was decided, column by column: the record that the trajectory keeps and the learner reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class DecisionBatch:
    """One settled decision per agent of the view, in its order; every column is [N] and must not be written to."""

    action: NDArray[np.int64]
    """Executed."""
    chosen_action: NDArray[np.int64]
    """What the blend drew, or the held action, or the possessor's; another than `action` only after a veto."""
    kind: NDArray[np.int8]
    """`Kind`."""
    source: NDArray[np.int8]
    """`Source`."""
    vetoed: NDArray[np.bool_]
    veto_reason: NDArray[np.int8]
    """0: not vetoed; else 1 + index into `BehaviorBridge.veto_reasons`."""
    possessed: NDArray[np.bool_]
    demonstrated: NDArray[np.bool_]
    """The possessor supplied the executed action."""
    expert_action: NDArray[np.int64]
    """What the script proposed, -1 where nothing."""
    behavior_log_prob: NDArray[np.float32]
    """log μ(chosen_action), blend included; 0 unless `kind` is DECISION."""
    policy_log_prob: NDArray[np.float32]
    """log π(chosen_action); 0 unless `kind` is DECISION."""
    value: NDArray[np.float32]
    """The policy's estimate, on every step for which there were proposals; else 0."""
    ratio: NDArray[np.float32]
    """β of this tick."""
    held_action: NDArray[np.int64]
    """The option in force when the decision was made, -1 for none."""
    ticks_left: NDArray[np.int32]
    """Ticks it still had then, this one included; 0 for none."""

    def __len__(self) -> int:
        return len(self.action)

    def columns(self) -> dict[str, NDArray[Any]]:
        """All columns by name, without copying."""
        return dict(vars(self))
