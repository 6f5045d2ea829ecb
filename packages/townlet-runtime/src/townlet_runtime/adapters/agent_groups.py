"""Which agents of a PettingZoo environment share a vocabulary, a network and a dataset: those with equal spaces."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from townlet_runtime.adapters.libraries import gymnasium
from townlet_runtime.adapters.spaces import ActionCodec, ObservationCodec
from townlet_runtime.errors import ConfigError
from townlet_runtime.simulation.interface import AGENTS

Space = gymnasium.Space[Any]


class ParallelEnv(Protocol):
    """What an environment must offer: PettingZoo's parallel interface, with agents that are known beforehand."""

    @property
    def agents(self) -> Sequence[Hashable]: ...

    @property
    def possible_agents(self) -> Sequence[Hashable]: ...

    def observation_space(self, agent: Any) -> Space: ...

    def action_space(self, agent: Any) -> Space: ...

    def reset(self, seed: int | None = None) -> tuple[Mapping[Any, Any], Mapping[Any, Any]]: ...

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


def agent_groups(environment: str, env: ParallelEnv) -> tuple[AgentGroup, ...]:
    """The groups of an environment, in the order of their first agents.

    Raises:
        ConfigError: if nothing can learn in a group's spaces, or the agents are not known beforehand.
    """
    spaces = spaces_of(environment, env)
    if not spaces:
        raise ConfigError(f"`{environment}` has no agents", key="environment.name")
    groups: list[tuple[tuple[Space, Space], list[Hashable]]] = []
    for agent, pair in spaces.items():
        members = next((found for known, found in groups if known == pair), None)
        if members is None:
            groups.append((pair, [agent]))
        else:
            members.append(agent)
    names = group_names([[str(agent) for agent in agents] for _, agents in groups])
    places = {agent: place for place, agent in enumerate(spaces)}
    return tuple(
        AgentGroup(
            name=name,
            agents=tuple(agents),
            places=tuple(places[agent] for agent in agents),
            observations=ObservationCodec(seen, environment=environment),
            actions=ActionCodec(done, environment=environment),
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
        spaces: dict[Hashable, tuple[Space, Space]] = {
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
    return spaces


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
    first, last = min(ids), max(ids)
    same = next((count for count, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    return first[:same]
