"""`environment`: which world is lived in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, field_validator

from townlet_runtime.config.schema.base import Section

TOWN = "town"
"""Name of the embedded town."""

_NAMES = re.compile(rf"{TOWN}|gymnasium:(?:[\w.-]+/)?[\w.-]+|pettingzoo:[\w.-]+")


class EnvironmentSection(Section):
    """`environment`. With another one than the town, what describes the town has no effect."""

    name: str = TOWN
    """`town`, `gymnasium:ID` or `pettingzoo:NAME`."""
    settings: Mapping[str, str | int | float | bool | None] = {}
    """Keyword arguments of the environment; the town has none."""
    vectorization: Literal["auto", "sync", "native"] = "auto"
    """How parallel worlds are stepped, with Gymnasium."""
    max_episode_ticks: int | None = Field(None, ge=1)
    """Bound on an episode's length; null: the environment's own, else 1,000."""
    controller: str | None = None
    """Name of a registered controller that is the script; null: the environment's own, if it has one."""

    @field_validator("name")
    @classmethod
    def _refuse_code(cls, value: str) -> str:
        if _NAMES.fullmatch(value) is None:
            raise ValueError(
                f"must be `town`, `gymnasium:ID` or `pettingzoo:NAME`, got {value!r} "
                "(a config must not name code to import)"
            )
        return value

    @property
    def is_town(self) -> bool:
        """Whether it is the embedded town."""
        return self.name == TOWN
