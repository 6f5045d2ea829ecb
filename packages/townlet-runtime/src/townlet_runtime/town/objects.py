"""The types of the town's objects."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

ObjectType = Literal["fridge", "stove", "shower", "bed"]
OBJECT_TYPES: tuple[ObjectType, ...] = ("fridge", "stove", "shower", "bed")
TypeName = Annotated[str, Field(pattern=r"^\w[\w .-]{0,63}$")]
"""Of an object; one that is not among `OBJECT_TYPES` makes it a plain object, whose use satisfies nothing."""
MAX_PLAIN_TYPES = 64
"""Each adds three actions and fifteen features to its town."""
