"""A PettingZoo environment whose agents leave and come back, and that breaks what it is told to break."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces

from townlet_runtime.adapters.parallel_worlds import ParallelWorlds

RIDERS = ("rider_0", "rider_1")
PORTER = "porter"


@dataclass
class Answers:
    """What a step answers, to be bent."""

    tick: int
    observations: Any
    rewards: Any
    terminations: Any
    truncations: Any
    infos: Any


@dataclass
class Coach:
    """Two riders and a porter; not a subclass of anything, because none is needed.

    Every action of a rider (0 or 1) is worth itself; the porter's are worth nothing. `rider_1` gets out (terminated) at
    tick 2 and is back at tick 4; at tick 6 everybody is truncated. Riders see the tick, the sum of all actions and a
    drawn number; the porter sees the tick, and may choose action 2 at odd ticks only.
    """

    bend: Callable[[Answers], None] | None = None
    returns: bool = True
    length: int = 6
    unseeded: bool = False
    seeds: list[int | None] = field(default_factory=list)
    possible_agents: list[str] = field(default_factory=lambda: [RIDERS[0], PORTER, RIDERS[1]])

    def __post_init__(self) -> None:
        self.closed = False
        self.agents: list[str] = []
        self._rider = spaces.Box(-np.inf, np.inf, (3,))
        self._porter = spaces.Dict({"observation": spaces.Box(0, 9, (1,)), "action_mask": spaces.MultiBinary(3)})

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        return self._porter if agent == PORTER else self._rider

    def action_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Discrete(3 if agent == PORTER else 2)

    def close(self) -> None:
        self.closed = True

    def reset(self, seed: int | None = None, options: None = None) -> tuple[Any, Any]:
        self.seeds.append(seed)
        self._generator = np.random.default_rng(None if self.unseeded else seed)
        self._tick, self._sum = 0, 0
        self.agents = list(self.possible_agents)
        answers = Answers(0, self._see(self.agents), {}, {}, {}, {agent: {} for agent in self.agents})
        if self.bend is not None:
            self.bend(answers)
        return answers.observations, answers.infos

    def step(self, actions: dict[str, Any]) -> tuple[Any, Any, Any, Any, Any]:
        assert list(actions) == self.agents, (actions, self.agents)
        self._tick += 1
        self._sum += sum(int(action) for action in actions.values())
        acting = list(self.agents)
        ends = {agent: agent == RIDERS[1] and self._tick == 2 for agent in acting}
        cuts = dict.fromkeys(acting, self._tick == self.length)
        self.agents = [agent for agent in acting if not (ends[agent] or cuts[agent])]
        if self.returns and self._tick == 4:
            self.agents.append(RIDERS[1])
        answers = Answers(
            self._tick,
            self._see([*acting, *[agent for agent in self.agents if agent not in acting]]),
            {agent: 0.0 if agent == PORTER else float(actions[agent]) for agent in acting},
            ends,
            cuts,
            {agent: {} for agent in acting},
        )
        if self.bend is not None:
            self.bend(answers)
        return answers.observations, answers.rewards, answers.terminations, answers.truncations, answers.infos

    def _see(self, agents: list[str]) -> dict[str, Any]:
        drawn = self._generator.random()
        seen: dict[str, Any] = {}
        for agent in agents:
            if agent == PORTER:
                mask = np.array([1, 1, self._tick % 2], np.int8)
                seen[agent] = {"observation": np.array([self._tick], np.float32), "action_mask": mask}
            else:
                seen[agent] = np.array([self._tick, self._sum, drawn], np.float64)
        return seen


class TimedCoach(Coach):
    """Says how long its episodes are, as PettingZoo's own environments do."""

    @property
    def unwrapped(self) -> TimedCoach:
        return self

    @property
    def max_cycles(self) -> int:
        return self.length


def coaches(num_worlds: int = 1, *, episode_ticks: int = 50, **settings: Any) -> ParallelWorlds:
    """Worlds of coaches."""
    envs = [Coach(**settings) for _ in range(num_worlds)]
    return ParallelWorlds("pettingzoo:coach", envs, episode_ticks=episode_ticks)


DRIVERS, GUARD, CALLER = ("driver_0", "driver_1"), "guard", "caller"


@dataclass
class Convoy:
    """Drivers steer by two numbers, a guard has two parts, masked, and a caller a choice of three. One state for all.

    Everybody earns the sum of all that was done, each part counted as its number. Both drivers leave at tick 3; at
    tick 5 everybody is truncated. The global state is the tick and the sum.
    """

    broken_state: object = None
    state_space: object = field(default_factory=lambda: spaces.Box(-np.inf, np.inf, (2,)))
    possible_agents: list[str] = field(default_factory=lambda: [DRIVERS[0], GUARD, CALLER, DRIVERS[1]])

    def __post_init__(self) -> None:
        self.agents: list[str] = []

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Box(-np.inf, np.inf, (1,))

    def action_space(self, agent: str) -> spaces.Space[Any]:
        parts = {GUARD: spaces.MultiDiscrete([2, 3]), CALLER: spaces.Discrete(3)}
        return parts.get(agent, spaces.Box(-1.0, 1.0, (2,)))

    def close(self) -> None:
        pass

    def reset(self, seed: int | None = None, options: None = None) -> tuple[Any, Any]:
        self._generator = np.random.default_rng(seed)
        self._tick, self._sum = 0, 0.0
        self.agents = list(self.possible_agents)
        return self._see(self.agents)

    def step(self, actions: dict[str, Any]) -> tuple[Any, Any, Any, Any, Any]:
        assert all(self.action_space(agent).contains(action) for agent, action in actions.items()), actions
        self._tick += 1
        done = float(sum(np.sum(action) for action in actions.values()))
        self._sum += done
        acting = list(self.agents)
        ends = {agent: agent in DRIVERS and self._tick == 3 for agent in acting}
        cuts = dict.fromkeys(acting, self._tick == 5)
        self.agents = [agent for agent in acting if not (ends[agent] or cuts[agent])]
        seen, infos = self._see(acting)
        return seen, dict.fromkeys(acting, done), ends, cuts, infos

    def state(self) -> Any:
        return np.array([self._tick, self._sum], np.float64) if self.broken_state is None else self.broken_state

    def _see(self, agents: list[str]) -> tuple[Any, Any]:
        seen = {agent: np.array([self._generator.random()], np.float32) for agent in agents}
        masks = {GUARD: {"action_mask": ([1, 1], [1, 0, self._tick % 2])}}
        return seen, {agent: masks.get(agent, {}) for agent in agents}
