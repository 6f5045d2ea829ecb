"""What all adapters have in common: specs without commitments or events, scripts by name, resuming."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import ActionVocabulary, BatchController, SavedState
from townlet_runtime.adapters.controllers import ControllerFactory
from townlet_runtime.adapters.spaces import KIND
from townlet_runtime.errors import EnvironmentFaultError, SimulationError
from townlet_runtime.simulation.interface import Observations, SimulationSpec
from townlet_trajectory import ACTION_MASK

SCRIPTED = "scripted"

DEFAULT_EPISODE_TICKS = 1000
"""Of an environment that names no bound of its own."""

HISTORY, SEEN = "history", "seen"
"""Parts of a saved state."""


def environment_spec(
    name: str,
    vocabulary: ActionVocabulary,
    shapes: Mapping[str, tuple[int, ...]],
    *,
    num_worlds: int,
    capacity: int,
    episode_ticks: int,
) -> SimulationSpec:
    """The spec of a group in somebody else's environment: nothing binds, nothing is counted."""
    return SimulationSpec(
        name=name,
        vocabulary=vocabulary,
        observation_shapes=shapes,
        feature_names=(),
        num_worlds=num_worlds,
        capacity=capacity,
        episode_ticks=episode_ticks,
        event_names=(),
        commitment_columns=None,
        option_ticks={KIND: 0},
    )


def episode_bound(own: int | None, given: int | None) -> int:
    """The tighter bound of the environment's own and the given one."""
    bounds = [bound for bound in (own, given) if bound is not None]
    return min(bounds) if bounds else DEFAULT_EPISODE_TICKS


def behaviors_of(controller: ControllerFactory | None) -> tuple[str, ...]:
    """The names that `script_of` knows."""
    return () if controller is None else (SCRIPTED,)


def script_of(name: str, controller: ControllerFactory | None, spec: SimulationSpec) -> BatchController:
    """The behavior `scripted`, made anew.

    Raises:
        SimulationError: if the environment has no such behavior.
    """
    if controller is None or name != SCRIPTED:
        known = behaviors_of(controller) or "none"
        raise SimulationError(f"expected a behavior of `{spec.name}` ({known}), got {name!r}")
    return controller(spec)


def seen_state(observations: Observations, mask: NDArray[np.bool_] | None) -> dict[str, NDArray[Any]]:
    """What the agents see now, for `require_same`."""
    state: dict[str, NDArray[Any]] = {name: array.copy() for name, array in observations.items()}
    if mask is not None:
        state[ACTION_MASK] = mask.copy()
    return state


def require_same(
    environment: str, saved: SavedState, observations: Observations, mask: NDArray[np.bool_] | None, *, tick: int
) -> None:
    """Refuse to go on in worlds that did not come back to where they were.

    Raises:
        EnvironmentFaultError: if the agents see anything else than what was saved.
    """
    again = seen_state(observations, mask)
    same = saved.keys() == again.keys() and all(
        np.array_equal(array, again[name]) and array.dtype == again[name].dtype for name, array in saved.items()
    )
    if not same:
        raise not_repeatable(environment, "the same seeds and actions led to other observations", tick=tick)


def not_repeatable(environment: str, difference: str, *, tick: int, world: int | None = None) -> EnvironmentFaultError:
    """The error of an environment that does not do the same thing twice."""
    problem = f"{difference}: the environment is not deterministic and cannot be resumed exactly"
    return EnvironmentFaultError(environment, problem, world=world, tick=tick)
