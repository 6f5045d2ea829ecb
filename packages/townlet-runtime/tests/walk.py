"""A very small environment for Gymnasium, registered as `Walk-v0`, and a script for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import numpy as np
from numpy.typing import NDArray

from townlet_behavior import BatchController, Guardrail, StatelessGuardrail, Verdicts, View
from townlet_runtime.adapters.controllers import ObservationController
from townlet_runtime.simulation.interface import SimulationSpec

NAME = "gymnasium:Walk-v0"
CONTROLLER = "walk:script"
LENGTH = 6
SMALL = [
    "--env", NAME, "--num-envs", "2", "--threads", "1", "--total-steps", "260",
    "--set", "network.hidden_sizes=[8]", "--set", "training.rollout_ticks=20", "--set", "ppo.num_epochs=1",
    "--set", "anneal.clone_ticks=50", "--set", "anneal.warmup_updates=1", "--set", "training.bc.epochs=1",
    "--set", "training.anneal_accuracy_threshold=0", "--set", "gates.kept_fraction=0",
    "--set", "training.eval_every=3", "--set", "training.eval_episodes=10", "--set", "training.final_episodes=10",
    "--set", "promotion.num_episodes=10", "--set", "gates.num_resamples=100", "--set", "promotion.num_resamples=100",
]  # fmt: skip
"""Options of a run that is as small as can be; with the script it is an anneal."""


@dataclass
class Census:
    """How many environments were made and closed, and how many were open at once."""

    made: int = 0
    closed: int = 0
    most: int = 0

    @property
    def alive(self) -> int:
        return self.made - self.closed

    def open(self) -> None:
        self.made += 1
        self.most = max(self.most, self.alive)

    def shut(self) -> None:
        self.closed += 1


class Walk(gymnasium.Env[NDArray[np.float32], np.int64]):
    """A line of cells; whoever comes to its right end has won 1.

    Args:
        breaks_at: step of an episode whose observation is NaN.
    """

    observation_space = gymnasium.spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    census: ClassVar[Census]

    def __init__(self, breaks_at: int | None = None) -> None:
        self._breaks_at = breaks_at
        self.census.open()

    def close(self) -> None:
        self.census.shut()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        self._cell, self._steps = int(self.np_random.integers(LENGTH - 2)), 0
        return self._seen(), {}

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        self._cell = max(0, self._cell + (1 if action else -1))
        self._steps += 1
        arrived = self._cell == LENGTH - 1
        return self._seen(), float(arrived), arrived, False, {}

    def _seen(self) -> NDArray[np.float32]:
        broken = self._breaks_at is not None and self._steps >= self._breaks_at
        return np.array([np.nan if broken else self._cell / LENGTH], np.float32)


Walk.census = Census()


def script(spec: SimulationSpec) -> BatchController:
    """Always to the right."""
    return ObservationController(lambda observations, agent_id: 1)


def failing(spec: SimulationSpec) -> BatchController:
    """Raises as soon as it is asked."""
    return ObservationController(lambda observations, agent_id: 1 // 0)


class Calm(StatelessGuardrail):
    """Has nothing against any action."""

    reasons = ("never",)

    def review(self, view: View, actions: NDArray[np.int64]) -> Verdicts:
        nothing = np.zeros(len(actions), np.int8)
        return Verdicts(vetoed=nothing.view(np.bool_), replacement=actions, reason=nothing)


def calm(spec: SimulationSpec) -> Guardrail:
    """A rule that changes nothing."""
    return Calm()


other = calm


def register() -> None:
    """Make the environment known to Gymnasium."""
    if "Walk-v0" not in gymnasium.registry:
        gymnasium.register("Walk-v0", entry_point=Walk, max_episode_steps=12)
