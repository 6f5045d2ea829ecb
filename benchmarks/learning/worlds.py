"""Worlds and scripts of the items that no library registers."""

from __future__ import annotations

import hashlib

import gymnasium
import numpy as np
from numpy.typing import NDArray

from townlet_behavior import StatelessController
from townlet_runtime import Observed, SimulationSpec
from townlet_runtime.adapters.gymnasium_worlds import lunar_lander_heuristic

NOISE = 0.3
"""Share of the decisions of `noisy_lander` that are drawn uniformly."""


def without_velocities() -> gymnasium.Env[NDArray[np.float32], int]:
    """CartPole that shows the position and the angle alone: what moves must be remembered."""
    env = gymnasium.make("CartPole-v1", disable_env_checker=True).unwrapped
    shown = [0, 2]
    space = gymnasium.spaces.Box(env.observation_space.low[shown], env.observation_space.high[shown], dtype=np.float32)
    return gymnasium.wrappers.TransformObservation(env, lambda seen: np.asarray(seen, np.float32)[shown], space)


gymnasium.register("CartPolePositions-v0", entry_point=without_velocities, max_episode_steps=500)


class NoisyLander(StatelessController):
    """Gymnasium's heuristic of LunarLander, `NOISE` of whose decisions are uniform over all actions.

    What is drawn is a hash of what the lander sees, which never repeats: the script has no state, and so a run can be
    resumed and an episode played again.
    """

    def __init__(self, spec: SimulationSpec) -> None:
        self._heuristic = lunar_lander_heuristic(spec)
        self._num_actions = len(spec.vocabulary)

    def propose(self, view: Observed) -> NDArray[np.int64]:
        proposals = self._heuristic.propose(view)
        for row, seen in enumerate(view.observations["observation"]):
            bits = int.from_bytes(hashlib.blake2b(seen.tobytes(), digest_size=16).digest(), "little")
            coin, action = divmod(bits, 2**64)
            if coin < NOISE * 2.0**64:
                proposals[row] = action % self._num_actions
        return proposals


def noisy_lander(spec: SimulationSpec) -> NoisyLander:
    """Make the script of a group."""
    return NoisyLander(spec)
