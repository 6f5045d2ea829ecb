"""Controllers for other people's environments: a user's own function, lifted, and how one is found by name."""

from __future__ import annotations

import importlib
import operator
import os
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import BatchController, StatelessController
from townlet_runtime.errors import ConfigError, SimulationError
from townlet_runtime.simulation.interface import Observed, SimulationSpec

ControllerFactory = Callable[[SimulationSpec], BatchController]
"""Makes the script of a group from what the group can see and do."""

CONTROLLERS = "townlet.controllers"
"""Entry point group; an entry named like an environment is that environment's default script."""

Decide = Callable[[Mapping[str, NDArray[np.float32]], str], int]
"""An action index (-1: no proposal) from what one agent sees, each array without the agents' axis, and its id."""


class ObservationController(StatelessController):
    """Lifts a function that decides for one agent from its observations. Its cost is that of the calls it makes."""

    def __init__(self, decide: Decide) -> None:
        self._decide = decide

    def propose(self, view: Observed) -> NDArray[np.int64]:
        """[N]; one call per agent, in the order of slots.

        Raises:
            SimulationError: if the function raises, or answers anything but an integer.
        """
        proposals = np.empty(len(view.slots), np.int64)
        for row, agent_id in enumerate(view.agent_ids.tolist()):
            try:
                action = self._decide({name: array[row] for name, array in view.observations.items()}, agent_id)
            except Exception as error:  # somebody else's code
                raise SimulationError(f"the script raised {type(error).__name__} for {agent_id!r}: {error}") from error
            try:
                proposals[row] = operator.index(action)
            except TypeError as error:
                message = f"the script must propose an action index, got {action!r} for {agent_id!r}"
                raise SimulationError(message) from error
        return proposals


@runtime_checkable
class _Checked(BatchController, Protocol):
    """A controller, as a user's own factory must make it."""


def load_controller(reference: str) -> ControllerFactory:
    """Import a controller factory that a person named on the command line; never call this with words of a file.

    Args:
        reference: `module:name`; modules of the working folder are found too.

    Raises:
        ConfigError: if the reference is of another form, or names nothing that can be called.
    """
    module_name, _, name = reference.partition(":")
    if not name.isidentifier() or not all(part.isidentifier() for part in module_name.split(".")):
        raise ConfigError(f"expected a controller as `module:name`, got {reference!r}")
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        factory = getattr(importlib.import_module(module_name), name)
    except Exception as error:  # whatever a user's own module raises
        message = f"the controller {reference!r} cannot be imported: {type(error).__name__}: {error}"
        raise ConfigError(message) from error
    return _checked(factory, reference)


def registered_controller(name: str) -> ControllerFactory | None:
    """Load the factory registered as `name` in the entry point group `townlet.controllers`; None without one.

    Raises:
        ConfigError: if what is registered cannot be imported or called.
    """
    found = entry_points(group=CONTROLLERS, name=name)
    for entry in found:
        try:
            factory = entry.load()
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"the registered controller {name!r} cannot be imported: {error}") from error
        return _checked(factory, name)
    return None


def _checked(factory: object, label: str) -> ControllerFactory:
    """Wrap a factory so that the controller it makes is checked when it is made."""
    if not callable(factory):
        raise ConfigError(f"the controller {label!r} must be a function of a `SimulationSpec`, got {factory!r}")

    def make(spec: SimulationSpec) -> BatchController:
        try:
            controller: object = factory(spec)
        except Exception as error:
            raise ConfigError(f"the controller {label!r} raised {type(error).__name__}: {error}") from error
        if not isinstance(controller, _Checked):
            raise ConfigError(
                f"the controller {label!r} must make a `BatchController` (propose, settled, forget), got {controller!r}"
            )
        return controller

    return make
