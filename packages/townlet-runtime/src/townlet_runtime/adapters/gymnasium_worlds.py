"""Parallel worlds of an environment in Gymnasium's registry, stepped natively where it has a vector form of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import BatchController
from townlet_runtime.adapters.controllers import ObservationController
from townlet_runtime.adapters.gymnasium_sync import SingleAgentWorlds, SyncWorlds
from townlet_runtime.adapters.named_code import named_module
from townlet_runtime.adapters.open import close_environments, episode_bound, opened
from townlet_runtime.adapters.spaces.actions import find_mask, rows_of_masks, stacked_masks
from townlet_runtime.adapters.spaces.answers import array_of, stacked_rewards
from townlet_runtime.adapters.spaces.gymnasium_library import gymnasium
from townlet_runtime.adapters.spaces.settings import SpaceSettings
from townlet_runtime.errors import ConfigError, EnvironmentFaultError, MissingExtraError
from townlet_runtime.simulation.interface import (
    ActionArray,
    Observations,
    Observed,
    Simulation,
    SimulationSpec,
    Stepped,
)

VectorEnv = gymnasium.vector.VectorEnv[Any, Any, Any]
Bools = NDArray[np.bool_]

RESTART_TICKS = 4096
"""After which worlds that are stepped natively are seeded anew, at the earliest."""


class NativeWorlds(SingleAgentWorlds):
    """Parallel worlds of one agent each. Implements `townlet_runtime.simulation.interface.Simulation`.

    At the tick after an episode's end the environment only resets the world: nobody acts there, so its agent is absent
    for that tick. The environment takes one seed for all worlds together, which is hashed from all of theirs.

    It cannot be brought back to the middle of what it does but by all actions since it was seeded. Therefore all worlds
    are truncated and seeded anew every `RESTART_TICKS` ticks, or four longest episodes if these are more: no more
    actions than that are kept, saved and carried out again.

    Args:
        name: of the environment.
        env: with autoreset at the next step.
        episode_ticks: after which it truncates episodes by itself.
        settings: how the spaces are read; None: as `SpaceSettings` does by default.
    """

    def __init__(self, name: str, env: VectorEnv, *, episode_ticks: int, settings: SpaceSettings | None = None) -> None:
        spaces, size = (env.single_observation_space, env.single_action_space), env.num_envs
        settings = SpaceSettings() if settings is None else settings
        super().__init__(name, [env], spaces, num_worlds=size, episode_ticks=episode_ticks, settings=settings)
        self._env = env
        self._restart_ticks = max(RESTART_TICKS, 4 * episode_ticks)
        self._rest(np.zeros(size, np.bool_))

    def reset(self, *, seeds: NDArray[np.int64]) -> Observed:
        """Begin all worlds with one seed, that of all `seeds` [W]."""
        self._history.restart(seeds)
        self._note_seeds()
        observation, info = self._begin()
        self._masked = self._observations.has_mask or find_mask(info) is not None
        self._rest(np.zeros(self.spec.num_worlds, np.bool_))
        return self._observe(self._encoded(observation), observation, info)

    def step(self, actions: ActionArray) -> Stepped:
        """Carry out one action in every world that is not being reset.

        Raises:
            EnvironmentFaultError: if the environment breaks its own interface.
            SimulationError: before the first `reset`, or unless there is an action for each row.
        """
        history = self._history
        before = self._require_actions(actions)
        # A world that is being reset ignores its action.
        full = self._of_all(before.slots, actions) if self._any_rests else actions
        observation, rewards, terminated, truncated, info = self._advance(full)
        arrays = self._encoded(observation)
        history.add(before.slots, actions)
        if self._any_rests:
            rows = before.slots
            history.number_next(self._resting.nonzero()[0])
            self._episodes = history.episodes
            rewards, ends, cuts = rewards[rows], terminated[rows], truncated[rows]
        else:
            ends, cuts = terminated, truncated
        if np.count_nonzero(ends):
            cuts = cuts & ~ends
        restarts = history.replayed_ticks >= self._restart_ticks
        if restarts:
            cuts = ~ends
        over = (ends | cuts).nonzero()[0]
        final = self._rows(arrays, before.slots[over]) if over.size else self._no_finals
        if restarts:
            history.begin_all()
            self._episodes = history.episodes
            observation, info = self._begin()
            arrays = self._encoded(observation)
            self._rest(np.zeros(self.spec.num_worlds, np.bool_))
        elif over.size or self._any_rests:
            self._rest(terminated | truncated)
        return Stepped(
            rewards=rewards,
            terminated=ends,
            truncated=cuts,
            final_rows=over,
            final_option_done=self._not_done[: over.size],
            final_observations=final,
            events=self._events,
            observed=self._observe(arrays, observation, info),
        )

    def _of_all(self, worlds: NDArray[np.int64], actions: ActionArray) -> ActionArray:
        """[W, ...]; zeros in the worlds that are not among `worlds` [N]."""
        full = np.zeros((self.spec.num_worlds, *actions.shape[1:]), actions.dtype)
        full[worlds] = actions
        return full

    def _advance(self, actions: ActionArray) -> tuple[object, NDArray[np.float32], Bools, Bools, object]:
        """Step the environment, and look at all it answers but the observation."""
        try:
            observation, rewards, terminated, truncated, info = self._env.step(self._actions.encode(actions))
        except Exception as error:  # somebody else's code
            raise self._breach(f"`step` failed with {type(error).__name__}: {error}") from error
        shape = (self.spec.num_worlds,)
        earned, ends, cuts = array_of(rewards), array_of(terminated), array_of(truncated)
        if earned.shape != shape:
            raise self._breach(f"expected rewards of shape {shape}, got {earned.shape}")
        for name, flags in (("terminated", ends), ("truncated", cuts)):
            if flags.shape != shape or flags.dtype != np.bool_:
                raise self._breach(f"expected bools of shape {shape} as `{name}`, got {flags!r}")
        if self._any_rests and np.count_nonzero((ends | cuts) & self._resting):
            world = int(((ends | cuts) & self._resting).argmax())
            raise self._fault(world, "expected a step that only resets, got one that ends an episode")
        return observation, stacked_rewards(earned.tolist(), self._fault), ends, cuts, info

    def _begin(self) -> tuple[object, object]:
        try:
            observation, info = self._env.reset(seed=self._history.joint_seed)
        except Exception as error:  # somebody else's code
            raise self._breach(f"`reset` failed with {type(error).__name__}: {error}") from error
        return observation, info

    def _encoded(self, observation: object) -> Observations:
        return self._observations.batched(observation, self.spec.num_worlds, self._fault)

    def _rest(self, resting: Bools) -> None:
        self._resting = resting
        self._any_rests = bool(np.count_nonzero(resting))

    def _observe(self, arrays: Observations, observation: object, info: object) -> Observed:
        """Return the agents whose worlds are not being reset."""
        rows = (~self._resting).nonzero()[0] if self._any_rests else None
        seen = arrays if rows is None else self._rows(arrays, rows)
        return self._look(seen, self._mask(observation, info, rows), rows=rows)

    def _mask(self, observation: object, info: object, rows: NDArray[np.int64] | None) -> Bools | None:
        """[N, A]; of the observation where it holds it, else of the info. Whether it is there does not change."""
        mask = find_mask(observation if self._observations.has_mask else info)
        if (mask is not None) != self._masked:
            expected, got = ("an", "none") if self._masked else ("no", "one")
            raise self._breach(f"expected {expected} `action_mask`, as at the beginning, got {got}")
        if mask is None:
            return None
        masks = rows_of_masks(mask, self.spec.num_worlds)
        if masks is None:
            raise self._breach(f"expected an action mask for each of {self.spec.num_worlds} worlds, got {mask}")
        present = self._slots if rows is None else rows
        return stacked_masks(
            [masks[world] for world in present.tolist()],
            self._actions,
            lambda row, why: self._fault(int(present[row]), why),
        )

    @staticmethod
    def _rows(arrays: Observations, rows: NDArray[np.int64]) -> Observations:
        return {name: array[rows] for name, array in arrays.items()}

    def _breach(self, problem: str) -> EnvironmentFaultError:
        """The error of something that concerns all worlds."""
        return EnvironmentFaultError(self.spec.name, problem, tick=self._history.tick)

    def _replay(self) -> Observed:
        self._rest(np.zeros(self.spec.num_worlds, np.bool_))
        observation, info = self._begin()
        for slots, kept in self._history.replay_all():
            actions = self._of_all(slots, self._history.rows.read(kept, self._actions.spec))
            observation, _, terminated, truncated, info = self._advance(actions)
            self._rest(terminated | truncated)
        return self._observe(self._encoded(observation), observation, info)


_NEXT_STEP = gymnasium.vector.AutoresetMode.NEXT_STEP
_BOUND = "max_episode_steps"
"""Gymnasium's own name for the bound on an episode's length."""


def gymnasium_worlds(
    env_id: str,
    *,
    num_worlds: int,
    settings: Mapping[str, str | int | float | bool | None],
    vectorization: str,
    max_episode_ticks: int | None,
    spaces: SpaceSettings,
) -> Simulation:
    """Build parallel worlds.

    Args:
        env_id: in Gymnasium's registry; `module:ID` imports the module that registers it, and is for a person to
            name, never for a file.
        num_worlds: at least 1.
        settings: keyword arguments of the environment.
        vectorization: `auto`, `sync` or `native`, see `townlet_runtime.Environment`.
        max_episode_ticks: longer episodes are truncated; None: the environment's own bound.
        spaces: how the spaces are read.

    Raises:
        ConfigError: if there is no such environment, it does not take the settings, or nothing can learn in its spaces.
        MissingExtraError: if a library that it needs is not installed.
    """
    name, env_id = f"gymnasium:{env_id}", _registered(env_id)
    registered = gymnasium.registry[env_id]
    if vectorization == "native" and registered.vector_entry_point is None:
        raise ConfigError(f"`{name}` has no vector form of its own", key="environment.vectorization")
    if vectorization != "sync" and registered.vector_entry_point is not None:
        own: Any = settings.get(_BOUND, registered.max_episode_steps)
        ticks = episode_bound(own, max_episode_ticks)
        keywords = dict(settings) if max_episode_ticks is None else {**settings, _BOUND: ticks}
        env = _built(name, env_id, gymnasium.make_vec, num_worlds, vectorization_mode="vector_entry_point", **keywords)
        with ExitStack() as undo:
            undo.callback(close_environments, name, [env])
            if env.metadata.get("autoreset_mode") == _NEXT_STEP:
                native = NativeWorlds(name, env, episode_ticks=ticks, settings=spaces)
                undo.pop_all()
                return native
        if vectorization == "native":
            message = f"the vector form of `{name}` must reset worlds at the next step (`NEXT_STEP`)"
            raise ConfigError(message, key="environment.vectorization")
    # Gymnasium's passive checker looks at an environment's first step; the adapter looks at every one.
    keywords = {"disable_env_checker": True, **settings}
    with opened(name, lambda: _built(name, env_id, gymnasium.make, **keywords), num_worlds) as envs:
        return sync_worlds(name, envs, max_episode_ticks=max_episode_ticks, spaces=spaces)


def sync_worlds(
    name: str, envs: Sequence[gymnasium.Env[Any, Any]], *, max_episode_ticks: int | None, spaces: SpaceSettings
) -> SyncWorlds:
    """Return parallel worlds of environments, which are stepped one after the other.

    Args:
        name: of the environment.
        envs: one for each world, with the same spaces.
        max_episode_ticks: longer episodes are truncated; None: the environment's own bound.
        spaces: how the spaces are read.

    Raises:
        ConfigError: if spaces differ, or nothing can learn in them.
    """
    spec = envs[0].spec
    ticks = episode_bound(None if spec is None else spec.max_episode_steps, max_episode_ticks)
    return SyncWorlds(name, envs, episode_ticks=ticks, settings=spaces)


def _built(name: str, env_id: str, make: Callable[..., Any], *arguments: int, **keywords: Any) -> Any:
    try:
        return make(env_id, *arguments, **keywords)
    except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
        raise MissingExtraError(f"`{name}` needs something that is not installed: {error}") from error
    except Exception as error:  # somebody else's code
        message = f"`{name}` cannot be built: {type(error).__name__}: {error}"
        raise ConfigError(message, key="environment.settings") from error


@dataclass(frozen=True)
class _Lander:
    """All that the heuristic asks of an environment."""

    continuous: bool
    """Whether the engines are throttled."""

    @property
    def unwrapped(self) -> _Lander:
        return self


def lunar_lander_heuristic(spec: SimulationSpec) -> BatchController:
    """`gymnasium.envs.box2d.lunar_lander.heuristic`, called for each agent; it throttles where `continuous` is set.

    Raises:
        MissingExtraError: if Box2D is not installed.
    """
    try:
        module = import_module("gymnasium.envs.box2d.lunar_lander")
    except gymnasium.error.DependencyNotInstalled as error:
        raise MissingExtraError(
            f"the script of `{spec.name}` needs something that is not installed: {error}"
        ) from error
    lander = _Lander(continuous=spec.actions is not None)

    def decide(observations: Mapping[str, NDArray[np.float32]], agent_id: str) -> Any:
        return module.heuristic(lander, observations["observation"])

    return ObservationController(decide, spec.actions)


def _registered(env_id: str) -> str:
    """Import the module of `module:ID`; return the ID, which must be registered then."""
    module, _, registered = env_id.rpartition(":")
    if module:
        named_module(module, label=f"the world `gymnasium:{env_id}`")
    if registered not in gymnasium.registry:
        near = get_close_matches(registered, gymnasium.registry, n=3)
        hint = f"; near it: {', '.join(f'gymnasium:{one}' for one in near)}" if near else ""
        raise ConfigError(f"Gymnasium knows no environment {registered!r}{hint}", key="environment.name")
    return registered
