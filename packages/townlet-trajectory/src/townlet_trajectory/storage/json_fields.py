"""Typed access to the values of a JSON object."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from pathlib import Path

from townlet_trajectory.errors import CaptureError, ManifestError
from townlet_trajectory.storage.json import JsonValue


class Fields:
    """The values of an object in the file `path`; every method raises `error` for a missing or other value."""

    def __init__(
        self, values: Mapping[str, JsonValue], path: str | Path, *, error: type[ManifestError] = CaptureError
    ) -> None:
        self._values = values
        self._path = path
        self._type_of_error = error

    def text(self, name: str) -> str:
        value = self._values.get(name)
        if not isinstance(value, str):
            raise self._error(name, "a string")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        value = self._values.get(name)
        if not isinstance(value, list):
            raise self._error(name, "a list of strings")
        texts = tuple(item for item in value if isinstance(item, str))
        if len(texts) != len(value):
            raise self._error(name, "a list of strings")
        return texts

    def integer(self, name: str) -> int:
        value = self._values.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 1 << 63:
            raise self._error(name, "an integer of 64 bits")
        return value

    def integers(self, name: str) -> tuple[int, ...]:
        """A list of integers."""
        value = self._values.get(name)
        if not isinstance(value, list):
            raise self._error(name, "a list of integers")
        integers = tuple(item for item in value if isinstance(item, int) and not isinstance(item, bool))
        if len(integers) != len(value):
            raise self._error(name, "a list of integers")
        return integers

    def number(self, name: str) -> float:
        value = self._values.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise self._error(name, "a finite number")
        return float(value)

    def numbers(self, name: str, *, count: int) -> tuple[float, ...]:
        """A list of `count` finite numbers."""
        value = self._values.get(name)
        if not isinstance(value, list) or len(value) != count:
            raise self._error(name, f"a list of {count} numbers")
        items = Fields({f"{name}[{at}]": item for at, item in enumerate(value)}, self._path, error=self._type_of_error)
        return tuple(items.number(f"{name}[{at}]") for at in range(count))

    def is_null(self, name: str) -> bool:
        """Whether the value is there and null."""
        self.require_keys(self._values.keys() | {name})
        return self._values[name] is None

    def require_keys(self, keys: Set[str]) -> None:
        """Raise the error unless these keys are there, and no other."""
        if self._values.keys() != keys:
            differing = ", ".join(sorted(self._values.keys() ^ keys))
            raise self._type_of_error(self._path, "parse", f"missing or unknown keys: {differing:.80}")

    def flag(self, name: str) -> bool:
        value = self._values.get(name)
        if not isinstance(value, bool):
            raise self._error(name, "true or false")
        return value

    def object(self, name: str) -> dict[str, JsonValue]:
        value = self._values.get(name)
        if not isinstance(value, dict):
            raise self._error(name, "an object")
        return value

    def objects(self, name: str) -> tuple[Fields, ...]:
        """The fields of each object of a list."""
        value = self._values.get(name)
        if not isinstance(value, list):
            raise self._error(name, "a list of objects")
        objects = [item for item in value if isinstance(item, dict)]
        if len(objects) != len(value):
            raise self._error(name, "a list of objects")
        return tuple(
            Fields(item, f"{self._path}:{name}[{index}]", error=self._type_of_error)
            for index, item in enumerate(objects)
        )

    def inside(self, name: str) -> Fields:
        """The fields of the object `name`."""
        return Fields(self.object(name), f"{self._path}:{name}", error=self._type_of_error)

    def _error(self, name: str, expected: str) -> ManifestError:
        value = self._values.get(name)
        return self._type_of_error(self._path, "parse", f"`{name}` must be {expected}, got {value!r:.80}")
