"""Starts a command: what it prints with, and what becomes of its errors; imported before anything heavy is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from townlet_runtime.cli.console import Console


def start(command: Callable[[Console], int], *, json: bool, verbose: bool, quiet: bool) -> int:
    """Run a command, and return its exit code; an error that is expected is one line.

    Args:
        command: given the console that it prints with.
        json: results are one JSON object.
        verbose: log lines and tracebacks.
        quiet: nothing but errors, and JSON where it was asked for.
    """
    from townlet_runtime.cli.console import Console, guarded

    console = Console(json=json, verbose=verbose, quiet=quiet)
    return guarded(lambda: command(console), console)
