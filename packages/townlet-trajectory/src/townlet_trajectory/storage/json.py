"""Strict JSON: no NaN, no repeated keys, bounded size and depth; one spelling for equal content.

`Fields` gives typed access to an object that was parsed, `printable` makes text from a file safe to show.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Set
from enum import StrEnum
from pathlib import Path
from typing import NoReturn, TypeAlias, TypeVar

import numpy as np

from townlet_trajectory.errors import ArtifactError, CaptureError, ManifestError

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"

SCHEMA_VERSION = 1
"""Version of every format that this package writes."""

MAX_JSON_BYTES = 8 << 20
MAX_JSON_DEPTH = 64

MAX_JSON_VALUES = 1 << 20
"""Commas and opening brackets: small values take many times their bytes in memory."""

_Kind = TypeVar("_Kind")
_Choice = TypeVar("_Choice", bound=StrEnum)
_Item = TypeVar("_Item", str, int, "dict[str, JsonValue]")
_DEPTH_STEP = np.zeros(256, np.int8)
_DEPTH_STEP[[ord("["), ord("{")]] = 1
_DEPTH_STEP[[ord("]"), ord("}")]] = -1


def canonical_json(value: JsonValue) -> bytes:
    """The one spelling that digests are taken of: keys sorted, no spaces, ASCII. Raises `ValueError` if a number is NaN
    or infinite."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def readable_json(value: JsonValue) -> bytes:
    """Indented, keys in the order given, with a final line feed; `ValueError` if a number is NaN or infinite."""
    return json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False).encode() + b"\n"


def parse_json(data: bytes, path: str | Path, *, finite: bool = True) -> JsonValue:
    """Parse JSON that came from `path` (for the error).

    Args:
        data: the text.
        path: for the error.
        finite: whether NaN, Infinity and numbers beyond double precision are refused, as everywhere but in the bounds
            of a foreign space.

    Raises:
        ArtifactError: if it is longer than `MAX_JSON_BYTES`, holds more than `MAX_JSON_VALUES` values, is nested deeper
            than `MAX_JSON_DEPTH`, not UTF-8, not JSON, repeats a key, or holds NaN, Infinity or a number beyond double
            precision.
    """
    if len(data) > MAX_JSON_BYTES:
        raise ArtifactError(path, "parse", f"at most {MAX_JSON_BYTES} bytes of JSON are read, got {len(data)}")
    structure = _outside_strings(data)
    if (num_values := sum(map(structure.count, (b",", b"[", b"{")))) > MAX_JSON_VALUES:
        raise ArtifactError(path, "parse", f"at most {MAX_JSON_VALUES} values of JSON are read, got {num_values}")
    steps = _DEPTH_STEP[np.frombuffer(structure, np.uint8)]
    if (depth := int(np.cumsum(steps, dtype=np.int32).max(initial=0))) > MAX_JSON_DEPTH:
        raise ArtifactError(path, "parse", f"JSON may be nested {MAX_JSON_DEPTH} deep, got {depth}")
    try:
        value: JsonValue = json.loads(
            data.decode(),
            object_pairs_hook=_unique_object,
            parse_constant=_refuse_constant if finite else float,
            parse_float=_finite_float if finite else float,
        )
    except ValueError as error:
        raise ArtifactError(path, "parse", f"not JSON: {error}") from error
    return value


def parse_object(data: bytes, path: str | Path) -> dict[str, JsonValue]:
    """Parse JSON as `parse_json` does, and require an object. Raises `ArtifactError` as `parse_json`, or if the value
    is none."""
    value = parse_json(data, path)
    if not isinstance(value, dict):
        raise ArtifactError(path, "parse", f"expected a JSON object, got {type(value).__name__}")
    return value


class Fields:
    """Typed access to the values of an object in the file `path`; a missing or other value raises `error`."""

    def __init__(
        self, values: Mapping[str, JsonValue], path: str | Path, *, error: type[ManifestError] = CaptureError
    ) -> None:
        self.values = values
        """As they were parsed."""
        self._path = path
        self._type_of_error = error

    def text(self, name: str) -> str:
        return self._of(name, str, "a string")

    def choice(self, name: str, choices: type[_Choice]) -> _Choice:
        """A member of an enumeration of strings."""
        value = self.text(name)
        if value not in {str(each) for each in choices}:
            raise self._error(name, f"one of {', '.join(choices)}")
        return choices(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        return tuple(self._items(name, str, "strings"))

    def integer(self, name: str) -> int:
        value = self.values.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 1 << 63:
            raise self._error(name, "an integer of 64 bits")
        return value

    def integers(self, name: str) -> tuple[int, ...]:
        """A list of integers."""
        return tuple(self._items(name, int, "integers"))

    def number(self, name: str) -> float:
        value = self.values.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise self._error(name, "a finite number")
        return float(value)

    def numbers(self, name: str, *, count: int) -> tuple[float, ...]:
        """A list of `count` finite numbers."""
        value = self.values.get(name)
        if not isinstance(value, list) or len(value) != count:
            raise self._error(name, f"a list of {count} numbers")
        items = Fields({f"{name}[{at}]": item for at, item in enumerate(value)}, self._path, error=self._type_of_error)
        return tuple(items.number(f"{name}[{at}]") for at in range(count))

    def version(self, format_: str, current: tuple[int, int]) -> tuple[int, int]:
        """The (major, minor) `schema_version` of a file of `format_`, whose major must be that of `current`."""
        if self.values.get("format") != format_:
            message = f"not a {format_}: `format` is {self.values.get('format')!r:.80}"
            raise self._type_of_error(self._path, "parse", message)
        match self.integers("schema_version"):
            case (major, minor) if major == current[0] and minor >= 0:
                return major, minor
            case other:
                message = f"schema version {current[0]}.x is read, got {[*other]}"
                raise self._type_of_error(self._path, "parse", message)

    def is_null(self, name: str) -> bool:
        """Whether the value is there and null."""
        self.require_keys(self.values.keys() | {name})
        return self.values[name] is None

    def require_keys(self, keys: Set[str]) -> None:
        """Raise the error unless these keys are there, and no other."""
        if self.values.keys() != keys:
            differing = ", ".join(sorted(self.values.keys() ^ keys))
            raise self._type_of_error(self._path, "parse", f"missing or unknown keys: {differing:.80}")

    def flag(self, name: str) -> bool:
        return self._of(name, bool, "true or false")

    def object(self, name: str) -> dict[str, JsonValue]:
        return self._of(name, dict, "an object")

    def objects(self, name: str) -> tuple[Fields, ...]:
        """The fields of each object of a list."""
        return tuple(
            Fields(item, f"{self._path}:{name}[{index}]", error=self._type_of_error)
            for index, item in enumerate(self._items(name, dict, "objects"))
        )

    def inside(self, name: str) -> Fields:
        """The fields of the object `name`."""
        return Fields(self.object(name), f"{self._path}:{name}", error=self._type_of_error)

    def _of(self, name: str, kind: type[_Kind], expected: str) -> _Kind:
        value = self.values.get(name)
        if not isinstance(value, kind):
            raise self._error(name, expected)
        return value

    def _items(self, name: str, kind: type[_Item], expected: str) -> list[_Item]:
        value = self.values.get(name)
        if isinstance(value, list):
            items = [item for item in value if isinstance(item, kind) and not isinstance(item, bool)]
            if len(items) == len(value):
                return items
        raise self._error(name, f"a list of {expected}")

    def _error(self, name: str, expected: str) -> ManifestError:
        value = self.values.get(name)
        return self._type_of_error(self._path, "parse", f"`{name}` must be {expected}, got {value!r:.80}")


def printable(text: str) -> str:
    """Return `text` as it may be shown on a terminal.

    Each character that is not printable becomes an escape (`\\u001b`): control characters of both ranges, line feeds,
    marks that change the direction of text, lone surrogates, private and unassigned characters.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escape(ord(character)) for character in text)


def _outside_strings(data: bytes) -> bytes:
    """Return the bytes outside quotes. Linear in time and memory for any input, unlike a regular expression."""
    text = np.frombuffer(data.replace(b"\\\\", b"").replace(b'\\"', b""), np.uint8)
    return text[~np.logical_xor.accumulate(text == ord('"'))].tobytes()


def _unique_object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    value = dict(pairs)
    if len(value) != len(pairs):
        repeated = sorted(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"repeated keys {repeated[:5]}")
    return value


def _refuse_constant(token: str) -> NoReturn:
    raise ValueError(f"{token} is not a number")


def _finite_float(token: str) -> float:
    value = float(token)
    if not math.isfinite(value):
        raise ValueError(f"{token} is beyond double precision")
    return value


def _escape(code: int) -> str:
    return f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"
