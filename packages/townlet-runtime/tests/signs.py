"""Signs to follow: a world in which a person shows in a moment what the script does not know."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import ActionVocabulary, BatchController, IdleController
from townlet_runtime import Observed, SimulationSpec, Stepped

AGENTS, TICKS = 3, 10


class Signs:
    """Walkers, each before a sign that says left (-1) or right (1): following it earns 1. The script waits.

    The signs of `walker_0` and `walker_2` say left, that of `walker_1` right.
    """

    def __init__(self, num_worlds: int) -> None:
        self.spec = SimulationSpec(
            name="signs",
            vocabulary=ActionVocabulary(keys=("wait", "left", "right"), kinds=("wait", "move", "move")),
            observation_shapes={"features": (1,)},
            feature_names=("sign",),
            num_worlds=num_worlds,
            capacity=AGENTS * num_worlds,
            episode_ticks=TICKS,
        )
        self._signs = np.tile(np.arange(AGENTS) % 2 * 2 - 1, num_worlds)
        self._tick = 0

    @property
    def behaviors(self) -> tuple[str, ...]:
        return ("scripted",)

    def scripted(self, name: str) -> BatchController:
        return IdleController(wait=0)

    def reset(self, *, seeds: NDArray[np.int64]) -> Observed:
        self._tick = 0
        return self._observed()

    def step(self, actions: NDArray[np.int64]) -> Stepped:
        followed = actions == np.where(self._signs < 0, 1, 2)
        self._tick += 1
        over = self._tick % TICKS == 0
        observed = self._observed()
        return Stepped(
            rewards=followed.astype(np.float32),
            truncated=np.full(len(actions), over),
            final_rows=np.arange(len(actions) * over),
            final_observations={"features": observed.observations["features"][: len(actions) * over]},
            observed=observed,
        )

    def _observed(self) -> Observed:
        return Observed(
            slots=np.arange(len(self._signs)),
            agent_ids=np.array([f"walker_{slot % AGENTS}" for slot in range(len(self._signs))], object),
            observations={"features": self._signs[:, None].astype(np.float32)},
        )
