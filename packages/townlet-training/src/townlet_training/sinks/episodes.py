"""Returns of the episodes that end while experience is collected, as other libraries of RL show them."""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

import numpy as np

from townlet_trajectory import TrajectoryBatch

WINDOW = 100
"""Episodes of the means, as in Stable-Baselines3."""

_Key: TypeAlias = tuple[int, int, str]


class EpisodeWindow:
    """Mean return and length of the newest `WINDOW` episodes of agents that have ended.

    An episode of an agent comes in pieces, one for each collection that it lasts; nothing is known of one whose
    beginning was not seen.

    Args:
        resumed: whether the agents were there before the first collection.
    """

    def __init__(self, *, resumed: bool) -> None:
        self._resumed = resumed
        self._open: dict[_Key, tuple[float, int]] = {}
        self._unknown: set[_Key] = set()
        self._ended: deque[tuple[float, int]] = deque(maxlen=WINDOW)

    def add(self, batch: TrajectoryBatch) -> None:
        """Take in the next collection of one agent group."""
        if not batch.num_steps:
            return
        first = batch.offsets[:-1]
        sums = np.add.reduceat(batch.rewards.astype(np.float64), first)
        begins = batch.ticks[first] == batch.ticks.min()
        for place, length in enumerate(np.diff(batch.offsets).tolist()):
            key = int(batch.worlds[place]), int(batch.episodes[place]), str(batch.agent_ids[place])
            if self._resumed and begins[place]:
                self._unknown.add(key)
            earned, lived = self._open.pop(key, (0.0, 0))
            piece = earned + float(sums[place]), lived + length
            if not (batch.terminated[place] or batch.truncated[place]):
                self._open[key] = piece
            elif key in self._unknown:
                self._unknown.discard(key)
            else:
                self._ended.append(piece)
        self._resumed = False

    @property
    def means(self) -> dict[str, float]:
        """Means by the names of RL; nothing before an episode has ended."""
        if not self._ended:
            return {}
        returns, lengths = zip(*self._ended, strict=True)
        return {"rollout/ep_rew_mean": float(np.mean(returns)), "rollout/ep_len_mean": float(np.mean(lengths))}
