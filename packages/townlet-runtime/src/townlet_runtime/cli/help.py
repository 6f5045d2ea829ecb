"""Help of the groups: no description is cut, and the first page fits a screen of 24 lines."""

from __future__ import annotations

import textwrap
from typing import Any

from typer.core import TyperGroup

HEADINGS: dict[str, tuple[str, ...]] = {
    "Train, run and judge": (
        *("train", "distill", "run", "play", "live", "serve"),
        *("evaluate", "compare", "soak", "bench"),
    ),
    "Policies, configs, records and logs": (
        *("policy", "promote", "config"),
        *("capture", "replay", "explain", "dataset", "report", "watch"),
    ),
}
"""Commands of `townlet` by what they are about; others stand below `Commands`."""
_OTHERS = "Commands"
_NO_BREAK = "\N{NO-BREAK SPACE}"


class DescribedGroup(TyperGroup):
    """A group whose commands are described by their whole first paragraph, on several lines where it is long."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each command with its description."""
        rows = [(name, self._about(ctx, name)) for name in self.list_commands(ctx)]
        if rows:
            with formatter.section(_OTHERS):
                formatter.write_dl(rows)

    def _about(self, ctx: Any, name: str) -> str:
        command = self.get_command(ctx, name)
        text = (command.short_help or command.help or "") if command is not None else ""
        return " ".join(text.split("\n\n")[0].split())


class RootGroup(DescribedGroup):
    """The group of all commands, below headings; its few options explain themselves."""

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write what it is about below the usage, without an empty line between them."""
        with formatter.indentation():
            formatter.write_text(self.help or "")

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, then the names of the options."""
        self.format_commands(ctx, formatter)
        names = [
            ", ".join(sorted(parameter.opts, key=len)).replace(" ", _NO_BREAK)
            for parameter in self.get_params(ctx)
            if parameter.param_type_name == "option"
        ]
        lines = textwrap.wrap(
            f"Options: {'  '.join(names)}", formatter.width, subsequent_indent=" " * 9, break_on_hyphens=False
        )
        formatter.write("\n".join(lines).replace(_NO_BREAK, " ") + "\n")

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands of each heading; no empty lines, so that they fit a screen."""
        there = self.list_commands(ctx)
        known = {name for names in HEADINGS.values() for name in names}
        sections = {**HEADINGS, _OTHERS: tuple(name for name in there if name not in known)}
        width = max(map(len, there), default=0)
        for heading, names in sections.items():
            rows = [(name.ljust(width), self._about(ctx, name)) for name in names if name in there]
            if rows:
                formatter.write_heading(heading)
                formatter.indent()
                formatter.write_dl(rows)
                formatter.dedent()
