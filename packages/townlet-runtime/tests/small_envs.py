"""Environments of Gymnasium that are small enough to know by heart, and that break what they are told to break."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from townlet_runtime.adapters.gymnasium_sync import SyncWorlds
from townlet_runtime.adapters.spaces.settings import SpaceSettings

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


class Cart(gymnasium.Env[Any, Any]):
    """A cart that is pushed by a number in [-2, 0.1] and a fixed one, 3; the reward is minus what was pushed, squared.

    Observed are its place, and a number that is drawn at every tick from the episode's seed.
    """

    def __init__(self, *, mask: bool = False) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,))
        low, high = np.array([-2.0, 3.0]), np.array([0.1, 3.0])
        self.action_space = spaces.Box(low, high, dtype=np.float64)
        self._mask = mask

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._place = 0.0
        return self._seen(), {"action_mask": [1, 1]} if self._mask else {}

    def step(self, action: Any) -> Answer:
        assert self.action_space.contains(action) and action[1] == 3.0
        self._place += float(action[0])
        return self._seen(), -(float(action[0]) ** 2), False, False, {}

    def _seen(self) -> Any:
        return np.array([self._place, self.np_random.random()], np.float32)


class Lock(gymnasium.Env[Any, Any]):
    """A lock of three rings of 50, 2 and 40 letters. A ring that was turned last may not be put where it was.

    Seen are a grey picture [4, 5], a board of two kinds of cells [2, 3] and up to `most` letters that were tried last.
    """

    def __init__(self, *, most: int = 3) -> None:
        self._most = most
        self.action_space = spaces.MultiDiscrete([50, 2, 40], start=[0, 1, 0])
        letters = spaces.Sequence(spaces.Box(0.0, 50.0, (3,)))
        pictures = {"board": spaces.MultiDiscrete(np.full((2, 3), 2)), "picture": spaces.Box(0, 255, (4, 5), np.uint8)}
        self.observation_space = spaces.Dict({"tried": letters, **pictures})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._tried: list[Any] = []
        return self._seen()

    def step(self, action: Any) -> Answer:
        assert self.action_space.contains(action), action
        assert not self._tried or action[0] != self._tried[-1][0]
        self._tried = [*self._tried, np.array(action, np.float32)][-self._most :]
        seen, info = self._seen()
        return seen, float(action[0] == 7), False, False, info

    def _seen(self) -> tuple[Any, dict[str, Any]]:
        first = np.ones(50, np.int8)
        if self._tried:
            first[int(self._tried[-1][0])] = 0
        picture = self.np_random.integers(0, 256, (4, 5)).astype(np.uint8)
        seen = {"tried": tuple(self._tried), "board": self.np_random.integers(0, 2, (2, 3)), "picture": picture}
        return seen, {"action_mask": (first, np.ones(2, np.int8), np.ones(40, np.int8))}


LOCK = SpaceSettings(
    max_entities=3, observation_kinds={"board": "channels_last", "picture": "channels_first", "tried": "entities"}
)
"""How a lock is seen."""
