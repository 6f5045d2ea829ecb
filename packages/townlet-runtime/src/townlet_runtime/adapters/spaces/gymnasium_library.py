"""Gymnasium, and the errors of environments whose spaces or answers cannot be used."""

from __future__ import annotations

from collections.abc import Callable

from townlet_runtime.errors import ConfigError, EnvironmentFaultError, MissingExtraError

try:
    import gymnasium
except ModuleNotFoundError as error:
    if error.name != "gymnasium":
        raise
    raise MissingExtraError(
        "environments of Gymnasium and PettingZoo need `gymnasium`: install 'townlet-runtime[gymnasium]'"
    ) from error

__all__ = ["NAME_KEY", "Fault", "gymnasium", "spaces", "unlearnable"]

spaces = gymnasium.spaces

Fault = Callable[[int, str], EnvironmentFaultError]
"""Builds the error for one row (a world or an agent) from what is wrong there."""

NAME_KEY = "environment.name"


def unlearnable(environment: str, expected: str, got: str) -> ConfigError:
    """Make the error of a space in which nothing can learn.

    Args:
        environment: its name.
        expected: what a space may be.
        got: the space.
    """
    return ConfigError(f"`{environment}` cannot be learned: expected {expected}, got {got}", key=NAME_KEY)
