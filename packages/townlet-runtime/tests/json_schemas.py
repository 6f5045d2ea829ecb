"""Whether a value is what a JSON schema says, by the keywords that ours have and no others."""

from __future__ import annotations

import re
from typing import Any

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "number": (int, float),
    "integer": (int, float),
}
SAYS_NOTHING = {"$schema", "$defs", "title", "description", "default", "deprecated"}


def is_of_type(value: object, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    whole = not isinstance(value, float) or value.is_integer()
    return isinstance(value, TYPES[name]) and (name != "integer" or whole)


def same(value: object, other: object) -> bool:
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def faults(value: Any, part: dict[str, Any], schema: dict[str, Any], where: str = "") -> list[str]:
    """Every keyword that `value` does not meet, with the place."""
    found: list[str] = []
    for keyword, said in part.items():
        if keyword in SAYS_NOTHING:
            continue
        found += [f"{where}: {each}" for each in FAULTS[keyword](value, said, part, schema, where)]
    return found


def _ref(value: Any, said: str, part: Any, schema: Any, where: str) -> list[str]:
    return faults(value, schema["$defs"][said.removeprefix("#/$defs/")], schema, where)


def _any_of(value: Any, said: list[Any], part: Any, schema: Any, where: str) -> list[str]:
    tried = [faults(value, each, schema, where) for each in said]
    return [] if not all(tried) else [f"none of {len(said)}: {tried}"]


def _properties(value: Any, said: dict[str, Any], part: Any, schema: Any, where: str) -> list[str]:
    if not isinstance(value, dict):
        return []
    return [each for key in value if key in said for each in faults(value[key], said[key], schema, f"{where}.{key}")]


def _additional(value: Any, said: Any, part: Any, schema: Any, where: str) -> list[str]:
    if not isinstance(value, dict):
        return []
    others = [key for key in value if key not in part.get("properties", {})]
    if isinstance(said, bool):
        return [] if said else [f"unknown {key}" for key in others]
    return [each for key in others for each in faults(value[key], said, schema, f"{where}.{key}")]


def _patterns(value: Any, said: dict[str, Any], part: Any, schema: Any, where: str) -> list[str]:
    if not isinstance(value, dict):
        return []
    pairs = [(key, each) for key in value for pattern, each in said.items() if re.search(pattern, key)]
    return [fault for key, each in pairs for fault in faults(value[key], each, schema, f"{where}.{key}")]


def _items(value: Any, said: dict[str, Any], part: Any, schema: Any, where: str) -> list[str]:
    if not isinstance(value, list):
        return []
    return [fault for index, each in enumerate(value) for fault in faults(each, said, schema, f"{where}.{index}")]


def _prefix(value: Any, said: list[Any], part: Any, schema: Any, where: str) -> list[str]:
    if not isinstance(value, list):
        return []
    pairs = zip(value, said, strict=False)
    return [fault for index, (each, one) in enumerate(pairs) for fault in faults(each, one, schema, f"{where}.{index}")]


def _names(value: Any, said: dict[str, Any], part: Any, schema: Any, where: str) -> list[str]:
    return [fault for key in value for fault in faults(key, said, schema, where)] if isinstance(value, dict) else []


def _compared(meets: Any) -> Any:
    def check(value: Any, said: Any, part: Any, schema: Any, where: str) -> list[str]:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return [f"{value} against {said}"] if is_number and not meets(value, said) else []

    return check


def _sized(kind: type, meets: Any) -> Any:
    def check(value: Any, said: int, part: Any, schema: Any, where: str) -> list[str]:
        return [f"size {len(value)} against {said}"] if isinstance(value, kind) and not meets(len(value), said) else []

    return check


FAULTS: dict[str, Any] = {
    "$ref": _ref,
    "anyOf": _any_of,
    "properties": _properties,
    "additionalProperties": _additional,
    "patternProperties": _patterns,
    "propertyNames": _names,
    "items": _items,
    "prefixItems": _prefix,
    "type": lambda value, said, *_: [] if is_of_type(value, said) else [f"no {said}"],
    "enum": lambda value, said, *_: [] if any(same(value, each) for each in said) else [f"none of {said}"],
    "const": lambda value, said, *_: [] if same(value, said) else [f"not {said}"],
    "required": lambda value, said, *_: [
        f"without {key}" for key in said if isinstance(value, dict) and key not in value
    ],
    "pattern": lambda value, said, *_: [f"no {said}"] if isinstance(value, str) and not re.search(said, value) else [],
    "minimum": _compared(lambda value, bound: value >= bound),
    "maximum": _compared(lambda value, bound: value <= bound),
    "exclusiveMinimum": _compared(lambda value, bound: value > bound),
    "exclusiveMaximum": _compared(lambda value, bound: value < bound),
    "minItems": _sized(list, lambda size, bound: size >= bound),
    "maxItems": _sized(list, lambda size, bound: size <= bound),
    "minLength": _sized(str, lambda size, bound: size >= bound),
    "maxLength": _sized(str, lambda size, bound: size <= bound),
}
