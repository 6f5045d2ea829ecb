"""Parallel worlds of an environment of PettingZoo, of MPE2, or registered by an installed package."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from townlet_runtime.adapters.agent_groups import ParallelEnv
from townlet_runtime.adapters.controllers import ControllerFactory
from townlet_runtime.adapters.history import close_environments, episode_bound
from townlet_runtime.adapters.parallel_worlds import ParallelWorlds
from townlet_runtime.errors import ConfigError, MissingExtraError

SIMULATIONS = "townlet.simulations"
"""Entry point group: names of functions that build a PettingZoo `ParallelEnv`."""

PACKAGES = ("pettingzoo", "mpe2")
"""Whose modules may be named, and nobody else's: a name in a file must not import just anything."""

_KEY = "environment.name"


def pettingzoo_worlds(
    name: str,
    *,
    num_worlds: int,
    settings: Mapping[str, str | int | float | bool | None],
    max_episode_ticks: int | None,
    controller: ControllerFactory | None,
) -> ParallelWorlds:
    """Build parallel worlds.

    Args:
        name: registered in `townlet.simulations`, or a module of PettingZoo or MPE2.
        num_worlds: at least 1.
        settings: keyword arguments of the environment.
        max_episode_ticks: longer episodes are truncated; None: the environment's own bound.
        controller: makes the behavior `scripted`, once for each group.

    Raises:
        ConfigError: if there is no such environment, it is turn-based, it does not take the settings, or nothing can
            learn in its spaces.
        MissingExtraError: if a library that it needs is not installed.
    """
    pettingzoo = _pettingzoo()
    factory = _factory(name)
    envs: list[ParallelEnv] = []
    with ExitStack() as undo:
        undo.callback(close_environments, f"pettingzoo:{name}", envs)
        for _ in range(num_worlds):
            envs.append(_built(name, factory, settings))
            if isinstance(envs[-1], pettingzoo.AECEnv):
                raise _turn_based(name)
        ticks = episode_bound(_own_bound(envs[0]), max_episode_ticks)
        worlds = ParallelWorlds(f"pettingzoo:{name}", envs, episode_ticks=ticks, controller=controller)
        undo.pop_all()
    return worlds


def _built(name: str, factory: Callable[..., ParallelEnv], settings: Mapping[str, Any]) -> ParallelEnv:
    try:
        return factory(**settings)
    except ImportError as error:
        raise _missing(name, error) from error
    except Exception as error:  # somebody else's code
        message = f"`pettingzoo:{name}` cannot be built: {type(error).__name__}: {error}"
        raise ConfigError(message, key="environment.settings") from error


def _own_bound(env: Any) -> int | None:
    """The bound on an episode's length that PettingZoo's own environments and MPE2's keep, by the same name."""
    try:
        cycles = env.unwrapped.max_cycles
    except AttributeError:
        return None
    return cycles if isinstance(cycles, int) and cycles > 0 else None


def _pettingzoo() -> ModuleType:
    """Import PettingZoo before its environments: it keeps a library that it uses from printing a greeting."""
    try:
        return import_module("pettingzoo")
    except ModuleNotFoundError as error:
        if error.name != "pettingzoo":
            raise
        message = "environments of PettingZoo need `pettingzoo`: install 'townlet-runtime[pettingzoo]'"
        raise MissingExtraError(message) from error


def _factory(name: str) -> Callable[..., Any]:
    """Find the function that builds one world.

    Raises:
        ConfigError: if nothing of that name is registered or a parallel environment of the known packages.
        MissingExtraError: if the package is not installed.
    """
    for entry in entry_points(group=SIMULATIONS, name=name):
        try:
            registered: Callable[..., Any] = entry.load()
        except ImportError as error:
            raise _missing(name, error) from error
        except AttributeError as error:
            raise ConfigError(f"`pettingzoo:{name}` is registered wrongly: {error}", key=_KEY) from error
        return registered
    package = name.partition(".")[0]
    if package not in PACKAGES or not all(part.isidentifier() for part in name.split(".")):
        raise _unknown(name)
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        if error.name != package and error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise _unknown(name) from error
        raise _missing(name, error) from error
    except ImportError as error:
        raise _missing(name, error) from error
    names = vars(module)
    factory: Callable[..., Any] | None = names.get("parallel_env")
    if not callable(factory):
        raise _turn_based(name) if callable(names.get("env")) else _unknown(name)
    return factory


def _turn_based(name: str) -> ConfigError:
    return ConfigError(
        f"`pettingzoo:{name}` has only PettingZoo's turn-based form (AEC); expected one with `parallel_env`, in which"
        " all agents act at once",
        key=_KEY,
    )


def _unknown(name: str) -> ConfigError:
    near = get_close_matches(name, list(_known_names()), n=3)
    hint = f"; near it: {', '.join(f'pettingzoo:{one}' for one in near)}" if near else ""
    return ConfigError(
        f"no PettingZoo environment {name!r}: expected a module of {' or '.join(PACKAGES)}, or a name registered in"
        f" `{SIMULATIONS}`{hint}",
        key=_KEY,
    )


def _missing(name: str, error: ImportError) -> MissingExtraError:
    return MissingExtraError(f"`pettingzoo:{name}` needs something that is not installed: {error}")


def _known_names() -> Iterator[str]:
    """List names for suggestions: registered ones, and versioned modules of the packages, found without importing."""
    yield from entry_points(group=SIMULATIONS).names
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
