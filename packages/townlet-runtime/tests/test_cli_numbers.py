"""No option of any command takes a number without an end: it is refused with the option's name."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from enum import EnumMeta
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
import typer
from typer.core import TyperGroup

from townlet_runtime.cli import main
from townlet_runtime.cli.app import app


def kinds(hint: Any) -> set[Any]:
    """The types that a parameter may have."""
    if get_origin(hint) is Annotated or get_origin(hint) in (list, tuple):
        return kinds(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return {kind for each in get_args(hint) for kind in kinds(each)}
    return {hint}


def word(hint: Any) -> str:
    """What may stand for a parameter: one of its words, else a file that is not there."""
    for kind in kinds(hint):
        if get_origin(kind) is Literal:
            return str(get_args(kind)[0])
        if isinstance(kind, EnumMeta):
            return str(next(iter(kind)).value)
    return "nowhere"


def numbers(command: Any, *path: str) -> Iterator[tuple[tuple[str, ...], str, type]]:
    """Every option that is a number: the words of its command, its name, and its type."""
    if isinstance(command, TyperGroup):
        for name, one in command.commands.items():
            yield from numbers(one, *path, name)
        return
    function = getattr(command.callback, "__wrapped__", command.callback)
    hints = get_type_hints(function, include_extras=True) or inspect.signature(function).parameters
    # What has to be there is named, so that it is not missed first; none of it is there.
    needed = [
        word(hints.get(each.name)) for each in command.params if each.required and each.param_type_name == "argument"
    ]
    for parameter in command.params:
        found = kinds(hints.get(parameter.name)) & {int, float}
        if found and parameter.param_type_name == "option":
            yield (*path, *needed), parameter.opts[0], found.pop()


ENDLESS = {"--top"}
"""At most so many lines of what there is: more of them are all of it."""
ALL = [each for each in numbers(typer.main.get_command(app)) if each[1] not in ENDLESS]


@pytest.mark.parametrize(("words", "option", "kind"), ALL, ids=lambda each: str(each))
def test_a_number_beyond_every_range_is_refused_with_its_option(
    words: tuple[str, ...], option: str, kind: type, capsys: pytest.CaptureFixture[str]
) -> None:
    for value in (str(2**63), "1e400", "nan") if kind is int else ("nan", "inf", "1e400"):
        assert main([*words, f"{option}={value}"]) == 2
        err = capsys.readouterr().err
        assert option in err and "internal error" not in err and err.count("\n") == 1


def test_options_of_every_group_are_looked_at() -> None:
    assert len(ALL) > 40
    assert {words[0] for words, _, _ in ALL} >= {"train", "run", "evaluate", "capture", "promote", "report", "dataset"}
