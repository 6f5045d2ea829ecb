"""What a page may ask for: every message has a name, an id and typed fields; anything else is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from townlet_runtime.sockets.fields import MAX_WHOLE, Check, MessageError, flag, json_object, number, text, whole

MAX_BYTES = 4096
"""Of one message."""
MIN_SPEED, MAX_SPEED = 0.1, 1000.0
"""Ticks a second that can be asked for."""
MAX_ACTIONS = 64
"""Parts or numbers of one array action."""


@dataclass(frozen=True)
class Message:
    """A message that was checked."""

    kind: str
    id: int
    fields: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]


def _one_of(*names: str) -> Check:
    def check(value: Any) -> str:
        if value not in names:
            raise MessageError(f"expected one of {', '.join(names)}")
        return str(value)

    return check


def _or_null(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def _action(value: Any) -> str | list[str] | list[float]:
    if isinstance(value, str):
        return text(value)
    if not isinstance(value, list) or not 0 < len(value) <= MAX_ACTIONS:
        raise MessageError("expected the key of an action, or a list of keys or numbers")
    if all(isinstance(each, str) for each in value):
        return [text(each) for each in value]
    return [number(-1e30, 1e30)(each) for each in value]


_AGENT: Mapping[str, Check] = {"agent": text}
_KINDS: Mapping[str, Mapping[str, Check]] = {
    "play": {},
    "pause": {},
    "step": {"ticks": whole(1, 1000)},
    "speed": {"ticks_per_s": _or_null(number(MIN_SPEED, MAX_SPEED))},
    "ratio": {"value": number(0.0, 1.0)},
    "reset": {"seed": _or_null(whole(0, MAX_WHOLE))},
    "inspect": {"agent": _or_null(text)},
    "strip": _AGENT,
    "moment": {**_AGENT, "tick": whole(0, MAX_WHOLE)},
    "acquire": _AGENT,
    "feed": {**_AGENT, "action": _action},
    "renew": _AGENT,
    "release": _AGENT,
    "label": {"agent": _or_null(text), "value": _one_of("success", "failure", "discard", "none")},
    "mark": {},
    "again": {},
    "seek": {"tick": whole(0, MAX_WHOLE)},
    "teach": {"method": _one_of("bc", "dagger")},
    "teach_stop": {},
    "swap": {"digest": text, "approve": flag},
}
"""Fields of each message, all of them needed."""


def read_message(sent: str | bytes) -> Message:
    """Read and check one message.

    Raises:
        MessageError: if it is not one that is known, with the fields that it has, and no others.
    """
    if len(sent) > MAX_BYTES:
        raise MessageError(f"expected at most {MAX_BYTES} bytes")
    content = json_object(sent)
    kind = content.pop("type", None)
    fields = _KINDS.get(kind) if isinstance(kind, str) else None
    if fields is None:
        raise MessageError("expected a `type` that is known")
    own = whole(0, MAX_WHOLE)(content.pop("id", None))
    if content.keys() != fields.keys():
        raise MessageError(f"`{kind}`: expected the fields {', '.join(sorted(fields)) or 'none'}")
    checked = {}
    for name, check in fields.items():
        try:
            checked[name] = check(content[name])
        except MessageError as error:
            raise MessageError(f"`{kind}`, `{name}`: {error}") from error
    return Message(kind, own, checked)


def id_in(sent: str | bytes) -> int | None:
    """Return the id of a message that was refused, where it has one."""
    try:
        content = json.loads(sent[:MAX_BYTES])
    except (ValueError, RecursionError):
        return None
    found = content.get("id") if isinstance(content, dict) else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None
