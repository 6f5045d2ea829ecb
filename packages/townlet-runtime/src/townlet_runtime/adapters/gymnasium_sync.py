"""Gymnasium environments stepped one after the other, every episode of every world with a seed of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import SavedState, draw_keys, join_groups, split_groups
from townlet_runtime.adapters.history import HISTORY, SEEN, History, not_repeatable, require_same, seen_state
from townlet_runtime.adapters.open import Closable, close_environments, picture_of, render_modes_of
from townlet_runtime.adapters.spaces.actions import action_codec, find_mask, stacked_masks
from townlet_runtime.adapters.spaces.answers import require_info, stacked_flags, stacked_rewards
from townlet_runtime.adapters.spaces.gymnasium_library import gymnasium
from townlet_runtime.adapters.spaces.observations import ObservationCodec, require_known_names
from townlet_runtime.adapters.spaces.settings import SpaceSettings
from townlet_runtime.errors import ConfigError, EnvironmentFaultError, SimulationError
from townlet_runtime.simulation.interface import ActionArray, Observations, Observed, Picture, SimulationSpec, Stepped
from townlet_trajectory import ACTION_MASK

AGENT = "agent"
"""Id of the only agent of every world."""
_NO_ROWS = np.empty(0, np.int64)
_DICT = {dict}


class SingleAgentWorlds(ABC):
    """Parallel worlds of one agent each, slot w being the agent of world w: the part that all ways to step them share.

    Args:
        name: of the environment.
        envs: all that are to be closed.
        spaces: of observations and of actions.
        num_worlds: W.
        episode_ticks: longest episode.
        settings: how the spaces are read.
    """

    exact = True
    """Every answer of the environments is checked here, by name, so that nothing is left for an `Intake`."""

    def __init__(
        self,
        name: str,
        envs: Sequence[Closable],
        spaces: tuple[gymnasium.Space[Any], gymnasium.Space[Any]],
        *,
        num_worlds: int,
        episode_ticks: int,
        settings: SpaceSettings,
    ) -> None:
        self._observations = ObservationCodec(spaces[0], environment=name, settings=settings)
        require_known_names(name, settings, [self._observations])
        self._actions = action_codec(spaces[1], environment=name, form=settings.actions)
        self.spec = SimulationSpec(
            name=name,
            vocabulary=self._actions.vocabulary,
            actions=self._actions.arrays,
            observation_shapes=self._observations.shapes,
            observation_kinds=self._observations.kinds,
            num_worlds=num_worlds,
            capacity=num_worlds,
            episode_ticks=episode_ticks,
        )
        self._made = envs
        self._history = History(num_worlds=num_worlds, capacity=num_worlds, specs=[self._actions.spec])
        self._slots = np.arange(num_worlds)
        self._keys: NDArray[np.uint64] = np.zeros(num_worlds, np.uint64)
        self._agent_ids = np.full(num_worlds, AGENT, np.object_)
        self._episodes = self._history.episodes
        self._not_done = np.zeros(num_worlds, np.bool_)
        self._events = np.zeros((num_worlds, 0), np.int64)
        self._no_finals = {name: np.empty((0, *shape), np.float32) for name, shape in self._observations.shapes.items()}
        self._masked = self._observations.has_mask
        self._observed: Observed | None = None

    def render(self) -> Picture | None:
        """Draw the first world, as its environment does; None where it was made without a render mode."""
        return picture_of(self.spec.name, self._made[0])

    @property
    def render_modes(self) -> tuple[str, ...]:
        """That the environment lists."""
        return render_modes_of(self._made[0])

    def close(self) -> None:
        close_environments(self.spec.name, self._made)

    def save_state(self) -> SavedState:
        """Save seeds and actions of the episodes in progress, and the present observations.

        Raises:
            SimulationError: before the first `reset`.
        """
        if self._observed is None:
            raise SimulationError("expected `reset` before `save_state`")
        seen = seen_state(self._observed.observations, self._observed.action_mask)
        return join_groups({HISTORY: self._history.save_state(), SEEN: seen})

    def restore(self, state: SavedState) -> Observed:
        """Begin the episodes again and carry out their actions again.

        Raises:
            EnvironmentFaultError: if that does not lead to what was seen.
            SimulationError: if `state` is of other worlds.
        """
        history, seen = split_groups(state, (HISTORY, SEEN)).values()
        self._history.restore(history)
        self._note_seeds()
        self._masked = ACTION_MASK in seen
        observed = self._replay()
        require_same(self.spec.name, seen, observed.observations, observed.action_mask, tick=self._history.tick)
        return observed

    @abstractmethod
    def _replay(self) -> Observed:
        """Bring the worlds to where the history says they are."""

    def _note_seeds(self) -> None:
        """The worlds have begun with other seeds."""
        self._keys = np.array([draw_keys(seed, AGENT) for seed in self._history.seeds.tolist()], np.uint64)
        self._episodes = self._history.episodes

    def _look(
        self, observations: Observations, mask: NDArray[np.bool_] | None, *, rows: NDArray[np.int64] | None = None
    ) -> Observed:
        """Make the view of a tick.

        Args:
            observations: each [N, ...].
            mask: [N, A]; None where actions are not masked.
            rows: [N]; worlds whose agents are present; None: all.
        """
        # Arrays that stay are shown as they are: none is changed in place, here or where they are read.
        slots, keys, agent_ids = self._slots, self._keys, self._agent_ids
        episodes, done = self._episodes, self._not_done
        if rows is not None:
            slots, keys, agent_ids, episodes, done = rows, keys[rows], agent_ids[rows], episodes[rows], done[rows]
        self._observed = Observed(
            slots=slots,
            keys=keys,
            agent_ids=agent_ids,
            worlds=slots,
            episodes=episodes,
            observations=observations,
            action_mask=mask,
            option_done=done,
        )
        return self._observed

    def _fault(self, world: int, problem: str) -> EnvironmentFaultError:
        """The error for something that is wrong in a world at this tick."""
        return EnvironmentFaultError(self.spec.name, problem, world=world, agent_id=AGENT, tick=self._history.tick)

    def _require_actions(self, actions: ActionArray) -> Observed:
        """Return the last view, after checking that `actions` fit it.

        Raises:
            SimulationError: before the first `reset`, or unless there is one action for each row of it.
        """
        if self._observed is None:
            raise SimulationError("expected `reset` before the first `step`")
        shape = (len(self._observed.slots), *self._history.rows.shape)
        if actions.shape != shape:
            raise SimulationError(f"expected actions of shape {shape}, got {actions.shape}")
        return self._observed


class SyncWorlds(SingleAgentWorlds):
    """Parallel worlds of one agent each. Implements `townlet_runtime.simulation.interface.Simulation`.

    Args:
        name: of the environment.
        envs: one for each world, with the same spaces.
        episode_ticks: longer episodes are truncated.
        settings: how the spaces are read; None: as `SpaceSettings` does by default.

    Raises:
        ConfigError: if spaces differ, or nothing can learn in them.
    """

    def __init__(
        self,
        name: str,
        envs: Sequence[gymnasium.Env[Any, Any]],
        *,
        episode_ticks: int,
        settings: SpaceSettings | None = None,
    ) -> None:
        spaces, size = (envs[0].observation_space, envs[0].action_space), len(envs)
        for env in envs[1:]:
            if (env.observation_space, env.action_space) != spaces:
                raise ConfigError(
                    f"the worlds of `{name}` must have equal spaces, got {spaces[0]} and {env.observation_space}, "
                    f"{spaces[1]} and {env.action_space}",
                    key="environment.name",
                )
        settings = SpaceSettings() if settings is None else settings
        super().__init__(name, envs, spaces, num_worlds=size, episode_ticks=episode_ticks, settings=settings)
        self._envs = envs

    def reset(self, *, seeds: NDArray[np.int64]) -> Observed:
        """Begin every world with its own of `seeds` [W]."""
        self._history.restart(seeds)
        self._note_seeds()
        begun = [self._begin(world, seed) for world, seed in enumerate(seeds.tolist())]
        observations, infos = [observation for observation, _ in begun], [info for _, info in begun]
        self._masked = self._observations.has_mask or any(find_mask(info) is not None for info in infos)
        arrays = self._observations.stacked(observations, self._fault)
        return self._look(arrays, self._mask(observations, infos))

    def step(self, actions: ActionArray) -> Stepped:
        """Carry out one action in every world, and begin the next episode where one is over.

        Raises:
            EnvironmentFaultError: names the world whose environment breaks its own interface.
            SimulationError: before the first `reset`, or unless there is an action for each world.
        """
        history = self._history
        self._require_actions(actions)
        observations, rewards, ends, cuts, infos = self._step_all(self._actions.commands(actions))
        arrays = self._observations.stacked(observations, self._fault)
        earned = stacked_rewards(rewards, self._fault)
        terminated = stacked_flags("terminated", ends, self._fault)
        truncated = stacked_flags("truncated", cuts, self._fault)
        history.add(self._slots, actions)
        overdue = history.overdue(self.spec.episode_ticks)
        if overdue is not None:
            truncated |= overdue
        if np.count_nonzero(terminated):
            truncated &= ~terminated
        over, final = _NO_ROWS, self._no_finals
        if np.count_nonzero(terminated) or np.count_nonzero(truncated):
            over = (terminated | truncated).nonzero()[0]
            final = {name: array[over] for name, array in arrays.items()}
            self._begin_next(over, arrays, observations, infos)
        return Stepped(
            rewards=earned,
            terminated=terminated,
            truncated=truncated,
            final_rows=over,
            final_option_done=self._not_done[: over.size],
            final_observations=final,
            events=self._events,
            observed=self._look(arrays, self._mask(observations, infos)),
        )

    def _step_all(self, commands: list[Any]) -> list[list[Any]]:
        """Observations, rewards, terminated, truncated and infos, each [W]."""
        answers: list[tuple[Any, ...]] = []
        try:
            for env, command in zip(self._envs, commands, strict=True):
                observation, reward, end, cut, info = env.step(command)
                answers.append((observation, reward, end, cut, info))
        except Exception as error:  # somebody else's code
            raise self._fault(len(answers), f"`step` failed with {type(error).__name__}: {error}") from error
        return [list(part) for part in zip(*answers, strict=True)]

    def _begin_next(
        self, over: NDArray[np.int64], arrays: Observations, observations: list[object], infos: list[object]
    ) -> None:
        """Begin another episode in the worlds `over`; their first observations replace the rows of all three."""
        begun = []
        for world in over.tolist():
            observations[world], infos[world] = self._begin(world, self._history.begin_next(world))
            begun.append(observations[world])
        fresh = self._observations.stacked(begun, lambda row, problem: self._fault(int(over[row]), problem))
        for name, array in fresh.items():
            arrays[name][over] = array
        self._episodes = self._history.episodes

    def _begin(self, world: int, seed: int) -> tuple[object, object]:
        try:
            observation, info = self._envs[world].reset(seed=seed)
        except Exception as error:  # somebody else's code
            raise self._fault(world, f"`reset` failed with {type(error).__name__}: {error}") from error
        return observation, info

    def _mask(self, observations: Sequence[object], infos: Sequence[object]) -> NDArray[np.bool_] | None:
        """[W, A]; of the observations where they hold it, else of the infos. Whether it is there does not change."""
        if set(map(type, infos)) != _DICT:
            for world, info in enumerate(infos):
                require_info(info, self._fault, world)
        if not self._masked and not any(infos):
            return None
        masks = [find_mask(one) for one in (observations if self._observations.has_mask else infos)]
        for world, mask in enumerate(masks):
            if (mask is not None) != self._masked:
                expected, got = ("an", "none") if self._masked else ("no", "one")
                raise self._fault(world, f"expected {expected} `action_mask`, as at the beginning, got {got}")
        return stacked_masks(masks, self._actions, self._fault) if self._masked else None

    def _replay(self) -> Observed:
        back = [self._return(world) for world in range(self.spec.num_worlds)]
        observations = [observation for observation, _ in back]
        arrays = self._observations.stacked(observations, self._fault)
        return self._look(arrays, self._mask(observations, [info for _, info in back]))

    def _return(self, world: int) -> tuple[object, object]:
        """Bring one world back to where it was saved; returns its observation and info there."""
        observation, info = self._begin(world, self._history.seed_of(world))
        for _, actions in self._history.replay(world):
            (command,) = self._actions.commands(self._history.rows.read(actions, self._actions.spec))
            try:
                observation, _, end, cut, info = self._envs[world].step(command)
            except Exception as error:  # somebody else's code
                raise self._fault(world, f"`step` failed with {type(error).__name__}: {error}") from error
            if any(stacked_flags("end", (end, cut), lambda _, problem: self._fault(world, problem))):
                raise not_repeatable(self.spec.name, "an episode ended early", tick=self._history.tick, world=world)
        return observation, info
