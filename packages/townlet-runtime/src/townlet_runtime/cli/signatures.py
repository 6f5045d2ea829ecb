"""Groups of options that several commands share, each declared once, and the parser of numbers within a range."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar

import typer

from townlet_runtime.cli.options import finite_number

Command = TypeVar("Command", bound=Callable[..., int])


def parameters_of(function: Callable[..., int], *, without: str) -> list[inspect.Parameter]:
    """Return the parameters of a command, as options by name, but for one that its caller does not give.

    Args:
        function: the command.
        without: name of that one; its annotation is not looked at but for being a name.
    """
    # The console's class is imported with the command, and known to type checkers alone.
    signature = inspect.signature(function, eval_str=True, locals={"Console": object})
    return [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in signature.parameters.values()
        if parameter.name != without
    ]


def described(command: Callable[..., int], parameters: Sequence[inspect.Parameter]) -> Callable[..., int]:
    """Return a command whose signature says that it has these parameters: what makes options reads it there."""
    shown: Any = command
    shown.__signature__ = inspect.Signature(parameters, return_annotation=int)
    shown.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def option(name: str, annotation: object, default: object) -> inspect.Parameter:
    """Return the parameter of an option.

    Args:
        name: of the parameter.
        annotation: its type, with the option's own settings.
        default: where the option is not given.
    """
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def with_options(
    name: str, added: Sequence[inspect.Parameter], make: Callable[[Mapping[str, Any]], object]
) -> Callable[[Command], Callable[..., int]]:
    """Give a command more options; it gets them as one argument.

    Args:
        name: of the argument.
        added: the options.
        make: of their values, by name, what the argument is.
    """

    def decorate(function: Command) -> Callable[..., int]:
        @wraps(function)
        def command(**values: Any) -> int:
            given = {each.name: values.pop(each.name) for each in added}
            return function(**values, **{name: make(given)})

        return described(command, [*parameters_of(function, without=name), *added])

    return decorate


def number(low: float, high: float) -> Callable[[str | float], float]:
    """Return a parser of numbers in [low, high]; NaN, which no range of typer's refuses, is none of them."""

    def parse(text: str | float) -> float:
        value = finite_number(str(text))
        if not low <= value <= high:
            raise typer.BadParameter(f"expected a number from {low:g} to {high:g}, got {text}")
        return value

    return parse
