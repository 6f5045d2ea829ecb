"""PettingZoo's turn-based environments (AEC) in its parallel form: whoever is not on turn waits."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pettingzoo import AECEnv
from pettingzoo.utils.conversions import aec_to_parallel, turn_based_aec_to_parallel

from townlet_runtime.adapters.agent_groups import Answer, ParallelEnv
from townlet_runtime.adapters.libraries import gymnasium
from townlet_trajectory import ACTION_MASK

spaces = gymnasium.spaces


def in_parallel(env: Any) -> ParallelEnv:
    """Return a PettingZoo environment in its parallel form.

    An AEC environment that calls itself parallelizable is converted by PettingZoo's `aec_to_parallel`, in which all
    agents act at once; any other becomes a `TurnBased` one.
    """
    if not isinstance(env, AECEnv):
        parallel: ParallelEnv = env
    elif env.metadata.get("is_parallelizable", False):
        parallel = aec_to_parallel(env)
    else:
        parallel = TurnBased(env)
    return parallel


class TurnBased:
    """A turn-based environment as a `ParallelEnv`, one turn a step, by PettingZoo's `turn_based_aec_to_parallel`.

    An agent that is not on turn is shown an action mask that allows nothing, and its action is ignored. One on turn is
    shown its own mask, or that everything is allowed.

    Args:
        env: an `AECEnv`.
    """

    def __init__(self, env: Any) -> None:
        self._env = turn_based_aec_to_parallel(env)

    @property
    def possible_agents(self) -> Sequence[Hashable]:
        agents: Sequence[Hashable] = self._env.possible_agents
        return agents

    @property
    def unwrapped(self) -> Any:
        return self._env.unwrapped

    @property
    def agents(self) -> list[Hashable]:
        """Without agents that are over, which PettingZoo may only remove when it is their turn."""
        aec = self._env.aec_env
        return [one for one in self._env.agents if not (aec.terminations[one] or aec.truncations[one])]

    def observation_space(self, agent: Hashable) -> Any:
        return self._env.observation_space(agent)

    def action_space(self, agent: Hashable) -> Any:
        return self._env.action_space(agent)

    def reset(self, seed: int | None = None) -> tuple[Answer, Answer]:
        return self._masked(*self._env.reset(seed=seed))

    def step(self, actions: Mapping[Hashable, Any]) -> tuple[Answer, Answer, Answer, Answer, Answer]:
        observations, rewards, terminated, truncated, infos = self._env.step(actions)
        seen, told = self._masked(observations, infos)
        return seen, rewards, terminated, truncated, told

    def render(self) -> Any:
        return self._env.render()

    def close(self) -> None:
        self._env.close()

    def _masked(self, observations: Answer, infos: Answer) -> tuple[Answer, Answer]:
        """Show every agent whether it is on turn, where its mask is: in the observation, else in the info."""
        seen, told = dict(observations), dict(infos)
        for agent in self.agents:
            on_turn = agent == self._env.aec_env.agent_selection
            space = self.observation_space(agent)
            if isinstance(space, spaces.Dict) and ACTION_MASK in space.spaces:
                if not on_turn:
                    seen[agent] = {**seen[agent], ACTION_MASK: self._mask(agent, 0)}
            elif not on_turn or ACTION_MASK not in told[agent]:
                told[agent] = {**told[agent], ACTION_MASK: self._mask(agent, int(on_turn))}
        return seen, told

    def _mask(self, agent: Hashable, value: int) -> NDArray[np.int8]:
        """The same for every action, of a discrete space, or every value of every part."""
        space = self.action_space(agent)
        if isinstance(space, spaces.MultiDiscrete):
            size = int(space.nvec.sum())
        elif isinstance(space, spaces.MultiBinary):
            size = 2 * int(np.prod(space.shape))
        else:
            size = int(space.n)
        return np.full(size, value, np.int8)
