"""Worlds of one agent each: what stepping them one by one and stepping them natively have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import draw_keys
from townlet_runtime.adapters.common import environment_spec
from townlet_runtime.adapters.history import History
from townlet_runtime.adapters.libraries import gymnasium
from townlet_runtime.adapters.spaces import ActionCodec, ObservationCodec
from townlet_runtime.errors import EnvironmentFaultError, SimulationError
from townlet_runtime.simulation.interface import Observations, Observed

AGENT = "agent"
"""Id of the only agent of every world."""


class SingleAgents:
    """The agents of all worlds: slot w is the agent of world w."""

    def __init__(
        self,
        name: str,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        *,
        num_worlds: int,
        episode_ticks: int,
    ) -> None:
        self.observations = ObservationCodec(observation_space, environment=name)
        self.actions = ActionCodec(action_space, environment=name)
        vocabulary = self.actions.vocabulary
        self.spec = environment_spec(
            name,
            vocabulary,
            self.observations.shapes,
            num_worlds=num_worlds,
            capacity=num_worlds,
            episode_ticks=episode_ticks,
        )
        self.history = History(num_worlds=num_worlds, capacity=num_worlds, num_actions=len(vocabulary))
        self.slots = np.arange(num_worlds)
        self._keys: NDArray[np.uint64] = np.zeros(num_worlds, np.uint64)
        self._agent_ids = np.full(num_worlds, AGENT, np.object_)
        self._episodes = self.history.episodes
        self._not_done = np.zeros(num_worlds, np.bool_)

    def note_seeds(self) -> None:
        """The worlds have begun with other seeds."""
        self._keys = np.array([draw_keys(seed, AGENT) for seed in self.history.seeds.tolist()], np.uint64)
        self.note_episodes()

    def note_episodes(self) -> None:
        """Some worlds have begun another episode."""
        self._episodes = self.history.episodes

    def observed(
        self, observations: Observations, mask: NDArray[np.bool_] | None, *, rows: NDArray[np.int64] | None = None
    ) -> Observed:
        """The agents of all worlds, or of the worlds in `rows`; the observations are theirs."""
        taken = slice(None) if rows is None else rows
        slots = self.slots[taken]
        return Observed(
            slots=slots,
            keys=self._keys[taken],
            agent_ids=self._agent_ids[taken],
            worlds=slots,
            episodes=self._episodes[taken],
            observations=observations,
            action_mask=mask,
            option_done=self._not_done[taken],
        )

    def fault(self, world: int, problem: str) -> EnvironmentFaultError:
        """The error for something that is wrong in a world at this tick."""
        return EnvironmentFaultError(self.spec.name, problem, world=world, agent_id=AGENT, tick=self.history.tick)

    def require_actions(self, actions: NDArray[np.int64], observed: Observed | None) -> Observed:
        """What was observed last.

        Raises:
            SimulationError: before the first `reset`, or unless there is one action for each row of it.
        """
        if observed is None:
            raise SimulationError("expected `reset` before the first `step`")
        if actions.shape != observed.slots.shape:
            raise SimulationError(f"expected actions of shape {observed.slots.shape}, got {actions.shape}")
        return observed
