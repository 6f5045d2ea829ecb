"""Modules of the optional extras: imported where they are used, and missed with one clear error."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from townlet_trajectory.errors import MissingExtraError


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, which is installed with the extra `extra` of this package. Raises `MissingExtraError` if it, or
    a module that it needs, is not installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"`{error.name}` is not installed: `pip install 'townlet-trajectory[{extra}]'`"
        ) from error
