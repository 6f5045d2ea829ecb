"""Typed access to the values of a JSON object."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from townlet_trajectory.documents import JsonValue
from townlet_trajectory.errors import CaptureError


class Fields:
    """The values of an object in the file `path`; every method raises `CaptureError` for a missing or other value."""

    def __init__(self, values: Mapping[str, JsonValue], path: str | Path) -> None:
        self._values = values
        self._path = path

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

    def inside(self, name: str) -> Fields:
        """The fields of the object `name`."""
        return Fields(self.object(name), f"{self._path}:{name}")

    def _error(self, name: str, expected: str) -> CaptureError:
        return CaptureError(self._path, "parse", f"`{name}` must be {expected}, got {self._values.get(name)!r:.80}")
