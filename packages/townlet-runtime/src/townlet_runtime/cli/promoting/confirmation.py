"""What is live changes only on a word: of a person at a terminal, or of `--yes`."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout

import typer

from townlet_runtime.cli.console import CommandError
from townlet_trajectory.storage.json import printable

_SHOWN = 12
"""Characters of a name."""


def confirm_change(before: str, after: str, *, yes: bool, unattended: bool = False) -> bool:
    """Ask whether `after` is to be live in place of `before`.

    The question goes to standard error, so that standard output holds the result alone. No answer is no.

    Args:
        before: what is live.
        after: what is to be.
        yes: whether `--yes` was given, and nobody is asked.
        unattended: whether to go on where standard input is no terminal, because evidence speaks for it.

    Returns:
        Whether to go on.

    Raises:
        CommandError: if there is nobody to ask, and neither `yes` nor `unattended`.
    """
    if yes or (unattended and not sys.stdin.isatty()):
        return True
    before, after = (printable(name)[:_SHOWN] for name in (before, after))
    if not sys.stdin.isatty():
        raise CommandError(f"{after} would replace {before}, and there is no terminal to ask at; say --yes")
    try:
        # With `err=True` a blank would still go to standard output.
        with redirect_stdout(sys.stderr):
            return typer.confirm(f"{before} is live. Replace it by {after}?")
    except typer.Abort:
        return False
