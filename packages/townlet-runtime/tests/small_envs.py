"""Environments of Gymnasium that are small enough to know by heart, and that break what they are told to break."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from townlet_runtime.adapters.gymnasium_sync import SyncWorlds

Answer = tuple[Any, Any, Any, Any, Any]


class Stairs(gymnasium.Env[Any, Any]):
    """Stairs of `height` steps. Action 5 stays, 6 climbs, 7 climbs two; the top is worth 1 and ends the episode.

    Observed are the step, and a number that is drawn at every tick from the episode's seed.
    """

    def __init__(
        self,
        *,
        height: int = 4,
        observation_space: spaces.Space[Any] | None = None,
        mask: str | None = None,
        bend: Callable[[Answer], Answer] | None = None,
        bend_reset: Callable[[tuple[Any, Any]], tuple[Any, Any]] | None = None,
    ) -> None:
        box = spaces.Box(0.0, np.inf, (2,))
        seen = spaces.Dict({"observation": box, "action_mask": spaces.MultiBinary(3)}) if mask == "observation" else box
        self.observation_space = seen if observation_space is None else observation_space
        self.action_space = spaces.Discrete(3, start=5)
        self.seeds: list[int | None] = []
        self.height = height
        self._mask = mask
        self._bend = bend
        self._bend_reset = bend_reset
        self._step = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.seeds.append(seed)
        self._step = 0
        answer = self._seen()
        return answer if self._bend_reset is None else self._bend_reset(answer)

    def step(self, action: Any) -> Answer:
        assert self.action_space.contains(action)
        self._step = min(self._step + int(action) - 5, self.height)
        at_top = self._step == self.height
        seen, info = self._seen()
        answer = (seen, float(at_top), at_top, False, info)
        return answer if self._bend is None else self._bend(answer)

    def _seen(self) -> tuple[Any, dict[str, Any]]:
        observation = np.array([self._step, self.np_random.random()], np.float32)
        # nobody takes two steps from the last one but one
        mask = np.array([1, 1, self._step < self.height - 1], np.int8)
        if self._mask == "observation":
            return {"observation": observation, "action_mask": mask}, {}
        return observation, {"action_mask": mask} if self._mask == "info" else {}


def stairs(num_worlds: int = 1, *, episode_ticks: int = 100, **settings: Any) -> SyncWorlds:
    """Worlds of stairs."""
    envs = [Stairs(**settings) for _ in range(num_worlds)]
    return SyncWorlds("gymnasium:Stairs-v0", envs, episode_ticks=episode_ticks)
