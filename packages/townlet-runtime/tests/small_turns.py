"""A turn-based environment of PettingZoo that is small enough to know by heart."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo import AECEnv
from pettingzoo.utils import AgentSelector

ANN, BOB, EVE = "ann", "bob", "eve"


class Nim(AECEnv):  # type: ignore[misc]
    """A heap; in turn, each takes 1 (action 0) or 2 (action 1). Who takes the last wins 1, the others lose 1.

    Seen are the heap, and a drawn number. Eve, where she plays, gets out after her first turn.

    Args:
        heap: at the start.
        mask: `observation`, `info` or None: where it is said that 2 cannot be taken from 1.
        eve: plays after bob.
        max_cycles: after so many turns of everybody all are truncated.
        parallel: what the environment says of itself.
    """

    def __init__(
        self,
        *,
        heap: int = 5,
        mask: str | None = "observation",
        eve: bool = False,
        max_cycles: int = 40,
        parallel: bool = False,
        render_mode: str | None = None,
    ) -> None:
        self.possible_agents = [ANN, BOB, EVE] if eve else [ANN, BOB]
        self.metadata = {"name": "nim_v0", "is_parallelizable": parallel}
        self.max_cycles = max_cycles
        self.render_mode = render_mode
        self.closed = False
        self._start, self._where = heap, mask
        box = spaces.Box(0.0, np.inf, (2,))
        masked = spaces.Dict({"heap": box, "action_mask": spaces.MultiBinary(2)})
        self._spaces = {one: masked if mask == "observation" else box for one in self.possible_agents}
        self._actions = {one: spaces.Discrete(2) for one in self.possible_agents}

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        return self._spaces[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        return self._actions[agent]

    def reset(self, seed: int | None = None, options: object = None) -> None:
        self._drawn = float(np.random.default_rng(seed).random())
        self._heap, self._turns = self._start, 0
        self.agents = self.possible_agents[:]
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self._selector = AgentSelector(self.agents)
        self.agent_selection = self._selector.reset()
        self._tell()

    def observe(self, agent: str) -> Any:
        seen = np.array([self._heap, self._drawn], np.float32)
        return {"heap": seen, "action_mask": self._mask()} if self._where == "observation" else seen

    def step(self, action: int | None) -> None:
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            self._was_dead_step(action)
            self._selector.reinit(self.agents)
            return
        assert action in (0, 1) and (self._heap > 1 or action == 0), (agent, action)
        self._heap -= 1 + int(action)
        self._turns += 1
        self._cumulative_rewards[agent] = 0.0
        self.rewards = dict.fromkeys(self.agents, 0.0)
        if self._heap == 0:
            self.rewards = {one: 1.0 if one == agent else -1.0 for one in self.agents}
            self.terminations = dict.fromkeys(self.agents, True)
        elif agent == EVE:
            self.terminations[EVE] = True
        if self._turns == self.max_cycles * len(self.possible_agents):
            self.truncations = dict.fromkeys(self.agents, True)
        self.agent_selection = self._selector.next()
        self._accumulate_rewards()
        self._tell()
        self._deads_step_first()

    def render(self) -> str:
        return "|" * self._heap

    def close(self) -> None:
        self.closed = True

    def _mask(self) -> Any:
        return np.array([1, self._heap > 1], np.int8)

    def _tell(self) -> None:
        self.infos = {one: {"action_mask": self._mask()} if self._where == "info" else {} for one in self.agents}
