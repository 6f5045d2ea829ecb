"""One town as a PettingZoo environment. The only module of the town that imports PettingZoo and Gymnasium."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias, TypedDict

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from townlet_runtime.errors import SimulationError, TownConfigError
from townlet_runtime.simulation.interface import Observations, Observed, Stepped
from townlet_runtime.town.config import TownConfig
from townlet_runtime.town.render import render_lines
from townlet_runtime.town.town import Town

_NOBODY = np.empty(0, dtype=np.int64)


class Told(TypedDict):
    """What an agent is told beside what it sees."""

    action_mask: NDArray[np.int8]
    """[A]."""


class Seen(Told):
    """What an agent sees."""

    observation: dict[str, NDArray[np.float32]]


Outcome: TypeAlias = tuple[dict[str, Seen], dict[str, float], dict[str, bool], dict[str, bool], dict[str, Told]]
"""Observations, rewards, terminations, truncations, infos; by agent."""


# PettingZoo is published without types: its classes are `Any`.
class ParallelTown(ParallelEnv):  # type: ignore[misc]
    """A PettingZoo `ParallelEnv`; `townlet_runtime.town.parallel_env` makes and describes it.

    An agent is called by its id in the town in its first life of an episode, `ID#2` in its second, and so on.

    Args:
        config: the town; its delays say who comes back in an episode.
        render_mode: `"ansi"` or None.

    Raises:
        TownConfigError: an unknown render mode, or an id that reads like another agent's later life.
    """

    def __init__(self, config: TownConfig, *, render_mode: str | None) -> None:
        if render_mode not in (None, "ansi"):
            raise TownConfigError(f"expected 'ansi' or none, got {render_mode!r}", key="render_mode")
        self.config = config
        self.render_mode = render_mode
        self._town = Town(config, num_worlds=1)
        spec = self._town.spec
        self.metadata = {
            "name": "town_v0",
            "render_modes": ["ansi"],
            "is_parallelizable": True,
            "actions": list(spec.vocabulary.keys),
        }
        self._num_lives = num_lives(config)
        # Who begins an episode does not depend on its seed.
        ids = self._town.reset(seeds=np.zeros(1, np.int64)).agent_ids.tolist()
        self.possible_agents = [_name(i, life) for life in range(1, self._num_lives + 1) for i in ids]
        if len(set(self.possible_agents)) < len(self.possible_agents):
            raise TownConfigError("expected no id that reads like another agent's later life (`ID#2`)", key="agents")
        num_actions = len(spec.vocabulary)
        seen = spaces.Dict(
            {
                "observation": spaces.Dict({name: _numbers(s) for name, s in spec.observation_shapes.items()}),
                "action_mask": spaces.Box(0, 1, (num_actions,), np.int8),
            }
        )
        # All see the same kind of thing; what is sampled from an action space is each agent's own.
        self.observation_spaces = dict.fromkeys(self.possible_agents, seen)
        self.action_spaces = {name: spaces.Discrete(num_actions) for name in self.possible_agents}
        self.state_space = _numbers((spec.capacity, *spec.observation_shapes["features"]))
        self.agents: list[str] = []
        self._num_actions, self._wait = num_actions, spec.vocabulary.wait
        # Gymnasium's rule: without any seed the operating system's entropy seeds the first episode.
        self._seeds = np.random.default_rng()
        self.np_random_seed: int | None = None
        """Seed of the present episode, given or drawn: `reset` with it repeats the episode."""
        self._names: dict[str, str] = {}
        self._slots = _NOBODY
        self._lives: dict[str, int] = {}
        self._tick = 0
        self._state = np.zeros(self.state_space.shape, dtype=np.float32)
        self._last_picture: str | None = None

    def observation_space(self, agent: str) -> spaces.Dict:
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Discrete:
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: Mapping[str, object] | None = None
    ) -> tuple[dict[str, Seen], dict[str, Told]]:
        if seed is None:
            seed = int(self._seeds.integers(2**31))
        else:
            self._seeds = np.random.default_rng(seed)
        self._names, self._lives, self._tick, self._last_picture = {}, {}, 0, None
        self.np_random_seed = seed
        seen = self._meet(self._town.reset(seeds=np.array([seed], np.int64)))
        return seen, _told(seen)

    def step(self, actions: Mapping[str, int]) -> Outcome:
        """Step everybody once.

        Raises:
            SimulationError: before the first `reset`, or unless every agent has exactly one action of its space.
        """
        if not self._lives:
            raise SimulationError("expected `reset` before the first `step`")
        if not self.agents:
            return {}, {}, {}, {}, {}
        acted = list(self._names.values())
        stepped = self._advance(self._row_actions(actions))
        seen = self._part(stepped)
        observed = stepped.observed
        while self._goes_on and self._num_lives > 1 and not len(observed.slots):
            observed = self._advance(_NOBODY).observed
        if self._goes_on:
            seen |= self._meet(observed)
        return (
            seen,
            dict.fromkeys(seen, 0.0) | dict(zip(acted, stepped.rewards.tolist(), strict=True)),
            dict.fromkeys(seen, False) | dict(zip(acted, stepped.terminated.tolist(), strict=True)),
            dict.fromkeys(seen, False) | dict(zip(acted, stepped.truncated.tolist(), strict=True)),
            _told(seen),
        )

    def state(self) -> NDArray[np.float32]:
        return self._state

    def render(self) -> str | None:
        if self.render_mode is None:
            gymnasium.logger.warn("a town that was made without a `render_mode` draws nothing; make it with 'ansi'")
            return None
        return self._draw() if self._last_picture is None else self._last_picture

    @property
    def _goes_on(self) -> bool:
        """Whether the town is still in the episode that was begun."""
        return self._tick < self.config.episode_ticks

    def _draw(self) -> str:
        return "\n".join(render_lines(self._town))

    def _advance(self, actions: NDArray[np.int64]) -> Stepped:
        self._tick += 1
        if self.render_mode is not None and not self._goes_on:
            # The town begins anew in its last tick: this is the last chance to see the old one.
            self._last_picture = self._draw()
        return self._town.step(actions)

    def _row_actions(self, actions: Mapping[str, int]) -> NDArray[np.int64]:
        """[N]; in the order of the rows."""
        if actions.keys() != set(self.agents):
            odd = sorted(actions.keys() ^ set(self.agents))
            raise SimulationError(f"expected an action of each of `agents` and of nobody else; it differs in {odd}")
        for name, action in actions.items():
            space = self.action_spaces[name]
            if not space.contains(action):
                raise SimulationError(f"{name}: expected an action from 0 to {space.n - 1}, got {action!r}")
        return np.array([actions[name] for name in self.agents], dtype=np.int64)

    def _part(self, stepped: Stepped) -> dict[str, Seen]:
        """Let go of whose life has ended; return the last they see."""
        rows = stepped.final_rows
        ids = list(self._names)
        names = [self._names.pop(ids[row]) for row in rows.tolist()]
        self._show(self._slots[rows], stepped.final_observations["features"])
        self.agents = list(self._names.values())
        masks = np.zeros((len(names), self._num_actions), dtype=np.int8)
        masks[:, self._wait] = 1
        return _seen(names, stepped.final_observations, masks)

    def _meet(self, observed: Observed) -> dict[str, Seen]:
        """Name everybody present, in the order of the rows, and return what they see."""
        ids = observed.agent_ids.tolist()
        for new in (i for i in ids if i not in self._names):
            self._lives[new] = self._lives.get(new, 0) + 1
            self._names[new] = _name(new, self._lives[new])
        self._names = {i: self._names[i] for i in ids}
        self.agents = list(self._names.values())
        self._slots = observed.slots
        self._show(observed.slots, observed.observations["features"])
        return _seen(self.agents, observed.observations, np.array(observed.action_mask, dtype=np.int8))

    def _show(self, slots: NDArray[np.int64], features: NDArray[np.float32]) -> None:
        """Make the global state, with zeros for who is not there."""
        self._state = np.zeros(self.state_space.shape, dtype=np.float32)
        self._state[slots] = features


def num_lives(config: TownConfig) -> int:
    """Return how often an agent can be born in one episode at the most.

        1 + ⌊(T - 1) / (1 + d)⌋

    T is the length of an episode, d the shorter one of the delays after fainting and on a journey, if there are any
    journeys: a life takes a tick or more, then d ticks pass, and nobody arrives in the last tick.
    """
    lifecycle = config.lifecycle
    delay = lifecycle.respawn_delay_ticks
    if lifecycle.departure_rate > 0.0:
        delay = min(delay, lifecycle.away_ticks)
    return 1 + (config.episode_ticks - 1) // (1 + delay)


def _name(agent_id: str, life: int) -> str:
    return agent_id if life == 1 else f"{agent_id}#{life}"


def _numbers(shape: tuple[int, ...]) -> spaces.Box:
    return spaces.Box(-np.inf, np.inf, shape, np.float32)


def _seen(names: Iterable[str], observations: Observations, masks: NDArray[np.int8]) -> dict[str, Seen]:
    """What is seen by agent, from arrays with a row for each."""
    columns = observations.items()
    return {
        name: {"observation": {key: column[row] for key, column in columns}, "action_mask": masks[row]}
        for row, name in enumerate(names)
    }


def _told(seen: Mapping[str, Seen]) -> dict[str, Told]:
    return {name: {"action_mask": one["action_mask"]} for name, one in seen.items()}
