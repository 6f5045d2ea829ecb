"""Parallel worlds of an environment in Gymnasium's registry."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from townlet_runtime.adapters.common import episode_bound
from townlet_runtime.adapters.controllers import ControllerFactory
from townlet_runtime.adapters.gymnasium_native import NativeWorlds
from townlet_runtime.adapters.gymnasium_sync import SyncWorlds
from townlet_runtime.adapters.libraries import gymnasium
from townlet_runtime.errors import ConfigError, MissingExtraError
from townlet_runtime.simulation.interface import Simulation

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
    controller: ControllerFactory | None,
) -> Simulation:
    """Build so many worlds; `townlet_runtime.adapters.registry.Environment` says what the arguments mean.

    Raises:
        ConfigError: if there is no such environment, it does not take the settings, or nothing can learn in its spaces.
        MissingExtraError: if a library that it needs is not installed.
    """
    registered = _registered(env_id)
    if vectorization == "native" and registered.vector_entry_point is None:
        raise ConfigError(f"`gymnasium:{env_id}` has no vector form of its own", key="environment.vectorization")
    if vectorization != "sync" and registered.vector_entry_point is not None:
        native = _native(env_id, num_worlds, settings, max_episode_ticks, controller, own=registered.max_episode_steps)
        if native is not None:
            return native
        if vectorization == "native":
            raise ConfigError(
                f"the vector form of `gymnasium:{env_id}` must reset worlds at the next step (`NEXT_STEP`)",
                key="environment.vectorization",
            )
    return _sync(env_id, num_worlds, settings, max_episode_ticks, controller)


def _registered(env_id: str) -> Any:
    """The registry's entry. A module part would import whatever a file names, so it is no id."""
    if env_id in gymnasium.registry:
        return gymnasium.registry[env_id]
    near = get_close_matches(env_id, gymnasium.registry, n=3)
    hint = f"; near it: {', '.join(f'gymnasium:{one}' for one in near)}" if near else ""
    raise ConfigError(f"Gymnasium knows no environment {env_id!r}{hint}", key="environment.name")


def _sync(
    env_id: str,
    num_worlds: int,
    settings: Mapping[str, Any],
    max_episode_ticks: int | None,
    controller: ControllerFactory | None,
) -> SyncWorlds:
    # Gymnasium's passive checker looks at an environment's first step; the adapter looks at every one.
    keywords = {"disable_env_checker": True, **settings}
    envs = []
    for _ in range(num_worlds):
        try:
            envs.append(gymnasium.make(env_id, **keywords))
        except Exception as error:  # somebody else's code
            raise _not_built(env_id, error) from error
    first = envs[0]
    for env in envs[1:]:
        if env.observation_space != first.observation_space or env.action_space != first.action_space:
            raise ConfigError(
                f"the worlds of `gymnasium:{env_id}` must have equal spaces, got {first.observation_space} and"
                f" {env.observation_space}, {first.action_space} and {env.action_space}",
                key="environment.name",
            )
    own = None if first.spec is None else first.spec.max_episode_steps
    return SyncWorlds(
        f"gymnasium:{env_id}", envs, episode_ticks=episode_bound(own, max_episode_ticks), controller=controller
    )


def _native(
    env_id: str,
    num_worlds: int,
    settings: Mapping[str, Any],
    max_episode_ticks: int | None,
    controller: ControllerFactory | None,
    *,
    own: int | None,
) -> NativeWorlds | None:
    """None if the environment resets worlds in another way."""
    ticks = episode_bound(settings.get(_BOUND, own), max_episode_ticks)
    keywords = dict(settings) if max_episode_ticks is None else {**settings, _BOUND: ticks}
    try:
        env = gymnasium.make_vec(env_id, num_worlds, vectorization_mode="vector_entry_point", **keywords)
    except Exception as error:  # somebody else's code
        raise _not_built(env_id, error) from error
    if env.metadata.get("autoreset_mode") != _NEXT_STEP:
        env.close()
        return None
    return NativeWorlds(f"gymnasium:{env_id}", env, episode_ticks=ticks, controller=controller)


def _not_built(env_id: str, error: Exception) -> ConfigError | MissingExtraError:
    if isinstance(error, gymnasium.error.DependencyNotInstalled | ImportError):
        return MissingExtraError(f"`gymnasium:{env_id}` needs something that is not installed: {error}")
    return ConfigError(
        f"`gymnasium:{env_id}` cannot be built: {type(error).__name__}: {error}", key="environment.settings"
    )
