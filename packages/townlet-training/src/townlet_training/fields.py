"""Fields of a JSON object that was read from a file: each must be there, and of its type."""

from __future__ import annotations

import math
from collections.abc import Callable

from townlet_trajectory.storage.json import JsonValue


class Fields:
    """An object with exactly the expected keys; whatever else it is, `error` is raised with the reason."""

    def __init__(
        self, value: JsonValue, where: str, keys: frozenset[str], *, error: Callable[[str], Exception]
    ) -> None:
        if not isinstance(value, dict):
            raise error(f"{where} must be an object, got {type(value).__name__}")
        if value.keys() != keys:
            raise error(f"{where} has missing or unknown keys: {sorted(value.keys() ^ keys)}")
        self._value = value
        self._where = where
        self._error = error

    def text(self, key: str) -> str:
        """A string."""
        value = self._value[key]
        if not isinstance(value, str):
            raise self._refusal(key, "text")
        return value

    def count(self, key: str) -> int:
        """A whole number, at least 0."""
        value = self._value[key]
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self._refusal(key, "a whole number of at least 0")
        return value

    def number(self, key: str) -> float:
        """A finite number."""
        return self._number(self._value[key], key)

    def pair(self, key: str) -> tuple[float, float]:
        """Two finite numbers."""
        value = self._value[key]
        if not isinstance(value, list) or len(value) != 2:
            raise self._refusal(key, "two numbers")
        return self._number(value[0], key), self._number(value[1], key)

    def value(self, key: str) -> JsonValue:
        """Whatever is there."""
        return self._value[key]

    def _number(self, value: JsonValue, key: str) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise self._refusal(key, "a finite number")
        return float(value)

    def _refusal(self, key: str, expected: str) -> Exception:
        return self._error(f"{self._where}: `{key}` must be {expected}, got {self._value[key]!r}"[:300])
