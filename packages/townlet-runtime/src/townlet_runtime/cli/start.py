"""Starts a command: what it prints with, and what becomes of its errors; imported before anything heavy is."""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from townlet_runtime.cli.options import Json, Quiet, Verbose
from townlet_runtime.cli.signatures import described, option, parameters_of

if TYPE_CHECKING:
    from townlet_runtime.cli.console import Console

TRAINER = "townlet_runtime.training"

_PRINTING = (option("json", Json, False), option("verbose", Verbose, False), option("quiet", Quiet, False))


def with_console(function: Callable[..., int]) -> Callable[..., int]:
    """Make a command of a function: its first parameter, `console`, becomes `--json`, `-v` and `-q`; see `start`."""

    @wraps(function)
    def command(*, json: bool, verbose: bool, quiet: bool, **values: Any) -> int:
        return start(lambda console: function(console, **values), json=json, verbose=verbose, quiet=quiet)

    return described(command, [*parameters_of(function, without="console"), *_PRINTING])


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
    with _own_warnings_told(console):
        return guarded(lambda: command(console), console)


def import_trainer() -> None:
    """Import all that training needs, without looking for garbage among modules, which live as long as the process.

    torch alone makes half a million objects, and looking through them takes a quarter of its import.

    Raises:
        MissingExtraError: if it is not installed.
    """
    if TRAINER in sys.modules:
        return
    gc.disable()
    try:
        import_module(TRAINER)
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def _own_warnings_told(console: Console) -> Iterator[None]:
    """Let the console say the library's own warnings, without the line of code that they come from."""
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def told(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if category.__module__.startswith("townlet_"):
                console.warning(str(message))
            else:
                shown(message, category, filename, lineno, file, line)

        warnings.showwarning = told
        yield


def refuse_directory(run_dir: Path | None, resume: Path | None) -> None:
    """Refuse a run directory that is taken, or one to go on with that holds no unfinished run, before anything else.

    Args:
        run_dir: of a new run; None: one that is named later.
        resume: of a run that goes on; None: none does.
    """
    from townlet_runtime.runs.directory import require_free, require_resumable

    if resume is not None:
        require_resumable(resume)
    elif run_dir is not None:
        require_free(run_dir)
