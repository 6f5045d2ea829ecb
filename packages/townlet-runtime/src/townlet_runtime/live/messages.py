"""What a page may ask for: every message has a name, an id and typed fields; anything else is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from townlet_runtime.errors import TownletError

MAX_BYTES = 4096
"""Of one message."""
MAX_TEXT = 256
"""Characters of an agent's id, an action or a digest."""
MIN_SPEED, MAX_SPEED = 0.1, 1000.0
"""Ticks a second that can be asked for."""
MAX_ACTIONS = 64
"""Parts or numbers of one array action."""


class MessageError(TownletError):
    """A message that a page must not send; the text is one sentence for the people there."""


@dataclass(frozen=True)
class Message:
    """A message that was checked."""

    kind: str
    id: int
    fields: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]


_Check = Callable[[Any], Any]


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
        raise MessageError(f"expected a text of 1 to {MAX_TEXT} characters")
    return value


def _number(low: float, high: float) -> _Check:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise MessageError("expected a number")
        if not low <= value <= high:
            raise MessageError(f"expected a number from {low:g} to {high:g}")
        return float(value)

    return check


def _whole(low: int, high: int) -> _Check:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise MessageError(f"expected a whole number from {low} to {high}")
        return value

    return check


def _one_of(*names: str) -> _Check:
    def check(value: Any) -> str:
        if value not in names:
            raise MessageError(f"expected one of {', '.join(names)}")
        return str(value)

    return check


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise MessageError("expected true or false")
    return value


def _or_null(check: _Check) -> _Check:
    return lambda value: None if value is None else check(value)


def _action(value: Any) -> str | list[str] | list[float]:
    if isinstance(value, str):
        return _text(value)
    if not isinstance(value, list) or not 0 < len(value) <= MAX_ACTIONS:
        raise MessageError("expected the key of an action, or a list of keys or numbers")
    if all(isinstance(each, str) for each in value):
        return [_text(each) for each in value]
    return [_number(-1e30, 1e30)(each) for each in value]


_AGENT: Mapping[str, _Check] = {"agent": _text}
_KINDS: Mapping[str, Mapping[str, _Check]] = {
    "play": {},
    "pause": {},
    "step": {"ticks": _whole(1, 1000)},
    "speed": {"ticks_per_s": _or_null(_number(MIN_SPEED, MAX_SPEED))},
    "ratio": {"value": _number(0.0, 1.0)},
    "reset": {"seed": _or_null(_whole(0, 2**53 - 1))},
    "inspect": {"agent": _or_null(_text)},
    "strip": _AGENT,
    "moment": {**_AGENT, "tick": _whole(0, 2**53 - 1)},
    "acquire": _AGENT,
    "feed": {**_AGENT, "action": _action},
    "renew": _AGENT,
    "release": _AGENT,
    "label": {"agent": _or_null(_text), "value": _one_of("success", "failure", "discard", "none")},
    "mark": {},
    "again": {},
    "seek": {"tick": _whole(0, 2**53 - 1)},
    "teach": {"method": _one_of("bc", "dagger")},
    "teach_stop": {},
    "swap": {"digest": _text, "approve": _flag},
}
"""Fields of each message, all of them needed."""


def read_message(text: str | bytes) -> Message:
    """Read and check one message.

    Raises:
        MessageError: if it is not one that is known, with the fields that it has, and no others.
    """
    if len(text) > MAX_BYTES:
        raise MessageError(f"expected at most {MAX_BYTES} bytes")
    try:
        content = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise MessageError("expected JSON") from error
    if not isinstance(content, dict):
        raise MessageError("expected an object")
    kind = content.pop("type", None)
    fields = _KINDS.get(kind) if isinstance(kind, str) else None
    if fields is None:
        raise MessageError("expected a `type` that is known")
    number = _whole(0, 2**53 - 1)(content.pop("id", None))
    if content.keys() != fields.keys():
        raise MessageError(f"`{kind}`: expected the fields {', '.join(sorted(fields)) or 'none'}")
    checked = {}
    for name, check in fields.items():
        try:
            checked[name] = check(content[name])
        except MessageError as error:
            raise MessageError(f"`{kind}`, `{name}`: {error}") from error
    return Message(kind, number, checked)


def id_in(text: str | bytes) -> int | None:
    """Return the id of a message that was refused, where it has one."""
    try:
        content = json.loads(text[:MAX_BYTES])
    except (ValueError, RecursionError):
        return None
    number = content.get("id") if isinstance(content, dict) else None
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def _no_constant(name: str) -> float:
    raise MessageError(f"expected finite numbers, got {name}")
