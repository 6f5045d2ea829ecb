"""`townlet run --render`: a world as text, frame by frame."""

from __future__ import annotations

import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from townlet_runtime.errors import ConfigError
from townlet_runtime.simulation.interface import GroupedSimulation
from townlet_runtime.town import Town
from townlet_runtime.town.render import render_lines
from townlet_trajectory.storage.json import printable

FRAME_S = 0.1
"""Seconds from frame to frame on a terminal, where every tick is a frame."""
PLAIN_FRAME_S = 1.0
"""Least seconds between two frames where they are written below each other."""

_COLORS = re.compile(r"\x1b\[[0-9;]*m")
"""Colors and highlights of a terminal; any other control character is escaped where it is printed."""

Frame: TypeAlias = Callable[[], Sequence[str]]
"""Draws the world as it is now, as lines of text."""


def frame_of(simulation: GroupedSimulation, town: Town | None, environment: str) -> Frame:
    """Return the function that draws a world.

    Args:
        simulation: the world, which has begun.
        town: the same as a town; None for another world, which must render text.
        environment: its name, for errors.

    Raises:
        ConfigError: if it does not render, or renders pixels.
    """
    if town is not None:
        return lambda: render_lines(town)

    def frame() -> Sequence[str]:
        drawn = simulation.render()
        if drawn is None:
            raise ConfigError(
                f"`{environment}` does not render; many environments do with "
                "--set environment.settings.render_mode=ansi",
                file="--render",
            )
        if not isinstance(drawn, str):
            raise ConfigError(f"`{environment}` renders pixels, and a terminal shows text", file="--render")
        return _COLORS.sub("", drawn).splitlines()

    frame()  # refused before the first tick
    return frame


def text_frame(simulation: GroupedSimulation, town: Town | None) -> Callable[[str], Sequence[str]]:
    """Return the function that draws a world as text; of one that renders none, no line.

    Args:
        simulation: the world, which has begun.
        town: the same as a town, which marks the place of the agent whose id the function is given; None of others.
    """
    if town is not None:
        return lambda marked: render_lines(town, marked=marked)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an environment that was made without a render mode
        draws = isinstance(simulation.render(), str)

    def frame(marked: str) -> Sequence[str]:
        drawn = simulation.render() if draws else None
        return _COLORS.sub("", drawn).splitlines() if isinstance(drawn, str) else []

    return frame


@contextmanager
def screen(frame: Frame | None) -> Iterator[Callable[[], None] | None]:
    """Give a function that shows the world as it is, to be called after every tick; None where nothing is drawn.

    On a terminal, frames are drawn in one place, at a pace that can be watched; elsewhere below each other, separated
    by an empty line, and not too many of them.
    """
    due = time.monotonic()

    def show_in_place() -> None:
        nonlocal due
        time.sleep(max(0.0, due - time.monotonic()))
        due = time.monotonic() + FRAME_S
        show_lines(drawn())

    def show_below() -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + PLAIN_FRAME_S
            print("\n".join(map(printable, [*drawn(), ""])), flush=True)

    if frame is None:
        yield None
        return
    drawn = frame
    if not sys.stdout.isatty():
        yield show_below
        return
    from townlet_runtime.cli.views.live import live_frames

    with live_frames() as show_lines:
        yield show_in_place
