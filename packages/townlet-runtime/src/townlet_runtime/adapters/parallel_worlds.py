"""PettingZoo environments as a simulation: agents with unequal spaces are groups of their own."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import BatchController, Guardrail, SavedState, draw_keys, join_groups, split_groups
from townlet_runtime.adapters.agent_groups import (
    AgentGroup,
    ParallelEnv,
    ParallelWorld,
    agent_groups,
    spaces_of,
    state_codec,
)
from townlet_runtime.adapters.history import HISTORY, SEEN, History, not_repeatable, require_same, seen_state
from townlet_runtime.adapters.open import close_environments, picture_of, render_modes_of
from townlet_runtime.adapters.spaces.actions import find_mask, stacked_masks
from townlet_runtime.adapters.spaces.answers import require_info, stacked_rewards
from townlet_runtime.adapters.spaces.gymnasium_library import Fault
from townlet_runtime.adapters.spaces.observations import ObservationCodec, require_known_names
from townlet_runtime.adapters.spaces.settings import SpaceSettings
from townlet_runtime.errors import ConfigError, SimulationError
from townlet_runtime.simulation.interface import ActionArray, Observations, Observed, Picture, SimulationSpec, Stepped
from townlet_runtime.simulation.saved_state import saved_array
from townlet_trajectory import ACTION_MASK

Row = tuple[ParallelWorld, Hashable]
"""The world of an agent, and the agent."""


class Members:
    """Slot `world * P + place` is the agent at that place of the group.

    Args:
        group: which agents, and what they see and do.
        worlds: all of them.
        spec: of the group.
        num_agents: of all groups, in one world.
        state: reads the global state; None: nobody sees it.
    """

    def __init__(
        self,
        group: AgentGroup,
        worlds: Sequence[ParallelWorld],
        spec: SimulationSpec,
        *,
        num_agents: int,
        state: ObservationCodec | None,
    ) -> None:
        ids, indices = group.agent_ids, np.arange(len(worlds))
        self.group = group
        self.spec = spec
        self.masked = False
        self.observed: Observed | None = None
        self.rows: list[Row] = []
        """[N]; of `observed`."""
        self._worlds = worlds
        self._state = state
        self._place_of = {agent: place for place, agent in enumerate(group.agents)}
        self._keys: NDArray[np.uint64] = np.zeros(len(worlds) * len(ids), np.uint64)
        self._agent_ids = np.array(ids * len(worlds), np.object_)
        self._world_of_slot = np.repeat(indices, len(ids))
        self._slot_of_all = (indices[:, None] * num_agents + np.array(group.places)).ravel()
        """By slot: the agent's number among all agents of all worlds."""
        self._not_done = np.zeros(len(self._keys), np.bool_)
        self._events = np.zeros((len(worlds), 0), np.int64)

    @property
    def before(self) -> Observed:
        """The last view.

        Raises:
            SimulationError: before the worlds were reset.
        """
        if self.observed is None:
            raise SimulationError("expected `reset` before anything else")
        return self.observed

    def numbers(self) -> NDArray[np.int64]:
        """[N]; the present agents' numbers among all agents of all worlds."""
        numbers: NDArray[np.int64] = self._slot_of_all[self.before.slots]
        return numbers

    def note_seeds(self, seeds: NDArray[np.int64]) -> None:
        """The worlds have begun with `seeds` [W]."""
        ids = self.group.agent_ids
        self._keys = np.array([draw_keys(seed, one) for seed in seeds.tolist() for one in ids], np.uint64)

    def learn_masks(self) -> None:
        """Whether actions are masked is seen at the beginning, and does not change."""
        self.masked = self.group.observations.has_mask or any(
            find_mask(world.infos.get(agent)) is not None
            for world in self._worlds
            for agent in world.present
            if agent in self._place_of
        )

    def look(self, episodes: NDArray[np.int64], tick: int) -> Observed:
        """Return the view of the agents that are present; `episodes` [W]."""
        slots: list[int] = []
        rows: list[Row] = []
        for index, world in enumerate(self._worlds):
            here = sorted(self._place_of[agent] for agent in world.present if agent in self._place_of)
            slots += [index * len(self._place_of) + place for place in here]
            rows += [(world, self.group.agents[place]) for place in here]
        taken = np.array(slots, np.int64)
        worlds = self._world_of_slot[taken]
        self.rows = rows
        self.observed = Observed(
            slots=taken,
            keys=self._keys[taken],
            agent_ids=self._agent_ids[taken],
            worlds=worlds,
            episodes=episodes[worlds],
            observations=self._seen(rows, tick),
            action_mask=self._mask([world.observations[agent] for world, agent in rows], _faults(rows, tick)),
            option_done=self._not_done[taken],
        )
        return self.observed

    def _seen(self, rows: Sequence[Row], tick: int) -> Observations:
        """What some agents see, and of the whole world their critics."""
        fault = _faults(rows, tick)
        own = self.group.observations.stacked([world.observations[agent] for world, agent in rows], fault)
        if self._state is None:
            return own
        return {**own, **self._state.stacked([world.state for world, _ in rows], fault)}

    def _mask(self, seen: Sequence[object], fault: Fault) -> NDArray[np.bool_] | None:
        """[N, A]; of the observations `seen` where they hold it, else of the infos."""
        if not self.group.observations.has_mask:
            seen = [world.infos.get(agent, {}) for world, agent in self.rows]
            for row, info in enumerate(seen):
                require_info(info, fault, row)
        masks = [find_mask(holder) for holder in seen]
        for row, mask in enumerate(masks):
            if (mask is not None) != self.masked:
                expected, got = ("an", "none") if self.masked else ("no", "one")
                raise fault(row, f"expected {expected} `action_mask`, as at the beginning, got {got}")
        return stacked_masks(masks, self.group.actions, fault) if self.masked else None

    def outcome(self, overdue: NDArray[np.bool_] | None, *, tick: int) -> Stepped:
        """Return the outcome of a tick for the agents that acted, the rows of `before`.

        Args:
            overdue: [W]; worlds whose episodes are cut now; None: no world's.
            tick: that is over.
        """
        before, rows = self.before, self.rows
        terminated = np.array([world.terminated[agent] for world, agent in rows], np.bool_)
        truncated = np.array([world.truncated[agent] for world, agent in rows], np.bool_)
        if overdue is not None:
            truncated |= overdue[before.worlds]
        truncated &= ~terminated
        over = (terminated | truncated).nonzero()[0]
        ended = [rows[row] for row in over.tolist()]
        return Stepped(
            rewards=stacked_rewards([world.rewards[agent] for world, agent in rows], _faults(rows, tick)),
            terminated=terminated,
            truncated=truncated,
            final_rows=over,
            final_option_done=np.zeros(over.size, np.bool_),
            final_observations=self._seen(ended, tick),
            events=self._events,
            observed=before,
        )


def _faults(rows: Sequence[Row], tick: int) -> Fault:
    """The errors of some agents."""
    return lambda row, problem: rows[row][0].fault(problem, tick, agent=rows[row][1])


PRESENT = "present"
"""Part of a saved state."""


class ParallelWorlds:
    """Parallel worlds of several agents each. Implements `townlet_runtime.simulation.interface.GroupedSimulation`.

    An episode is over when nobody is left. An agent that comes back begins a new trajectory under its old id.

    Args:
        name: of the environment.
        envs: one for each world, with the same agents and spaces.
        episode_ticks: longer episodes are truncated.
        settings: how the spaces are read; None: as `SpaceSettings` does by default.
        global_state: whether critics see the environment's `state()`.
    """

    behaviors: tuple[str, ...] = ()

    def __init__(
        self,
        name: str,
        envs: Sequence[ParallelEnv],
        *,
        episode_ticks: int,
        settings: SpaceSettings | None = None,
        global_state: bool = False,
    ) -> None:
        settings = SpaceSettings() if settings is None else settings
        groups = agent_groups(name, envs[0], settings)
        state = state_codec(name, envs[0], settings) if global_state else None
        require_known_names(name, settings, [*(group.observations for group in groups), *([state] if state else [])])
        spaces = spaces_of(name, envs[0])
        for env in envs[1:]:
            if spaces_of(name, env) != spaces:
                raise ConfigError(
                    f"the worlds of `{name}` must have the same agents and equal spaces", key="environment.name"
                )
        self._name = name
        self._envs = envs
        self._worlds = [
            ParallelWorld(name, env, world=index, agents=spaces.keys(), with_state=global_state)
            for index, env in enumerate(envs)
        ]
        self._history = History(
            num_worlds=len(envs),
            capacity=len(envs) * len(spaces),
            specs=[group.actions.spec for group in groups],
        )
        self._places = [next(group for group in groups if agent in group.agents) for agent in spaces]
        """The group of every agent, in the environment's order."""
        self._agents = tuple(spaces)
        self._limit = episode_ticks
        self.specs: Mapping[str, SimulationSpec] = {
            group.name: SimulationSpec(
                name=name if len(groups) == 1 else f"{name}/{group.name}",
                vocabulary=group.actions.vocabulary,
                actions=group.actions.arrays,
                observation_shapes=group.observations.shapes,
                observation_kinds={**group.observations.kinds, **(state.kinds if state else {})},
                critic_shapes=state.shapes if state else {},
                num_worlds=len(envs),
                capacity=len(envs) * len(group.agents),
                episode_ticks=episode_ticks,
            )
            for group in groups
        }
        self._members = {
            group.name: Members(group, self._worlds, self.specs[group.name], num_agents=len(spaces), state=state)
            for group in groups
        }

    def scripted(self, name: str) -> Mapping[str, BatchController]:
        raise SimulationError(f"`{self._name}` has no behaviors, got {name!r}")

    def guardrails(self) -> Mapping[str, Sequence[Guardrail]]:
        return dict.fromkeys(self.specs, ())

    def render(self) -> Picture | None:
        """Draw the first world, as its environment does; None where it was made without a render mode."""
        return picture_of(self._name, self._envs[0])

    @property
    def render_modes(self) -> tuple[str, ...]:
        """That the environment lists."""
        return render_modes_of(self._envs[0])

    def close(self) -> None:
        close_environments(self._name, self._envs)

    def reset(self, *, seeds: NDArray[np.int64]) -> Mapping[str, Observed]:
        """Begin every world with its own of `seeds` [W]."""
        self._history.restart(seeds)
        for world, seed in zip(self._worlds, seeds.tolist(), strict=True):
            world.begin(seed, tick=0)
        for members in self._members.values():
            members.note_seeds(seeds)
            members.learn_masks()
        return self._look()

    def step(self, actions: Mapping[str, ActionArray]) -> Mapping[str, Stepped]:
        """Step every agent that is present, and begin the next episode of worlds without agents.

        Raises:
            EnvironmentFaultError: names the world and agent for which the environment breaks its own interface.
            SimulationError: before the first `reset`, or unless there is an action for every agent.
        """
        tick = self._history.tick
        numbers = np.concatenate([members.numbers() for members in self._members.values()])
        commands = self._commands(actions)
        for world, command in zip(self._worlds, commands, strict=True):
            world.step(command, tick=tick)
        self._history.add(numbers, self._history.rows.joined([actions[group] for group in self._members]))
        overdue = self._history.overdue(self._limit)
        outcomes = {group: members.outcome(overdue, tick=tick) for group, members in self._members.items()}
        for index, world in enumerate(self._worlds):
            if not world.present or (overdue is not None and overdue[index]):
                world.begin(self._history.begin_next(index), tick=self._history.tick)
        observed = self._look()
        return {group: replace(outcome, observed=observed[group]) for group, outcome in outcomes.items()}

    def _commands(self, actions: Mapping[str, ActionArray]) -> list[dict[Hashable, Any]]:
        """The environment's own actions by agent, for each world."""
        by_world: dict[ParallelWorld, dict[Hashable, Any]] = {world: {} for world in self._worlds}
        for group, members in self._members.items():
            chosen, shape = actions[group], (len(members.rows), *members.group.action_shape)
            if chosen.shape != shape:
                raise SimulationError(f"expected actions of `{group}` of shape {shape}, got {chosen.shape}")
            for (world, agent), command in zip(members.rows, members.group.actions.commands(chosen), strict=True):
                by_world[world][agent] = command
        return list(by_world.values())

    def _look(self) -> dict[str, Observed]:
        episodes, tick = self._history.episodes, self._history.tick
        return {group: members.look(episodes, tick) for group, members in self._members.items()}

    def save_state(self) -> SavedState:
        """Save seeds and actions of the episodes in progress, the present agents and their observations.

        Raises:
            SimulationError: before the first `reset`.
        """
        parts: dict[str, SavedState] = {HISTORY: self._history.save_state()}
        for index, members in enumerate(self._members.values()):
            observed = members.before
            parts[f"{SEEN}_{index}"] = seen_state(observed.observations, observed.action_mask)
            parts[f"{PRESENT}_{index}"] = {"slots": observed.slots.copy()}
        return join_groups(parts)

    def restore(self, state: SavedState) -> Mapping[str, Observed]:
        """Begin each world's episode again and carry out its actions again.

        Raises:
            EnvironmentFaultError: if that does not lead to what was seen.
            SimulationError: if `state` is of other worlds.
        """
        numbers = range(len(self._members))
        names = [f"{part}_{index}" for index in numbers for part in (SEEN, PRESENT)]
        parts = split_groups(state, (HISTORY, *names))
        self._history.restore(parts[HISTORY])
        for index in range(len(self._worlds)):
            self._return(index)
        for index, members in enumerate(self._members.values()):
            members.note_seeds(self._history.seeds)
            members.masked = ACTION_MASK in parts[f"{SEEN}_{index}"]
        observed, tick = self._look(), self._history.tick
        for index, one in enumerate(observed.values()):
            slots = saved_array(parts[f"{PRESENT}_{index}"], "slots", dtype=np.int64, shape=(None,))
            if not np.array_equal(slots, one.slots):
                raise not_repeatable(self._name, "other agents are present", tick=tick)
            require_same(self._name, parts[f"{SEEN}_{index}"], one.observations, one.action_mask, tick=tick)
        return observed

    def _return(self, index: int) -> None:
        """Bring one world back to where it was saved."""
        world, tick = self._worlds[index], self._history.tick
        world.begin(self._history.seed_of(index), tick=tick)
        for places, kept in self._history.replay(index):
            commands = {}
            for row, place in enumerate(places.tolist()):
                codec = self._places[place].actions
                action = self._history.rows.read(kept[row : row + 1], codec.spec)
                (commands[self._agents[place]],) = codec.commands(action)
            if commands.keys() != set(world.present):
                raise not_repeatable(self._name, "other agents are present", tick=tick, world=index)
            world.step(commands, tick=tick)
