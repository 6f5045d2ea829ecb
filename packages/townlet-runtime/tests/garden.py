"""A simulation of `spec`, `reset` and `step` alone, which answers in lists and leaves out everything that may be."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import ActionVocabulary
from townlet_runtime import Observed, SimulationSpec, Stepped

SPEC = SimulationSpec(
    name="garden",
    vocabulary=ActionVocabulary(keys=("rest", "dig"), kinds=("wait", "work")),
    observation_shapes={"soil": (1,)},
    num_worlds=2,
    capacity=4,  # two gardeners a world
    episode_ticks=5,
)
IDS = ("ann", "bob", "ann", "bob")


class Garden:
    """Two gardens of two gardeners. A dig is worth how soft the soil is; soil is drawn from the world's seed.

    `bend` changes the arguments of every `Stepped`, `bend_view` those of every `Observed`.
    """

    def __init__(
        self,
        num_worlds: int = 2,
        *,
        bend: Callable[[dict[str, Any]], dict[str, Any]] = dict,
        bend_view: Callable[[dict[str, Any]], dict[str, Any]] = dict,
        **spec: Any,
    ) -> None:
        self.spec = replace(SPEC, num_worlds=num_worlds, capacity=2 * num_worlds, **spec)
        self._bend, self._bend_view = bend, bend_view

    def reset(self, *, seeds: NDArray[np.int64]) -> Observed:
        self._tick, self._generators = 0, [np.random.default_rng(seed) for seed in seeds]
        return self._observe()

    def step(self, actions: NDArray[np.int64]) -> Stepped:
        self._tick += 1
        earned = [soil * int(action) for (soil,), action in zip(self._soil, actions, strict=True)]
        over = self._tick % self.spec.episode_ticks == 0
        answer = {"rewards": earned, "observed": self._observe()}
        if over:
            answer |= {"truncated": [1] * len(earned), "final_observations": {"soil": self._soil}}
        return Stepped(**self._bend(answer))

    def _observe(self) -> Observed:
        self._soil = [[float(draw)] for one in self._generators for draw in one.random(2)]
        ids = list(IDS[:2]) * self.spec.num_worlds
        answer = {"slots": list(range(len(ids))), "agent_ids": ids, "observations": {"soil": self._soil}}
        return Observed(**self._bend_view(answer))
