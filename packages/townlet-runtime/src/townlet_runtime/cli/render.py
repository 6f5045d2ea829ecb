"""`townlet run --render`: the town as text, frame by frame."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from townlet_runtime.town import Town
from townlet_runtime.town.render import render_lines
from townlet_trajectory.storage.json import printable

FRAME_S = 0.1
"""Seconds from frame to frame on a terminal, where every tick is a frame."""
PLAIN_FRAME_S = 1.0
"""Least seconds between two frames where they are written below each other."""


@contextmanager
def screen(town: Town | None, *, enabled: bool) -> Iterator[Callable[[], None] | None]:
    """Give a function that shows the town as it is, to be called after every tick; None where nothing is drawn.

    On a terminal, frames are drawn in one place, at a pace that can be watched; elsewhere below each other, separated
    by an empty line, and not too many of them.
    """
    due = time.monotonic()

    def show_in_place() -> None:
        nonlocal due
        time.sleep(max(0.0, due - time.monotonic()))
        due = time.monotonic() + FRAME_S
        show_lines(render_lines(shown))

    def show_below() -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + PLAIN_FRAME_S
            print("\n".join(map(printable, [*render_lines(shown), ""])), flush=True)

    if town is None or not enabled:
        yield None
        return
    shown = town
    if not sys.stdout.isatty():
        yield show_below
        return
    from townlet_runtime.cli.live import live_frames

    with live_frames() as show_lines:
        yield show_in_place
