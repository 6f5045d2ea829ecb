"""A plain Python world, or many copies of it, as a `Simulation` that policies are trained in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import BatchController, Controller, PerAgent
from townlet_runtime.errors import SimulationError
from townlet_runtime.plain.codec import Intent, IntentCodec
from townlet_runtime.plain.members import Populated
from townlet_runtime.plain.recording import AgentObservations, Arrays, id_array, stack
from townlet_runtime.plain.roster import Roster
from townlet_runtime.simulation.interface import Observed, SimulationSpec, Stepped, require_seeds

Own = TypeVar("Own", bound=Populated)
"""The world's own class."""


@dataclass(frozen=True, kw_only=True)
class PlainWorlds(Generic[Own, Intent]):
    """What there is to say of a plain world for policies to be trained in it; call it with a number of copies.

    `townlet_runtime.training.train` takes it as `make`.
    """

    name: str
    make: Callable[[int], Own]
    """Builds a world from a seed."""
    codec: IntentCodec[Own, Intent]
    behavior: Controller[Own, Intent]
    """The script; it must keep no plans, or they would be those of all copies."""
    observe: Callable[[Own, str], Mapping[str, Any]]
    """Returns what an agent sees, arrays by name."""
    step: Callable[[Own, dict[str, dict[str, Any]]], Mapping[str, float]]
    """Steps a world with an action for each agent, and returns rewards by agent. Agents that are gone then came to a
    true end."""
    capacity: int
    """Agents that may live in one copy at once."""
    episode_ticks: int
    """Ticks after which a copy begins anew."""

    def __call__(self, num_worlds: int) -> PlainSimulation[Own, Intent]:
        """Build `num_worlds` copies."""
        return PlainSimulation(self, num_worlds=num_worlds)


class _Copy(Generic[Own]):
    """One copy of the world: its episode so far."""

    def __init__(self, world: Own, *, capacity: int, seed: int) -> None:
        self.world = world
        self.roster = Roster(capacity=capacity, seed=seed)
        self.roster.enter(world.agents)
        self.seen: dict[str, Arrays] = {}
        """By agent, what its next decision is made from."""


class PlainSimulation(Generic[Own, Intent]):
    """Copies of a plain world as a `Simulation`. They cannot be saved, so a run in them cannot be resumed.

    Args:
        worlds: what there is to say of them.
        num_worlds: copies.

    Raises:
        SimulationError: if there is no agent in a world that is just built, or its observation is none.
    """

    behaviors = ("scripted",)

    def __init__(self, worlds: PlainWorlds[Own, Intent], *, num_worlds: int) -> None:
        self._worlds = worlds
        self._observations = AgentObservations()
        self._seeds: NDArray[np.int64] = np.zeros(num_worlds, np.int64)
        self._copies: list[_Copy[Own]] = []
        self._tick = self._episode = 0
        sample = worlds.make(0)
        first = next(iter(sample.agents), None)
        if first is None:
            raise SimulationError(f"`{worlds.name}` must have an agent when it is built, to tell what agents see")
        self._observations.checked(first, worlds.observe(sample, first), None)
        self.spec = SimulationSpec(
            name=worlds.name,
            vocabulary=worlds.codec.vocabulary,
            observation_shapes=dict(self._observations.shapes),
            num_worlds=num_worlds,
            capacity=num_worlds * worlds.capacity,
            episode_ticks=worlds.episode_ticks,
        )

    def reset(self, *, seeds: NDArray[np.int64]) -> Observed:
        """Begin every copy anew, each with its own of `seeds` [W]."""
        self._seeds, self._episode = require_seeds(seeds, self.spec.num_worlds), 0
        self._begin_episode()
        return self._look()

    def step(self, actions: NDArray[np.int64]) -> Stepped:
        """Carry out one action per row of the last view.

        Raises:
            SimulationError: if a reward is not finite, or an observation is not as those before it.
        """
        self._tick += 1
        is_over = self._tick == self.spec.episode_ticks
        rewards: list[float] = []
        died: list[bool] = []
        final: list[Arrays] = []
        first = 0
        for copy in self._copies:
            ids = copy.roster.rows()[0]
            earned = self._act(copy, ids, actions[first : first + len(ids)].tolist())
            first += len(ids)
            for agent_id in ids:
                is_dead = agent_id not in copy.world.agents
                rewards.append(self._reward(agent_id, earned.get(agent_id, 0.0)))
                died.append(is_dead)
                if is_dead:
                    final.append(copy.seen[agent_id])
                elif is_over:
                    final.append(self._see(copy.world, agent_id))
            copy.roster.leave([agent_id for agent_id in ids if agent_id not in copy.world.agents])
            copy.roster.enter(copy.world.agents)
        terminated = np.array(died, np.bool_)
        truncated = ~terminated & is_over
        final_rows = np.flatnonzero(terminated | truncated)
        if is_over:
            self._episode += 1
            self._begin_episode()
        return Stepped(
            rewards=np.array(rewards, np.float32),
            terminated=terminated,
            truncated=truncated,
            final_rows=final_rows,
            final_observations=stack(final, self._observations.shapes),
            observed=self._look(),
        )

    def scripted(self, name: str) -> BatchController:
        """Return the world's own script, lifted; its name is `scripted`."""
        if name not in self.behaviors:
            raise SimulationError(f"expected the behavior `scripted`, got {name!r}")
        return PerAgent(self._worlds.behavior, _CopyCodec(self._worlds.codec, self.world))

    def _begin_episode(self) -> None:
        self._tick = 0
        self._copies = []
        for seed in self._seeds.tolist():
            own = np.random.SeedSequence(seed, spawn_key=(self._episode,)).generate_state(1, np.uint32)
            world = self._worlds.make(int(own[0]))
            self._copies.append(_Copy(world, capacity=self._worlds.capacity, seed=seed))

    def _act(self, copy: _Copy[Own], ids: Sequence[str], actions: Sequence[int]) -> Mapping[str, float]:
        codec, world = self._worlds.codec, copy.world
        wanted = {
            agent_id: codec.to_action(codec.decode(action, world, agent_id))
            for agent_id, action in zip(ids, actions, strict=True)
        }
        return self._worlds.step(world, wanted)

    def _reward(self, agent_id: str, reward: float) -> float:
        if not np.isfinite(reward):
            raise SimulationError(
                f"{self.spec.name}, agent {agent_id!r}, tick {self._tick}: a reward must be finite, got {reward!r}"
            )
        return float(reward)

    def _see(self, world: Own, agent_id: str) -> Arrays:
        return self._observations.checked(agent_id, self._worlds.observe(world, agent_id), self._tick)

    def world(self, index: int) -> Own:
        """Return one of the copies, as it is now."""
        return self._copies[index].world

    def _look(self) -> Observed:
        rows = [copy.roster.rows() for copy in self._copies]
        ids = [agent_id for own_ids, _, _ in rows for agent_id in own_ids]
        seen: list[Arrays] = []
        for copy, (own_ids, _, _) in zip(self._copies, rows, strict=True):
            copy.seen = {agent_id: self._see(copy.world, agent_id) for agent_id in own_ids}
            seen.extend(copy.seen.values())
        worlds = np.repeat(np.arange(len(rows)), [len(own_ids) for own_ids, _, _ in rows])
        return Observed(
            slots=np.concatenate([slots for _, slots, _ in rows]) + worlds * self._worlds.capacity,
            keys=np.concatenate([keys for _, _, keys in rows]),
            agent_ids=id_array(ids),
            worlds=worlds,
            episodes=worlds + self._episode * self.spec.num_worlds,
            observations=stack(seen, self._observations.shapes),
            option_done=np.zeros(len(ids), np.bool_),
        )


class _CopyCodec(Generic[Own, Intent]):
    """The codec of a world, for rows of all copies."""

    def __init__(self, codec: IntentCodec[Own, Intent], world: Callable[[int], Own]) -> None:
        self._codec = codec
        self._world = world

    def locate(self, view: Observed, row: int, /) -> tuple[Own, str]:
        return self._world(int(view.worlds[row])), view.agent_ids[row]

    def encode(self, intent: Intent, world: Own, agent_id: str, /) -> int:
        return self._codec.encode(intent, world, agent_id)

    def decode(self, action: int, world: Own, agent_id: str, /) -> Intent:
        return self._codec.decode(action, world, agent_id)
