"""What was typed on a command line, so that it can be typed again for each of several runs."""

from __future__ import annotations

from collections.abc import Collection

import typer

OF_ALL_RUNS = frozenset(
    {"config", "seed", "seeds", "jobs", "run_dir", "resume", "threads", "record", "json", "verbose", "quiet"}
)
"""Parameters of `townlet train` that are said for all runs of `--seeds` at once, or for each anew."""


def typed_options(context: typer.Context, leave_out: Collection[str]) -> list[str]:
    """Return the options that were given on the command line, as they can be typed again.

    Args:
        context: of the command.
        leave_out: names of parameters that are not wanted.
    """
    words: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if name in leave_out or source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[name]
        if isinstance(value, bool):
            words += parameter.opts[:1] if value else parameter.secondary_opts[:1]
        else:
            for each in value if isinstance(value, list | tuple) else [value]:
                words += [parameter.opts[0], str(each)]
    return words
