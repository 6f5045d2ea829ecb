"""The options and positionals of every command, as `cli.json` lists those of the original."""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperArgument, TyperGroup

from townlet_runtime.cli import app

Row = dict[str, Any]
Table = dict[str, dict[str, Row]]
"""By command, then by flag, or `argument 1` for the first positional: nobody types the name of one."""
FIELDS = ("required", "default", "choices", "nargs")


def row(*, required: bool, default: Any, choices: list[str] | None, nargs: str | None) -> Row:
    """One option.

    Args:
        required: whether it must be given.
        default: text, number or None; of a flag, True or None.
        choices: sorted; None: any value.
        nargs: `0` for a flag, `1`, `?` for a positional that may be left out, `+` and `*` for several values.
    """
    return {"required": required, "default": default or None, "choices": choices, "nargs": nargs}


def of_contract(content: dict[str, Any]) -> Table:
    """The table of `cli.json`."""
    table: Table = {}
    for script in content.values():
        rows = table.setdefault(script["command"], {})
        for one in script["arguments"]:
            nargs = str(one.get("nargs", 1))
            if one.get("action") == "append":
                nargs = "*"  # the option is repeated
            choices = sorted(one["choices"]) if "choices" in one else None
            for flag in one["flags"] if one["flags"][0].startswith("-") else [_positional(rows)]:
                rows[flag] = row(
                    required=one.get("required", False), default=one["default"], choices=choices, nargs=nargs
                )
    return table


def of_app() -> Table:
    """The table of the commands that there are."""
    return {" ".join(words): _rows(command) for words, command in _commands(typer.main.get_command(app))}


def _positional(before: Iterable[str]) -> str:
    return f"argument {1 + sum(name.startswith('argument') for name in before)}"


def _commands(command: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    words = path or ("townlet",)
    if not isinstance(command, TyperGroup):
        yield words, command
        return
    for name, one in command.commands.items():
        yield from _commands(one, *words, name)


def _rows(command: Any) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for one in command.params:
        if isinstance(one, TyperArgument):
            several = "+" if one.required else "*"
            nargs = several if one.nargs == -1 else "1" if one.required else "?"
        else:
            nargs = "0" if one.is_flag else "*" if one.multiple else "1"
        default = one.default.value if isinstance(one.default, enum.Enum) else one.default
        default = str(default) if isinstance(default, Path) else default
        made = row(required=one.required, default=default, choices=_choices(one), nargs=nargs)
        names = [_positional(rows)] if isinstance(one, TyperArgument) else [*one.opts, *one.secondary_opts]
        rows |= dict.fromkeys(names, made)
    return rows


def _choices(parameter: Any) -> list[str] | None:
    kind = getattr(parameter, "type", None)
    if kind is not None:  # older Typer
        found = getattr(kind, "choices", None)
        return None if found is None else sorted(str(getattr(one, "value", one)) for one in found)
    annotation = parameter.type_descriptor.annotation
    for one in (annotation, *typing.get_args(annotation)):
        if isinstance(one, type) and issubclass(one, enum.Enum):
            return sorted(str(each.value) for each in one)
    literal = annotation if typing.get_origin(annotation) is typing.Literal else None
    if literal is None and isinstance(annotation, types.UnionType):
        literal = next((one for one in typing.get_args(annotation) if typing.get_origin(one) is typing.Literal), None)
    return None if literal is None else sorted(typing.get_args(literal))
