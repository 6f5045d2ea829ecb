"""How the spaces of an environment are read, where there is a choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from townlet_runtime.errors import ConfigError

ActionForm: TypeAlias = Literal["auto", "joint", "parts"]
DeclaredKind: TypeAlias = Literal["flat", "channels_first", "channels_last", "entities"]

MAX_ENTITIES = 4096
"""Of one observation."""


@dataclass(frozen=True, kw_only=True)
class SpaceSettings:
    """How actions of several parts, images and things of a varying number are read.

    Examples:
        >>> from townlet_runtime import Environment, SpaceSettings
        >>> spaces = SpaceSettings(actions="parts", observation_kinds={"board": "channels_last"})
        >>> environment = Environment(name="gymnasium:Board-v0", spaces=spaces)

    Raises:
        ConfigError: names the setting that is out of range.
    """

    actions: ActionForm = "auto"
    """A `MultiDiscrete` or `MultiBinary` action is an index over all combinations (`joint`), or one for each of its
    parts (`parts`). `auto`: jointly up to 1024 combinations, by parts above."""
    observation_kinds: Mapping[str, DeclaredKind] = field(default_factory=dict)
    """By the name of an observation: an image with its channels first or last, `entities` (a row for each thing, beside
    it `NAME_mask`), or `flat`, numbers side by side. Others are recognized by their spaces."""
    max_entities: int | None = None
    """Most things in an observation that is a `Sequence`; None: there is none."""

    def __post_init__(self) -> None:
        if self.actions not in get_args(ActionForm):
            expected = f"expected one of {get_args(ActionForm)}, got {self.actions!r}"
            raise ConfigError(expected, key="environment.actions")
        for name, kind in self.observation_kinds.items():
            if kind not in get_args(DeclaredKind):
                expected = f"expected one of {get_args(DeclaredKind)} for `{name}`, got {kind!r}"
                raise ConfigError(expected, key="environment.observation_kinds")
        if self.max_entities is not None and not 1 <= self.max_entities <= MAX_ENTITIES:
            expected = f"expected 1 to {MAX_ENTITIES}, got {self.max_entities}"
            raise ConfigError(expected, key="environment.max_entities")
