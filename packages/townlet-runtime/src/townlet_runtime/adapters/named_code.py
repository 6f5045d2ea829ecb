"""Code by name: registered by an installed package, or `module:name` from the command line alone."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from townlet_behavior import BehaviorError
from townlet_runtime.errors import ConfigError, MissingExtraError, SimulationError, TownletError
from townlet_trajectory.errors import RegistrationError, TrajectoryError
from townlet_trajectory.storage.entry_points import load_registered

SIMULATIONS = "townlet.simulations"
"""Entry point group of worlds: functions of the number of worlds, or PettingZoo's own of one world."""
CONTROLLERS = "townlet.controllers"
"""Entry point group of scripts; one that is named like a world is that world's default script."""
GUARDRAILS = "townlet.guardrails"
"""Entry point group of rules on executed actions."""

Factory = Callable[..., object]


def is_reference(text: str) -> bool:
    """Tell whether `text` has the form `module:name`."""
    module, _, name = text.partition(":")
    return name.isidentifier() and all(part.isidentifier() for part in module.split("."))


def registered_factory(group: str, name: str) -> Factory | None:
    """Load the function that an installed package registered as `name`; None where no package did.

    Args:
        group: the entry point group.
        name: the entry point.

    Raises:
        ConfigError: if it cannot be imported, or is no function.
        MissingExtraError: if it needs a module that is not installed.
    """
    try:
        found = load_registered(group, name)
    except RegistrationError as error:
        if isinstance(error.__cause__, ModuleNotFoundError):
            missing = f"needs something that is not installed: {error.__cause__}"
            raise MissingExtraError(f"`{name}` of the entry point group `{group}` {missing}") from error
        raise ConfigError(str(error)) from error
    if found is not None and not callable(found):
        raise ConfigError(f"`{name}` of the entry point group `{group}`: expected a function, got {found!r}")
    return found


def named_factory(reference: str, *, label: str) -> Factory:
    """Import a function that a person named on the command line; never call this with words of a file.

    Args:
        reference: `module:name`; modules of the working folder are found too.
        label: the thing that it makes, for errors, such as `the controller 'rules:make'`.

    Raises:
        ConfigError: if the reference is of another form, or names nothing that can be called.
    """
    if not is_reference(reference):
        raise ConfigError(f"expected {label} as `module:name`")
    module_name, _, name = reference.partition(":")
    module = named_module(module_name, label=label)
    try:
        found = getattr(module, name)
    except Exception as error:  # a module may make its names when they are asked for
        raise ConfigError(f"{label} cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ConfigError(f"{label} must be a function, got {found!r}")
    factory: Factory = found
    return factory


def named_module(name: str, *, label: str) -> ModuleType:
    """Import a module that a person named on the command line; never call this with words of a file.

    Args:
        name: of the module; those of the working folder are found too.
        label: the thing that it holds, for errors.

    Raises:
        ConfigError: if it cannot be imported.
    """
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        return importlib.import_module(name)
    except Exception as error:  # the import runs a user's own module
        raise ConfigError(f"{label} cannot be imported: {type(error).__name__}: {error}") from error


def takes_parameter(factory: Factory, name: str) -> bool:
    """Tell whether a function or class names a parameter; true where Python cannot tell."""
    try:
        return name in inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return True


def made_by(factory: Factory, *arguments: Any, settings: Mapping[str, Any], label: str, takes: str) -> Any:
    """Call a user's own function.

    Args:
        factory: the function.
        arguments: by place.
        settings: arguments by name.
        label: the thing that it makes, for errors.
        takes: the arguments that it must take, in words.

    Returns:
        Its answer.

    Raises:
        ConfigError: if it does not take the arguments, or raises.
    """
    try:
        inspect.signature(factory).bind(*arguments, **settings)
    except TypeError as error:
        raise ConfigError(f"{label} must take {takes}: {error}") from error
    except ValueError:  # written in C: there is no signature to compare with
        pass
    try:
        return factory(*arguments, **settings)
    except (TownletError, BehaviorError, TrajectoryError):
        raise
    except Exception as error:  # a user's own code
        raise ConfigError(f"{label} raised {type(error).__name__}: {error}") from error


@contextmanager
def blamed(label: str) -> Iterator[None]:
    """Turn an exception of a user's own code into an error that names its origin.

    Raises:
        SimulationError: instead of any exception that is not one of ours.
    """
    try:
        yield
    except (TownletError, BehaviorError, TrajectoryError):
        raise
    except Exception as error:
        raise SimulationError(f"{label} raised {type(error).__name__}: {error}") from error
