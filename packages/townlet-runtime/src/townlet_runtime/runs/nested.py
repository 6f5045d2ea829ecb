"""Settings of nested records by their dotted keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import TypeAlias

from townlet_runtime.errors import ConfigError
from townlet_trajectory.storage.json import JsonValue

Setting: TypeAlias = bool | int | float | str | tuple[int, ...] | None
Nested: TypeAlias = "dict[str, Setting | tuple[str, ...] | Nested]"


def without_prose(schema: JsonValue) -> JsonValue:
    """Return a JSON schema without its titles and descriptions."""
    if isinstance(schema, list):
        return [without_prose(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: without_prose(part) for key, part in schema.items() if key not in ("title", "description")}


def leaves_of(record: object, prefix: str = "") -> Iterator[tuple[str, Setting]]:
    """Yield every setting of a dataclass, and of those in it, by dotted field."""
    if not is_dataclass(record):
        return
    for field in fields(record):
        value = getattr(record, field.name)
        if is_dataclass(value):
            yield from leaves_of(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", value


def put_at(content: Nested, path: list[str], value: Setting) -> None:
    """Set the setting at `path`, making the sections that are missing.

    Args:
        content: is changed.
        path: sections from the outside in, then the name of the setting; at least one name.
        value: of the setting.

    Raises:
        ConfigError: if a setting stands where there should be a section.
    """
    first, *rest = path
    if not rest:
        content[first] = value
        return
    inner = content.setdefault(first, {})
    if not isinstance(inner, dict):
        raise ConfigError(f"`{first}` holds no settings of its own")
    put_at(inner, rest, value)
