"""Intents: the requests of an agent to the world, in the world's words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Required, TypedDict, get_args

from .errors import UnknownActionError

IntentKind = Literal["wait", "move", "request", "start", "release", "chat", "blocked"]
"""The kinds of intents, in the words of the worlds."""

_KINDS = frozenset(get_args(IntentKind))


_FIELDS = {"object": "object_id", "affordance": "affordance_id", "target": "target_agent"}
"""Fields of an intent, by their names in an action."""


class Action(TypedDict, total=False):
    """The plain mapping that worlds accept."""

    kind: Required[IntentKind]
    object: str | None
    affordance: str | None
    blocked: bool
    position: tuple[int, int]
    target: str
    quality: float


@dataclass(frozen=True, kw_only=True)
class AgentIntent:
    """The intent of one agent for one tick.

    Raises:
        UnknownActionError: if `kind` is none of `IntentKind`, or `quality` is not finite.
    """

    kind: IntentKind
    object_id: str | None = None
    affordance_id: str | None = None
    blocked: bool = False
    """A guardrail replaced the agent's own intent."""
    position: tuple[int, int] | None = None
    """Grid cell (x, y)."""
    target_agent: str | None = None
    quality: float | None = None
    """Of a chat; the town gives 0.1 to 1."""

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise UnknownActionError(f"`kind` must be one of {sorted(_KINDS)}, got {self.kind!r}")
        if self.quality is not None and not math.isfinite(self.quality):
            raise UnknownActionError(f"`quality` must be finite, got {self.quality!r}")

    @classmethod
    def from_action(cls, action: Mapping[str, Any]) -> AgentIntent:
        """Return the intent of an `Action`, in which the names of an intent's own fields are taken too.

        Raises:
            UnknownActionError: if it has no kind, or a field that no intent has.
        """
        fields = {_FIELDS.get(name, name): value for name, value in action.items()}
        unknown = sorted(fields.keys() - cls.__dataclass_fields__.keys())
        if unknown or "kind" not in fields:
            raise UnknownActionError(f"an action must have `kind` and no field of {unknown}, got {dict(action)}")
        position = fields.get("position")
        return cls(**{**fields, "position": None if position is None else tuple(position)})

    def to_action(self) -> Action:
        """Return the mapping for a world, with the fields that are set; of `wait` only whether it was blocked."""
        if self.kind == "wait":
            return {"kind": "wait", "blocked": True} if self.blocked else {"kind": "wait"}
        action: Action = {
            "kind": self.kind,
            "object": self.object_id,
            "affordance": self.affordance_id,
            "blocked": self.blocked,
        }
        if self.position is not None:
            action["position"] = self.position
        if self.target_agent is not None:
            action["target"] = self.target_agent
        if self.quality is not None:
            action["quality"] = self.quality
        return action
