"""Tables that fit the terminal: what is too wide wraps, between words where it can; nothing of a cell is lost."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence

_ANY_WIDTH = 1 << 16
"""More columns than a table has, where nothing limits it."""


def terminal_width() -> int | None:
    """Return the columns of the terminal, or those that `COLUMNS` says; None where output goes elsewhere."""
    return shutil.get_terminal_size(fallback=(0, 0)).columns or None


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: bool, width: int | None) -> list[str]:
    """Return the lines of a table; the first column is aligned left.

    Args:
        header: names of the columns.
        rows: as many cells each.
        left: align the other columns left too, not right.
        width: that no line exceeds; None: any.
    """
    # Not for every command: it takes as long to import as a short one takes.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="")
    for place, name in enumerate(header):
        table.add_column(Text(name), justify="left" if left or not place else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    stream = io.StringIO()
    console = Console(
        file=stream, width=_ANY_WIDTH if width is None else width, color_system=None, legacy_windows=False
    )
    console.print(table)
    return [line.rstrip() for line in stream.getvalue().splitlines()]
