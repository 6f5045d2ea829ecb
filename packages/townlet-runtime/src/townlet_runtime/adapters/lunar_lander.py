"""Gymnasium's own heuristic for the lunar lander as a script."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import BatchController
from townlet_runtime.adapters.controllers import ObservationController
from townlet_runtime.adapters.libraries import gymnasium
from townlet_runtime.errors import MissingExtraError
from townlet_runtime.simulation.interface import SimulationSpec


class _Discrete:
    """All that the heuristic asks of an environment: whether the engines are throttled."""

    continuous = False

    @property
    def unwrapped(self) -> _Discrete:
        return self


def lunar_lander_heuristic(spec: SimulationSpec) -> BatchController:
    """`gymnasium.envs.box2d.lunar_lander.heuristic`, called for each agent.

    Raises:
        MissingExtraError: if Box2D is not installed.
    """
    try:
        module = import_module("gymnasium.envs.box2d.lunar_lander")
    except gymnasium.error.DependencyNotInstalled as error:
        raise MissingExtraError(
            f"the script of `{spec.name}` needs something that is not installed: {error}"
        ) from error
    lander = _Discrete()

    def decide(observations: Mapping[str, NDArray[np.float32]], agent_id: str) -> int:
        return int(module.heuristic(lander, observations["observation"]))

    return ObservationController(decide)
