"""Parallel worlds of an environment of PettingZoo, of MPE2, or registered by an installed package."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import Box
from townlet_runtime.adapters.agent_groups import Answer, ParallelEnv
from townlet_runtime.adapters.named_code import SIMULATIONS, Factory, registered_factory, takes_parameter
from townlet_runtime.adapters.open import episode_bound, opened
from townlet_runtime.adapters.parallel_worlds import ParallelWorlds
from townlet_runtime.adapters.spaces.actions import num_values
from townlet_runtime.adapters.spaces.gymnasium_library import NAME_KEY, spaces, unlearnable
from townlet_runtime.adapters.spaces.settings import SpaceSettings
from townlet_runtime.errors import ConfigError, MissingExtraError
from townlet_trajectory import ACTION_MASK
from townlet_trajectory.storage.entry_points import registered_names

PACKAGES = ("pettingzoo", "mpe2")
"""Whose modules may be named, and nobody else's: a name in a file must not import just anything."""


def pettingzoo_worlds(
    name: str,
    *,
    num_worlds: int,
    settings: Mapping[str, str | int | float | bool | None],
    max_episode_ticks: int | None,
    spaces: SpaceSettings,
    global_state: bool,
) -> ParallelWorlds:
    """Build parallel worlds.

    Args:
        name: registered in `townlet.simulations`, or a module of PettingZoo or MPE2.
        num_worlds: at least 1.
        settings: keyword arguments of the environment.
        max_episode_ticks: longer episodes are truncated; None: the environment's own bound.
        spaces: how the spaces are read.
        global_state: whether critics see the environment's `state()`.

    Raises:
        ConfigError: if there is no such environment, it does not take the settings, or nothing can learn in its spaces.
        MissingExtraError: if a library that it needs is not installed.
    """
    _require_pettingzoo()
    label, factory = f"pettingzoo:{name}", _factory(name)
    with opened(label, lambda: built(label, factory, settings), num_worlds) as envs:
        return worlds_of(label, envs, max_episode_ticks=max_episode_ticks, spaces=spaces, global_state=global_state)


def worlds_of(
    label: str, envs: Sequence[object], *, max_episode_ticks: int | None, spaces: SpaceSettings, global_state: bool
) -> ParallelWorlds:
    """Return parallel worlds of PettingZoo's environments, in turns or in parallel.

    Args:
        label: their name.
        envs: one for each world, with the same agents and spaces.
        max_episode_ticks: longer episodes are truncated; None: the environment's own bound.
        spaces: how the spaces are read.
        global_state: whether critics see the environment's `state()`.

    Raises:
        ConfigError: if one is no environment of PettingZoo, or nothing can learn in its spaces.
        MissingExtraError: if PettingZoo is not installed.
    """
    _require_pettingzoo()
    parallel: list[ParallelEnv] = []
    for env in envs:
        if not isinstance(env, _Steps):
            raise ConfigError(
                f"`{label}` must build an environment of PettingZoo or Gymnasium, or take `num_worlds` and build a "
                f"`Simulation`, got {env!r}",
                key=NAME_KEY,
            )
        parallel.append(in_parallel(env))
    ticks = episode_bound(_own_bound(parallel[0]), max_episode_ticks)
    worlds = ParallelWorlds(label, parallel, episode_ticks=ticks, settings=spaces, global_state=global_state)
    for spec in worlds.specs.values() if isinstance(parallel[0], TurnBased) else ():
        if isinstance(spec.actions, Box):
            # An agent that is not on turn is shown by its mask, and numbers have none.
            raise unlearnable(label, "actions that a mask can forbid, as agents take turns", f"{spec.actions}")
    return worlds


@runtime_checkable
class _Steps(Protocol):
    """The part of PettingZoo's interfaces by which an environment is told from other things."""

    def reset(self, seed: int | None = None) -> Any: ...

    def step(self, actions: Any) -> Any: ...


def built(label: str, factory: Factory, settings: Mapping[str, Any]) -> Any:
    """Build one environment.

    Args:
        label: its name, for errors.
        factory: a function that builds it.
        settings: its keyword arguments.

    Raises:
        ConfigError: if the function fails.
        MissingExtraError: if it needs a library that is not installed.
    """
    try:
        return factory(**settings)
    except ImportError as error:
        raise _missing(label, error) from error
    except Exception as error:  # somebody else's code
        raise ConfigError(
            f"`{label}` cannot be built: {type(error).__name__}: {error}", key="environment.settings"
        ) from error


def _own_bound(env: Any) -> int | None:
    """The bound on an episode's length that PettingZoo's own environments and MPE2's keep, by the same name."""
    try:
        cycles = env.unwrapped.max_cycles
        turns = len(env.possible_agents) if isinstance(env, TurnBased) else 1
    except AttributeError:
        return None
    return cycles * turns if isinstance(cycles, int) and cycles > 0 else None


def _require_pettingzoo() -> None:
    """Import PettingZoo before its environments: it keeps a library that it uses from printing a greeting."""
    try:
        import_module("pettingzoo")
    except ModuleNotFoundError as error:
        if error.name != "pettingzoo":
            raise
        message = "environments of PettingZoo need `pettingzoo`: install 'townlet-runtime[pettingzoo]'"
        raise MissingExtraError(message) from error


def _factory(name: str) -> Factory:
    """Find the function that builds one world.

    Raises:
        ConfigError: if nothing of that name is registered or a parallel environment of the known packages.
        MissingExtraError: if the package is not installed.
    """
    label = f"pettingzoo:{name}"
    registered = registered_factory(SIMULATIONS, name)
    if registered is not None:
        if takes_parameter(registered, "num_worlds"):
            raise ConfigError(
                f"`{name}` is registered as a `Simulation`: name it `{name}`, not `{label}`", key=NAME_KEY
            )
        return registered
    package = name.partition(".")[0]
    if package not in PACKAGES or not all(part.isidentifier() for part in name.split(".")):
        raise _unknown(name)
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        if error.name != package and error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise _unknown(name) from error
        raise _missing(label, error) from error
    except ImportError as error:
        raise _missing(label, error) from error
    names = vars(module)
    factory: Factory | None = names.get("parallel_env", names.get("env"))
    if not callable(factory):
        raise _unknown(name)
    return factory


def _unknown(name: str) -> ConfigError:
    near = get_close_matches(name, list(_known_names()), n=3)
    hint = f"; near it: {', '.join(f'pettingzoo:{one}' for one in near)}" if near else ""
    return ConfigError(
        f"no PettingZoo environment {name!r}: expected a module of {' or '.join(PACKAGES)}, or a name registered in"
        f" `{SIMULATIONS}`{hint}",
        key=NAME_KEY,
    )


def _missing(label: str, error: ImportError) -> MissingExtraError:
    return MissingExtraError(f"`{label}` needs something that is not installed: {error}")


def _known_names() -> Iterator[str]:
    """List names for suggestions: registered ones, and versioned modules of the packages, found without importing."""
    yield from registered_names(SIMULATIONS)
    for package in PACKAGES:
        spec = find_spec(package)
        folders = [] if spec is None else list(spec.submodule_search_locations or ())
        for module in pkgutil.iter_modules(folders):
            full = f"{package}.{module.name}"
            if re.search(r"_v\d+$", module.name):
                yield full
            elif module.ispkg:
                inner = [f"{folder}/{module.name}" for folder in folders]
                yield from (f"{full}.{one.name}" for one in pkgutil.iter_modules(inner) if "_v" in one.name)


def in_parallel(env: Any) -> ParallelEnv:
    """Return a PettingZoo environment in its parallel form.

    An AEC environment that calls itself parallelizable is converted by PettingZoo's `aec_to_parallel`, in which all
    agents act at once; any other becomes a `TurnBased` one.
    """
    from pettingzoo import AECEnv
    from pettingzoo.utils.conversions import aec_to_parallel

    if not isinstance(env, AECEnv):
        parallel: ParallelEnv = env
    elif env.metadata.get("is_parallelizable", False):
        parallel = aec_to_parallel(env)
    else:
        parallel = TurnBased(env)
    return parallel


class TurnBased:
    """A turn-based environment as a `ParallelEnv`, one turn a step, by PettingZoo's `turn_based_aec_to_parallel`.

    An agent that is not on turn is shown an action mask that allows nothing, and its action is ignored. One on turn is
    shown its own mask, or that everything is allowed.

    Args:
        env: an `AECEnv`.
    """

    def __init__(self, env: Any) -> None:
        from pettingzoo.utils.conversions import turn_based_aec_to_parallel

        self._env = turn_based_aec_to_parallel(env)

    @property
    def possible_agents(self) -> Sequence[Hashable]:
        agents: Sequence[Hashable] = self._env.possible_agents
        return agents

    @property
    def unwrapped(self) -> Any:
        return self._env.unwrapped

    @property
    def metadata(self) -> Any:
        return self._env.metadata

    @property
    def state_space(self) -> Any:
        return self._env.state_space

    def state(self) -> Any:
        return self._env.state()

    @property
    def agents(self) -> list[Hashable]:
        """Without agents that are over, which PettingZoo may only remove when it is their turn."""
        aec = self._env.aec_env
        return [one for one in self._env.agents if not (aec.terminations[one] or aec.truncations[one])]

    def observation_space(self, agent: Hashable) -> Any:
        return self._env.observation_space(agent)

    def action_space(self, agent: Hashable) -> Any:
        return self._env.action_space(agent)

    def reset(self, seed: int | None = None) -> tuple[Answer, Answer]:
        return self._masked(*self._env.reset(seed=seed))

    def step(self, actions: Mapping[Hashable, Any]) -> tuple[Answer, Answer, Answer, Answer, Answer]:
        observations, rewards, terminated, truncated, infos = self._env.step(actions)
        seen, told = self._masked(observations, infos)
        return seen, rewards, terminated, truncated, told

    def render(self) -> Any:
        return self._env.render()

    def close(self) -> None:
        self._env.close()

    def _masked(self, observations: Answer, infos: Answer) -> tuple[Answer, Answer]:
        """Show every agent whether it is on turn, where its mask is: in the observation, else in the info."""
        seen, told = dict(observations), dict(infos)
        for agent in self.agents:
            on_turn = agent == self._env.aec_env.agent_selection
            space = self.observation_space(agent)
            if isinstance(space, spaces.Dict) and ACTION_MASK in space.spaces:
                if not on_turn:
                    seen[agent] = {**seen[agent], ACTION_MASK: self._mask(agent, 0)}
            elif not on_turn or ACTION_MASK not in told[agent]:
                told[agent] = {**told[agent], ACTION_MASK: self._mask(agent, int(on_turn))}
        return seen, told

    def _mask(self, agent: Hashable, value: int) -> NDArray[np.int8]:
        """The same for every action, of a discrete space, or every value of every part."""
        return np.full(num_values(self.action_space(agent)), value, np.int8)
