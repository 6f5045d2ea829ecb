"""Frozen statistics: of the observations, and of the size of returns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from townlet_training.errors import EmptyBatchError
from townlet_training.learning.advantages import discounted_returns
from townlet_trajectory import TrajectoryBatch

CLIP = 10.0
"""Normalized observations are clipped to [-CLIP, CLIP]."""

_CONSTANT_STD = 1e-6


def feature_statistics(
    columns: Sequence[NDArray[np.float32]],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation [F] over the rows of `columns`, each [R, F_i], side by side.

    A feature that never varies has standard deviation 1: it is shifted to 0 and stays on its scale, should it
    begin to vary.

    Raises:
        EmptyBatchError: if there is no row.
    """
    if not len(columns[0]):
        raise EmptyBatchError("the statistics of observations need at least one row")
    mean = np.concatenate([column.mean(axis=0, dtype=np.float64) for column in columns])
    std = np.concatenate([column.std(axis=0, dtype=np.float64) for column in columns])
    std[std < _CONSTANT_STD] = 1.0
    return mean.astype(np.float32), std.astype(np.float32)


def return_scale(batch: TrajectoryBatch, *, discount: float) -> float:
    """Root mean square of the discounted returns-to-go of `batch`: the unit in which a value head is near 1.

        G_t = r_t + γ G_{t+1},   scale = sqrt(mean G_t²)

    Returns:
        1.0 where every reward is 0.

    Raises:
        EmptyBatchError: if there is no row.
    """
    if not batch.num_steps:
        raise EmptyBatchError("the scale of returns needs at least one row")
    returns = discounted_returns(batch.rewards, batch.offsets, discount=discount)
    scale = float(np.sqrt(np.mean(np.square(returns))))
    return scale if scale > 0.0 else 1.0
