"""Agents of a PettingZoo environment: groups with equal spaces, which share a vocabulary and a network; one world."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Protocol

import numpy as np

from townlet_runtime.adapters.spaces.actions import ActionCodec, action_codec
from townlet_runtime.adapters.spaces.answers import BOOLS, array_of
from townlet_runtime.adapters.spaces.gymnasium_library import gymnasium, spaces
from townlet_runtime.adapters.spaces.observations import ObservationCodec
from townlet_runtime.adapters.spaces.settings import SpaceSettings
from townlet_runtime.errors import ConfigError, EnvironmentFaultError
from townlet_runtime.simulation.interface import AGENTS

Space = gymnasium.Space[Any]

GLOBAL_STATE = "global_state"
"""Name of what critics see of the whole world."""


class ParallelEnv(Protocol):
    """PettingZoo's parallel interface, with agents that are known beforehand."""

    @property
    def agents(self) -> Sequence[Hashable]: ...

    @property
    def possible_agents(self) -> Sequence[Hashable]: ...

    def observation_space(self, agent: Any) -> Space: ...

    def action_space(self, agent: Any) -> Space: ...

    def reset(self, seed: int | None = None) -> tuple[Mapping[Any, Any], Mapping[Any, Any]]: ...

    def close(self) -> None: ...

    def step(
        self, actions: Any
    ) -> tuple[Mapping[Any, Any], Mapping[Any, Any], Mapping[Any, Any], Mapping[Any, Any], Mapping[Any, Any]]: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class AgentGroup:
    """Agents with equal spaces."""

    name: str
    agents: tuple[Hashable, ...]
    """As the environment names them, in its order."""
    places: tuple[int, ...]
    """Positions of the agents among all agents of the environment."""
    observations: ObservationCodec
    actions: ActionCodec

    @property
    def agent_ids(self) -> tuple[str, ...]:
        return tuple(map(str, self.agents))

    @property
    def action_shape(self) -> tuple[int, ...]:
        """Of one action: () of an index, [K] of parts or numbers."""
        return () if self.actions.arrays is None else self.actions.arrays.shape


def agent_groups(environment: str, env: ParallelEnv, settings: SpaceSettings) -> tuple[AgentGroup, ...]:
    """The groups of an environment, in the order of their first agents.

    Args:
        environment: its name.
        env: the environment.
        settings: how its spaces are read.

    Raises:
        ConfigError: if nothing can learn in a group's spaces, or the agents are not known beforehand.
    """
    own = spaces_of(environment, env)
    if not own:
        raise ConfigError(f"`{environment}` has no agents", key="environment.name")
    groups: list[tuple[tuple[Space, Space], list[Hashable]]] = []
    for agent, pair in own.items():
        if all(known != pair for known, _ in groups):
            groups.append((pair, []))
        next(members for known, members in groups if known == pair).append(agent)
    names = group_names([[str(agent) for agent in agents] for _, agents in groups])
    places = {agent: place for place, agent in enumerate(own)}
    return tuple(
        AgentGroup(
            name=name,
            agents=tuple(agents),
            places=tuple(places[agent] for agent in agents),
            observations=ObservationCodec(seen, environment=environment, settings=settings),
            actions=action_codec(done, environment=environment, form=settings.actions),
        )
        for name, ((seen, done), agents) in zip(names, groups, strict=True)
    )


def spaces_of(environment: str, env: ParallelEnv) -> dict[Hashable, tuple[Space, Space]]:
    """The observation and the action space of every possible agent, in the environment's order.

    Raises:
        ConfigError: if the environment does not say.
    """
    try:
        agents = list(env.possible_agents)
        found: dict[Hashable, tuple[Space, Space]] = {
            agent: (env.observation_space(agent), env.action_space(agent)) for agent in agents
        }
    except Exception as error:  # somebody else's code
        raise ConfigError(
            f"`{environment}` must say who its `possible_agents` are and what their spaces are:"
            f" {type(error).__name__}: {error}",
            key="environment.name",
        ) from error
    if len({str(agent) for agent in agents}) != len(agents):
        raise ConfigError(f"the agents of `{environment}` must have unique ids, got {agents}", key="environment.name")
    return found


def state_codec(environment: str, env: Any, settings: SpaceSettings) -> ObservationCodec:
    """Return the codec of an environment's global state, PettingZoo's `state()` in its `state_space`.

    Args:
        environment: its name.
        env: the environment.
        settings: how its spaces are read.

    Raises:
        ConfigError: if the environment does not say its `state_space`.
    """
    try:
        space = env.state_space
    except AttributeError:
        space = None
    if not isinstance(space, gymnasium.Space):
        expected = f"expected `{environment}` to have a `state_space`, of what its `state()` returns"
        raise ConfigError(f"{expected}, got {space!r}", key="environment.global_state")
    return ObservationCodec(spaces.Dict({GLOBAL_STATE: space}), environment=environment, settings=settings)


def group_names(groups: Sequence[Sequence[str]]) -> list[str]:
    """A name for each group of agent ids, usable in a file name.

    `agents` where there is one group; else the common beginning of the ids without a trailing number, where that tells
    the groups apart; else the id of the first agent.
    """
    if len(groups) == 1:
        return [AGENTS]
    beginnings = [re.sub(r"[_\-\d]+$", "", _common_beginning(ids)) for ids in groups]
    names = [
        beginning if beginning and beginnings.count(beginning) == 1 else ids[0]
        for beginning, ids in zip(beginnings, groups, strict=True)
    ]
    if len(set(names)) != len(names):
        names = [ids[0] for ids in groups]
    safe = [re.sub(r"[^A-Za-z0-9_\-]", "_", name) for name in names]
    return safe if len(set(safe)) == len(safe) else [f"group_{index}" for index in range(len(groups))]


def _common_beginning(ids: Sequence[str]) -> str:
    pairs = zip(min(ids), max(ids), strict=False)
    return "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


Answer = Mapping[Any, Any]


class ParallelWorld:
    """Keeps the last answers of an environment by agent, after checking that they are complete.

    Args:
        environment: its name.
        env: the environment.
        world: index of this world.
        agents: all that there may be.
        with_state: whether the global state is asked for.
    """

    def __init__(
        self, environment: str, env: ParallelEnv, *, world: int, agents: Set[Hashable], with_state: bool
    ) -> None:
        self._environment = environment
        self._env = env
        self._world = world
        self._agents = agents
        self._stateful: Any = env if with_state else None
        self.state: Answer = {}
        """The global state by its name, where it is asked for."""
        self.present: tuple[Hashable, ...] = ()
        """Who acts next, in the environment's order."""
        self.observations: Answer = {}
        """Of who is present, and of who acted last."""
        self.rewards: Answer = {}
        """Of who acted last."""
        self.terminated: Answer = {}
        self.truncated: Answer = {}
        self.infos: Answer = {}

    def begin(self, seed: int, *, tick: int) -> None:
        """Begin an episode.

        Raises:
            EnvironmentFaultError: if the environment breaks its interface.
        """
        try:
            observations, infos = self._env.reset(seed=seed)
            present = tuple(self._env.agents)
        except Exception as error:  # somebody else's code
            raise self.fault(f"`reset` failed with {type(error).__name__}: {error}", tick) from error
        self._require_mappings({"observations": observations, "infos": infos}, tick)
        self.observations, self.infos = observations, infos
        self._look(tick)
        self._enter(present, tick)
        if not present:
            raise self.fault("expected agents after `reset`, got none", tick)

    def step(self, actions: Mapping[Hashable, Any], *, tick: int) -> None:
        """Step every agent that is present.

        Raises:
            EnvironmentFaultError: if the environment breaks its interface.
        """
        acting = self.present
        try:
            answers = self._env.step({agent: actions[agent] for agent in acting})
            observations, rewards, terminated, truncated, infos = answers
            present = tuple(self._env.agents)
        except Exception as error:  # somebody else's code
            raise self.fault(f"`step` failed with {type(error).__name__}: {error}", tick) from error
        ends = {"terminations": terminated, "truncations": truncated}
        outcome = {"observations": observations, "rewards": rewards, **ends}
        self._require_mappings({**outcome, "infos": infos}, tick)
        for name, answer in outcome.items():
            self._require_agents(name, answer, acting, tick)
        for name, answer in ends.items():
            for agent in acting:
                if type(answer[agent]) not in BOOLS:
                    raise self.fault(f"expected a bool among the {name}, got {answer[agent]!r}", tick, agent=agent)
        self.observations, self.rewards, self.infos = observations, rewards, infos
        self.terminated, self.truncated = terminated, truncated
        self._look(tick)
        ended = {agent for agent in acting if terminated[agent] or truncated[agent]}
        if ended:
            present = self._without(ended, present, tick)
        vanished = set(acting) - ended - set(present)
        if vanished:
            raise self.fault("left `agents` without being terminated or truncated", tick, agent=min(vanished, key=str))
        for agent in rewards.keys() - set(acting) if len(rewards) != len(acting) else ():
            if np.any(array_of(rewards[agent]) != 0):
                problem = f"expected a reward of those who acted alone, got {rewards[agent]!r}"
                raise self.fault(problem, tick, agent=agent)
        self._enter(present, tick)

    def _look(self, tick: int) -> None:
        if self._stateful is None:
            return
        try:
            self.state = {GLOBAL_STATE: self._stateful.state()}
        except Exception as error:  # somebody else's code
            raise self.fault(f"`state` failed with {type(error).__name__}: {error}", tick) from error

    def fault(self, problem: str, tick: int, *, agent: Hashable | None = None) -> EnvironmentFaultError:
        """Make the error of a breach in this world.

        Args:
            problem: what was expected and what came.
            tick: of the breach.
            agent: it concerns; None: the whole world.
        """
        agent_id = None if agent is None else str(agent)
        return EnvironmentFaultError(self._environment, problem, world=self._world, agent_id=agent_id, tick=tick)

    def _without(self, ended: set[Hashable], present: tuple[Hashable, ...], tick: int) -> tuple[Hashable, ...]:
        """Return the agents that go on. An environment may forget to clear `agents` at the very end, but not before."""
        staying = tuple(agent for agent in present if agent not in ended)
        if staying and len(staying) != len(present):
            dead = next(agent for agent in present if agent in ended)
            raise self.fault("expected it to leave `agents` with its end, it is still there", tick, agent=dead)
        return staying

    def _enter(self, present: tuple[Hashable, ...], tick: int) -> None:
        """These agents act next: known, once each, and with something to see."""
        for agent in present:
            if agent not in self._agents:
                raise self.fault("expected one of `possible_agents`, got another agent", tick, agent=agent)
            if agent not in self.observations:
                raise self.fault("expected an observation, got none", tick, agent=agent)
        if len(set(present)) != len(present):
            raise self.fault(f"expected every agent once in `agents`, got {list(present)}", tick)
        self.present = present

    def _require_mappings(self, answers: Mapping[str, object], tick: int) -> None:
        for name, answer in answers.items():
            if not isinstance(answer, Mapping):
                raise self.fault(f"expected a dictionary of {name} by agent, got {type(answer).__name__}", tick)

    def _require_agents(self, name: str, answer: Answer, acting: tuple[Hashable, ...], tick: int) -> None:
        """Require an answer for every agent that acted, and none for unknown agents; absent agents are ignored."""
        for agent in acting:
            if agent not in answer:
                raise self.fault(f"expected it among the {name}, got {list(answer)}", tick, agent=agent)
        if len(answer) != len(acting):
            for agent in answer:
                if agent not in self._agents:
                    raise self.fault(f"expected {name} of `possible_agents`, got another agent", tick, agent=agent)
