"""`townlet run --render`: the town as text, frame by frame."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from townlet_runtime.town import Town
from townlet_runtime.town.render import render_lines
from townlet_trajectory.storage.json import printable

FRAME_S = 0.1
"""Seconds from frame to frame on a terminal, where every tick is a frame."""
PLAIN_FRAME_S = 1.0
"""Least seconds between two frames where they are written below each other."""


class Screen(Protocol):
    """Where frames go."""

    @property
    def draws_every_tick(self) -> bool:
        """Whether `show` is to be called after every tick."""
        ...

    def show(self) -> None:
        """Draw the town as it is."""
        ...


class _Nowhere:
    draws_every_tick = False

    def show(self) -> None:
        """Draw nothing."""


class _Terminal:
    """Frames in one place, at a pace that can be watched."""

    draws_every_tick = True

    def __init__(self, town: Town, show_lines: Callable[[Sequence[str]], None]) -> None:
        self._town = town
        self._show_lines = show_lines
        self._next = time.monotonic()

    def show(self) -> None:
        time.sleep(max(0.0, self._next - time.monotonic()))
        self._next = time.monotonic() + FRAME_S
        self._show_lines(render_lines(self._town))


class _Paper:
    """Frames below each other, separated by an empty line, and not too many of them."""

    draws_every_tick = True

    def __init__(self, town: Town) -> None:
        self._town = town
        self._next = time.monotonic()

    def show(self) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + PLAIN_FRAME_S
        print("\n".join(map(printable, [*render_lines(self._town), ""])), flush=True)


@contextmanager
def screen(town: Town | None, *, enabled: bool) -> Iterator[Screen]:
    """Show the town, if there is one, while the block runs: on a terminal in place, else below each other."""
    if town is None or not enabled:
        yield _Nowhere()
    elif sys.stdout.isatty():
        from townlet_runtime.cli.live import live_frames

        with live_frames() as show_lines:
            yield _Terminal(town, show_lines)
    else:
        yield _Paper(town)
