"""What every section of a config file is made of: exact keys, exact types, and which keys have no effect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Setting: TypeAlias = bool | int | float | str | tuple[int, ...] | None
"""A value that a key can have once it is checked."""

ItemT = TypeVar("ItemT")


class Section(BaseModel):
    """A section that something reads: an unknown key is an error, and `true` is no number."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, populate_by_name=True, protected_namespaces=()
    )


class OpenSection(Section):
    """A section that nothing reads: known keys are checked, unknown ones only named in a warning."""

    model_config = ConfigDict(extra="allow")


@dataclass(frozen=True)
class NoEffect:
    """Marks a key that is checked but that nothing acts on, unless its value says what happens anyway."""

    unless: tuple[bool | int | float | str | None, ...] = ()


NO_EFFECT = NoEffect()


@dataclass(frozen=True)
class ReadAtLoad:
    """Marks a key that is carried out when the config is loaded: from then on, other keys say what it said."""


READ_AT_LOAD = ReadAtLoad()

# Strict mode takes no list for a tuple, and YAML has nothing but lists.
List: TypeAlias = Annotated[tuple[ItemT, ...], Field(strict=False)]
Cell: TypeAlias = Annotated[tuple[int, int], Field(strict=False)]
"""(x, y) of a grid."""
Share: TypeAlias = Annotated[float, Field(ge=0.0, le=1.0)]
"""In [0, 1]."""
SocialStage = Literal["OFF", "C1", "C2", "C3"]
"""Stages of social rewards; each has what those before it have."""
