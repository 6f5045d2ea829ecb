"""Environments that are open: built together, drawn, bounded, and closed whatever happens."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol, TypeVar

import numpy as np

from townlet_runtime.errors import EnvironmentFaultError
from townlet_runtime.simulation.interface import Picture

log = logging.getLogger(__name__)

DEFAULT_EPISODE_TICKS = 1000
"""Of an environment that names no bound of its own."""


class Closable(Protocol):
    """An environment that can be closed."""

    def close(self) -> None: ...


Env = TypeVar("Env", bound=Closable)


@contextmanager
def opened(name: str, build: Callable[[], Env], number: int) -> Iterator[list[Env]]:
    """Build environments, and close all of them where that or the body of the `with` fails.

    Args:
        name: of the environment, for the log.
        build: makes one.
        number: of environments.
    """
    envs: list[Env] = []
    with ExitStack() as undo:
        undo.callback(close_environments, name, envs)
        for _ in range(number):
            envs.append(build())
        yield envs
        undo.pop_all()


def episode_bound(own: int | None, given: int | None) -> int:
    """The tighter bound of the environment's own and the given one."""
    bounds = [bound for bound in (own, given) if bound is not None]
    return min(bounds) if bounds else DEFAULT_EPISODE_TICKS


def picture_of(name: str, env: Any) -> Picture | None:
    """Draw an environment.

    Args:
        name: of the environment, for errors.
        env: made with a render mode, usually `rgb_array` or `ansi`. Of a tuple, a picture of each world, the first is
            taken; of a list, those since the last call, the last.

    Returns:
        An image [H, W, 3], or text; None where the environment does not draw.

    Raises:
        EnvironmentFaultError: if it fails to, or draws something else.
    """
    try:
        picture = env.render()
    except NotImplementedError:
        return None
    except Exception as error:  # somebody else's code
        raise EnvironmentFaultError(name, f"`render` failed with {type(error).__name__}: {error}") from error
    while isinstance(picture, tuple | list) and picture:
        picture = picture[0 if isinstance(picture, tuple) else -1]
    if picture is None or isinstance(picture, tuple | list):
        return None
    if isinstance(picture, str):
        return picture
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        got = f"{picture.dtype} {picture.shape}" if isinstance(picture, np.ndarray) else type(picture).__name__
        raise EnvironmentFaultError(name, f"expected a picture uint8 [H, W, 3] or a text, got {got}")
    return picture


def render_modes_of(env: Any) -> tuple[str, ...]:
    """Return the render modes that an environment lists in its metadata."""
    metadata = getattr(env, "metadata", None)
    listed = metadata.get("render_modes") if isinstance(metadata, Mapping) else None
    return tuple(mode for mode in listed if isinstance(mode, str)) if isinstance(listed, list | tuple) else ()


def close_environments(name: str, envs: Iterable[Closable]) -> None:
    """Close every environment; one that fails to is logged, so that all others are closed and no error is hidden."""
    for env in envs:
        try:
            env.close()
        except Exception:  # somebody else's code
            log.warning("%s: `close` failed", name, exc_info=True)
