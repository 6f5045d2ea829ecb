"""`townlet compare`: finished runs that differ in their seed, summed up and compared over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from townlet_runtime.cli.start import with_console

if TYPE_CHECKING:
    from townlet_runtime.cli.console import Console

RunDirs = Annotated[
    list[Path], typer.Argument(metavar="RUN_DIR", help="Directories of finished runs, or folders of them.")
]
AgainstNames = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME|RUN_DIR",
        help="What to compare with: a behavior that the runs were scored beside, or other runs or a folder of them"
        " (repeatable).  [default: scripted, or random; and the first of several groups]",
        show_default=False,
    ),
]
_Output = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Draw performance profiles and return over env steps: .html, .png or .svg.",
        show_default=False,
    ),
]


@with_console
def compare(console: Console, runs: RunDirs, against: AgainstNames = None, output: _Output = None) -> int:
    """Carry out `townlet compare`; see `compare_runs`."""
    return compare_runs(runs, against or (), output, console)


def compare_runs(runs: list[Path], against: Sequence[str], output: Path | None, console: Console) -> int:
    """Read runs, draw their picture, print the comparison, and return the exit code.

    Args:
        runs: directories of finished runs, or folders of them.
        against: what they are compared with; empty: as `compare_named` decides.
        output: picture to write; None: none.
        console: prints.

    Raises:
        CommandError: if the picture's form is not known, or as `compare_named`.
    """
    from townlet_runtime.cli.console import SUCCESS, CommandError
    from townlet_runtime.cli.views.comparison import compare_named, show_comparison
    from townlet_runtime.errors import require_report_extra
    from townlet_runtime.report.writing import PICTURES, write_comparison

    if output is not None and output.suffix not in PICTURES:
        raise CommandError(f"--output {output}: expected a file that ends in {', '.join(PICTURES)}")
    if output is not None:
        require_report_extra()
    found = compare_named(runs, against)
    if output is not None:
        write_comparison(found, output)
    show_comparison(found, console, picture=output)
    return SUCCESS
