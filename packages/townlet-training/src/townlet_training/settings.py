"""Check settings against the types and ranges that their annotations declare.

A setting is declared once: as a field of a frozen dataclass, with its default, its type and its range beside each other
(``gae_lambda: Annotated[float, Field(ge=0.0, le=1.0)] = 0.95``). `check_settings` holds a record to that, and the
JSON schema of `townlet_training.TrainingConfig` tells it to others, who need neither this package nor torch to read it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import is_dataclass
from functools import cache
from typing import Annotated, Any, cast, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from townlet_training.errors import ConfigError

# Ceilings keep every product of steps × agents × worlds, and every array size made of one, below 2**63.
Ticks = Annotated[int, Field(ge=1, le=10**9)]
"""Ticks of a world."""
Steps = Annotated[int, Field(ge=1, le=10**12)]
"""Steps of a whole run."""
Rows = Annotated[int, Field(ge=1, le=2**31 - 1)]
"""Rows of a batch."""
Count = Annotated[int, Field(ge=1, le=10**6)]
"""Updates, episodes or files, each of which takes time or space of its own."""
Share = Annotated[float, Field(ge=0.0, le=1.0)]
"""In [0, 1]."""
OpenShare = Annotated[float, Field(gt=0.0, lt=1.0)]
"""In (0, 1)."""
Ratio = Annotated[float, Field(gt=0.0, le=1.0)]
"""In (0, 1]."""
Positive = Annotated[float, Field(gt=0.0)]
"""Above 0, and finite."""
NotNegative = Annotated[float, Field(ge=0.0)]
"""At least 0, and finite."""


def check_settings(record: object) -> None:
    """Check every field of a dataclass against its annotation; called by its `__post_init__`.

    Raises:
        ConfigError: names the first field that has another type or is out of range, and what was expected.
    """
    # mypy takes the hash of a class for that of its instances.
    for name, adapter in _adapters(cast(Hashable, type(record))).items():
        value = vars(record)[name]
        try:
            adapter.validate_python(value, strict=True)
        except ValidationError as error:
            expected = error.errors(include_url=False)[0]["msg"].removeprefix("Input should be ")
            raise ConfigError(f"`{name}` must be {expected}, got {value!r}") from error


@cache
def _adapters(record: Hashable) -> Mapping[str, TypeAdapter[Any]]:
    """By field. A record inside of the record has checked itself, so only its type is looked at."""
    finite = ConfigDict(allow_inf_nan=False)
    hints = get_type_hints(record, include_extras=True)
    return {name: TypeAdapter(hint, config=None if is_dataclass(hint) else finite) for name, hint in hints.items()}
