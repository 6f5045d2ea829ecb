"""The agents of one group in all worlds of a PettingZoo environment, as rows."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import draw_keys
from townlet_runtime.adapters.agent_groups import AgentGroup
from townlet_runtime.adapters.parallel_world import ParallelWorld
from townlet_runtime.adapters.spaces import Fault, find_mask, stacked_masks, stacked_rewards
from townlet_runtime.errors import EnvironmentFaultError, SimulationError
from townlet_runtime.simulation.interface import Observed, SimulationSpec, Stepped

Row = tuple[ParallelWorld, Hashable]
"""The world of an agent, and the agent."""


class Members:
    """Slot `world * P + place` is the agent at that place of the group.

    Args:
        group: which agents, and what they see and do.
        worlds: all of them.
        spec: of the group.
        num_agents: of all groups, in one world.
    """

    def __init__(
        self, group: AgentGroup, worlds: Sequence[ParallelWorld], spec: SimulationSpec, *, num_agents: int
    ) -> None:
        ids, indices = group.agent_ids, np.arange(len(worlds))
        self.group = group
        self.spec = spec
        self.masked = False
        self.observed: Observed | None = None
        self.rows: list[Row] = []
        """[N]; of `observed`."""
        self._worlds = worlds
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
        """What is acted on.

        Raises:
            SimulationError: before the worlds were reset.
        """
        if self.observed is None:
            raise SimulationError("expected `reset` before anything else")
        return self.observed

    def numbers(self) -> NDArray[np.int64]:
        """[N]; who is present, among all agents of all worlds."""
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
        """Who is present now, and what they see; `episodes` [W]."""
        slots: list[int] = []
        rows: list[Row] = []
        for index, world in enumerate(self._worlds):
            here = sorted(self._place_of[agent] for agent in world.present if agent in self._place_of)
            slots += [index * len(self._place_of) + place for place in here]
            rows += [(world, self.group.agents[place]) for place in here]
        taken = np.array(slots, np.int64)
        worlds = self._world_of_slot[taken]
        seen = [world.observations[agent] for world, agent in rows]
        self.rows = rows
        self.observed = Observed(
            slots=taken,
            keys=self._keys[taken],
            agent_ids=self._agent_ids[taken],
            worlds=worlds,
            episodes=episodes[worlds],
            observations=self.group.observations.stacked(seen, _faults(rows, tick)),
            action_mask=self._mask(seen, _faults(rows, tick)),
            option_done=self._not_done[taken],
        )
        return self.observed

    def _mask(self, seen: Sequence[object], fault: Fault) -> NDArray[np.bool_] | None:
        if not self.group.observations.has_mask:
            seen = [world.infos.get(agent) for world, agent in self.rows]
        masks = [find_mask(holder) for holder in seen]
        for row, mask in enumerate(masks):
            if (mask is not None) != self.masked:
                expected, got = ("an", "none") if self.masked else ("no", "one")
                raise fault(row, f"expected {expected} `action_mask`, as at the beginning, got {got}")
        return stacked_masks(masks, len(self.spec.vocabulary), fault) if self.masked else None

    def outcome(self, overdue: NDArray[np.bool_] | None, *, tick: int) -> Stepped:
        """What the tick did to those who acted, of whom `before` still speaks.

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
        final = [world.observations[agent] for world, agent in ended]
        return Stepped(
            rewards=stacked_rewards([world.rewards[agent] for world, agent in rows], _faults(rows, tick)),
            terminated=terminated,
            truncated=truncated,
            final_rows=over,
            final_option_done=np.zeros(over.size, np.bool_),
            final_observations=self.group.observations.stacked(final, _faults(ended, tick)),
            events=self._events,
            observed=before,
        )


def _faults(rows: Sequence[Row], tick: int) -> Fault:
    """The errors of some agents."""

    def fault(row: int, problem: str) -> EnvironmentFaultError:
        world, agent = rows[row]
        return world.fault(problem, tick, agent=agent)

    return fault
