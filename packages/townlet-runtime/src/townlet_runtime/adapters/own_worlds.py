"""Parallel worlds of a user's own `Simulation`, built by a function that was registered or named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import BatchController, Guardrail, SavedState
from townlet_runtime.adapters.named_code import Factory, blamed, made_by
from townlet_runtime.adapters.open import opened
from townlet_runtime.adapters.spaces.settings import SpaceSettings
from townlet_runtime.errors import ConfigError, EnvironmentFaultError, SimulationError
from townlet_runtime.simulation.intake import Intake
from townlet_runtime.simulation.interface import (
    ActionArray,
    GroupedSimulation,
    Observed,
    Picture,
    SimulationSpec,
    Stepped,
)
from townlet_runtime.simulation.one_group import OneGroup, in_groups

TAKES = "`num_worlds`, the number of worlds side by side, and `environment.settings` as keyword arguments"


def own_worlds(name: str, factory: Factory, *, num_worlds: int, settings: Mapping[str, Any]) -> GroupedSimulation:
    """Build parallel worlds of a user's own.

    Args:
        name: of the world, for errors.
        factory: a function of `num_worlds` and `settings` that returns a `Simulation` or a `GroupedSimulation`.
        num_worlds: at least 1.
        settings: its other keyword arguments.

    Returns:
        The worlds; their first view is checked, and their exceptions become errors that name them.

    Raises:
        ConfigError: if the function does not take the arguments, raises, or returns another thing.
    """
    label = f"the world `{name}`"
    made: object = made_by(factory, settings={"num_worlds": num_worlds, **settings}, label=label, takes=TAKES)
    try:
        grouped = in_groups(made)
    except SimulationError as error:
        raise ConfigError(f"{label}: {error}") from error
    for spec in grouped.specs.values():
        if spec.num_worlds != num_worlds:
            raise ConfigError(f"{label} must have the {num_worlds} worlds of `num_worlds`, got {spec.num_worlds}")
    return _OwnWorlds(name, grouped)


def own_environments(
    name: str,
    factory: Factory,
    *,
    num_worlds: int,
    settings: Mapping[str, Any],
    max_episode_ticks: int | None,
    spaces: SpaceSettings,
    global_state: bool,
) -> GroupedSimulation:
    """Build parallel worlds of environments of Gymnasium or PettingZoo that a user's own function makes one by one.

    Args:
        name: of the world.
        factory: a function of `settings` that returns one environment.
        num_worlds: at least 1.
        settings: its keyword arguments.
        max_episode_ticks: longer episodes are truncated; None: the environment's own bound.
        spaces: how the spaces are read.
        global_state: whether critics see PettingZoo's `state()`.

    Raises:
        ConfigError: if the function fails or returns another thing, or nothing can learn in the spaces.
        MissingExtraError: if Gymnasium is not installed, or PettingZoo for an environment of that.
    """
    # Not before such an environment is built: the libraries are optional, and take a while to import.
    from townlet_runtime.adapters.gymnasium_worlds import sync_worlds
    from townlet_runtime.adapters.pettingzoo_worlds import built, worlds_of
    from townlet_runtime.adapters.spaces.gymnasium_library import gymnasium

    with opened(name, lambda: built(name, factory, settings), num_worlds) as envs:
        if not isinstance(envs[0], gymnasium.Env):
            return worlds_of(name, envs, max_episode_ticks=max_episode_ticks, spaces=spaces, global_state=global_state)
        if global_state:
            raise no_state(name)
        return OneGroup(sync_worlds(name, envs, max_episode_ticks=max_episode_ticks, spaces=spaces))


def no_state(name: str) -> ConfigError:
    """Make the error of a world that is asked for the global state of PettingZoo's environments."""
    told = f"`{name}` is no environment of PettingZoo, so it has no `state()` that critics could see; "
    return ConfigError(told + "a `Simulation` says `critic_shapes`", key="environment.global_state")


class _OwnWorlds:
    """A `GroupedSimulation` of a user's own; its exceptions name world and tick, and its first view is checked."""

    def __init__(self, name: str, simulation: GroupedSimulation) -> None:
        self._name = name
        self._simulation = simulation
        self._tick = 0

    @contextmanager
    def _blamed(self, call: str) -> Iterator[None]:
        try:
            yield
        except EnvironmentFaultError:
            raise
        except Exception as error:  # a user's own code
            told = "" if isinstance(error, SimulationError) else f"{type(error).__name__}: "
            raise EnvironmentFaultError(self._name, f"`{call}`: {told}{error}", tick=self._tick) from error

    @property
    def specs(self) -> Mapping[str, SimulationSpec]:
        return self._simulation.specs

    @property
    def behaviors(self) -> tuple[str, ...]:
        return self._simulation.behaviors

    def reset(self, *, seeds: NDArray[np.int64]) -> Mapping[str, Observed]:
        self._tick = 0
        with self._blamed("reset"):
            observed = self._simulation.reset(seeds=seeds)
            for group, spec in self.specs.items():
                Intake(spec).begin(observed[group], seeds=seeds)
        return observed

    def step(self, actions: Mapping[str, ActionArray]) -> Mapping[str, Stepped]:
        with self._blamed("step"):
            stepped = self._simulation.step(actions)
        self._tick += 1
        return stepped

    def scripted(self, name: str) -> Mapping[str, BatchController]:
        with self._blamed("scripted"):
            return self._simulation.scripted(name)

    def guardrails(self) -> Mapping[str, Sequence[Guardrail]]:
        with self._blamed("guardrails"):
            return self._simulation.guardrails()

    def save_state(self) -> SavedState | None:
        with self._blamed("save_state"):
            return self._simulation.save_state()

    def restore(self, state: SavedState) -> Mapping[str, Observed]:
        with blamed(f"`restore` of the world `{self._name}`"):
            return self._simulation.restore(state)

    def render(self) -> Picture | None:
        """Draw the worlds as they are now; None where the simulation does not render."""
        with self._blamed("render"):
            return self._simulation.render()

    @property
    def simulation_inside(self) -> object:
        return self._simulation

    def close(self) -> None:
        with self._blamed("close"):
            self._simulation.close()
