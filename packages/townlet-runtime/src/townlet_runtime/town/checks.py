"""Check of a frozen record against the types and ranges in the annotations of its own fields."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import is_dataclass
from functools import cache
from typing import Any, cast, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError


def wrong_setting(record: object) -> tuple[str, str] | None:
    """Check every field of a dataclass against the type and range in its annotation, where alone they are declared.

    Returns:
        The first field that has another type or is out of range, and what was expected; None: there is none.
    """
    # mypy takes the hash of a class for that of its instances.
    for name, adapter in _adapters(cast(Hashable, type(record))).items():
        value = vars(record)[name]
        try:
            # Of mappings, pydantic takes nothing but a dict when it is strict.
            adapter.validate_python(dict(value) if isinstance(value, Mapping) else value, strict=True)
        except ValidationError as error:
            expected = error.errors(include_url=False)[0]["msg"].removeprefix("Input should be ")
            return name, f"must be {expected}, got {value!r}"
    return None


@cache
def _adapters(record: Hashable) -> Mapping[str, TypeAdapter[Any]]:
    """By field. A record inside of the record has checked itself, so only its type is looked at."""
    finite = ConfigDict(allow_inf_nan=False)
    hints = get_type_hints(record, include_extras=True)
    return {name: TypeAdapter(hint, config=None if is_dataclass(hint) else finite) for name, hint in hints.items()}
