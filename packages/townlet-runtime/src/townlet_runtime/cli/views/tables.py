"""Tables that fit the terminal: columns wrap between words, and where that is not enough each row becomes a list."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from itertools import zip_longest

GAP = "  "


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
    every = (header, *rows)
    widths = [max(len(row[column]) for row in every) for column in range(len(header))]
    if width is not None and _total(widths) > width:
        least = [
            max(len(word) for row in every for word in row[column].split() or [""]) for column in range(len(header))
        ]
        if _total(least) > width:
            return _listed(header, rows, width)
        widths = _narrowed(widths, least, width)
    return [line for row in every for line in _lines(row, widths, left=left)]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _narrowed(widths: Sequence[int], least: Sequence[int], width: int) -> list[int]:
    """Take from the widest column that can give, one by one."""
    narrowed = list(widths)
    while _total(narrowed) > width:
        can_give = [column for column, each in enumerate(narrowed) if each > least[column]]
        narrowed[max(can_give, key=lambda column: narrowed[column])] -= 1
    return narrowed


def _lines(row: Sequence[str], widths: Sequence[int], *, left: bool) -> list[str]:
    cells = [_wrapped(cell, width) for cell, width in zip(row, widths, strict=True)]
    lines = []
    for parts in zip_longest(*cells, fillvalue=""):
        # What goes on in a next line is read from the left.
        shown = [
            part.ljust(width) if left or not column or len(cell) > 1 else part.rjust(width)
            for column, (part, cell, width) in enumerate(zip(parts, cells, widths, strict=True))
        ]
        lines.append(GAP.join(shown).rstrip())
    return lines


def _wrapped(cell: str, width: int) -> list[str]:
    if len(cell) <= width:
        return [cell]
    return textwrap.wrap(cell, width, break_on_hyphens=False) or [""]


def _listed(header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    lines = []
    for row in rows:
        lines += textwrap.wrap(row[0], width, break_on_hyphens=False) or [""]
        for name, cell in zip(header[1:], row[1:], strict=True):
            lines += textwrap.wrap(
                f"{name}: {cell}", width, initial_indent=GAP, subsequent_indent=GAP * 2, break_on_hyphens=False
            )
    return lines
