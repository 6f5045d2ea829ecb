"""Fields of a message that somebody else wrote: each is checked, and what is refused is one sentence."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

from townlet_runtime.errors import TownletError

MAX_WHOLE = 2**53 - 1
"""The largest whole number that every reader of JSON keeps exactly (RFC 8259, section 6)."""
MAX_TEXT = 256
"""Characters of a name or an id."""

Check: TypeAlias = Callable[[Any], Any]


class MessageError(TownletError):
    """A message that must not be sent; the text is one sentence for who sent it."""


class Refusals:
    """Counts the refused messages of a connection.

    Args:
        most: of a minute; with as many the connection is to be closed.
    """

    def __init__(self, most: int) -> None:
        self._times: deque[float] = deque(maxlen=most)

    def add(self) -> bool:
        """Count one; true where there were too many in a minute."""
        now = time.monotonic()
        self._times.append(now)
        return len(self._times) == self._times.maxlen and now - self._times[0] < 60.0


def json_object(text: str | bytes) -> dict[str, Any]:
    """Return the object that a message is, without the constants that JSON has not.

    Raises:
        MessageError: if it is none.
    """
    try:
        content = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise MessageError("expected JSON") from error
    if not isinstance(content, dict):
        raise MessageError("expected an object")
    return content


def text(value: Any) -> str:
    """Return a text of 1 to `MAX_TEXT` characters."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
        raise MessageError(f"expected a text of 1 to {MAX_TEXT} characters")
    return value


def number(low: float, high: float) -> Check:
    """Return the check of a number in [low, high]."""

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise MessageError("expected a number")
        if not low <= value <= high:  # as it came: a whole number may be too large for a float
            raise MessageError(f"expected a number from {low:g} to {high:g}")
        return float(value)

    return check


def whole(low: int, high: int) -> Check:
    """Return the check of a whole number in [low, high]."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise MessageError(f"expected a whole number from {low} to {high}")
        return value

    return check


def flag(value: Any) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise MessageError("expected true or false")
    return value


def _no_constant(name: str) -> float:
    raise MessageError(f"expected finite numbers, got {name}")
