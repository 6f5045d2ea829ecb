"""What the fields of a class say about themselves: the text that stands below each of them in its source."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from functools import cache
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel

_NONE = re.compile(r"\bNone\b")


def prose_of(section: type[Any]) -> dict[str, str]:
    """Return the first paragraph below each field of a class, by field; those of the classes that it extends too.

    As a file says it: Python's None is null there. Nothing is said of a class that was made while the program runs, nor
    where no source is installed.
    """
    found: dict[str, str] = {}
    for each in reversed(section.__mro__):
        if each.__module__.startswith("townlet_"):
            found |= _prose_of_module(each.__module__).get(each.__name__, {})
    return found


def sections_of(section: type[Any]) -> Iterator[type[Any]]:
    """Yield a class of settings, and those inside of it: dataclasses, models of pydantic, named tuples."""
    yield section
    waiting: list[Any] = list(get_type_hints(section).values())
    while waiting:
        hint = waiting.pop()
        if isinstance(hint, type) and (is_dataclass(hint) or issubclass(hint, BaseModel) or hasattr(hint, "_fields")):
            yield from sections_of(hint)
        waiting += get_args(hint)


@cache
def _prose_of_module(name: str) -> Mapping[str, Mapping[str, str]]:
    try:
        tree = ast.parse(inspect.getsource(sys.modules[name]))
    except OSError:
        return {}
    return {each.name: _below_fields(each) for each in tree.body if isinstance(each, ast.ClassDef)}


def _below_fields(tree: ast.ClassDef) -> dict[str, str]:
    found = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr)):
            continue
        if isinstance(text.value, ast.Constant) and isinstance(text.value.value, str):
            found[field.target.id] = _NONE.sub("null", _first_paragraph(text.value.value))
    return found


def _first_paragraph(text: str) -> str:
    return " ".join(inspect.cleandoc(text).split("\n\n")[0].split())
