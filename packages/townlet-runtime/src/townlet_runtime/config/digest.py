"""The digest of a resolved config, and the keys in which two configs differ."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from pydantic import JsonValue

from townlet_runtime.config.schema import Config
from townlet_trajectory.storage.json import canonical_json


def config_digest(config: Config) -> str:
    """Return the SHA-256 of every value of `config`, defaults included, as hex."""
    return hashlib.sha256(canonical_json(config.model_dump(mode="json"))).hexdigest()


def config_differences(a: Config, b: Config) -> list[str]:
    """Return the dotted keys whose values differ between `a` and `b`, in the order of the schema."""
    return list(_differences(a.model_dump(mode="json"), b.model_dump(mode="json"), ""))


def _differences(a: JsonValue, b: JsonValue, key: str) -> Iterator[str]:
    if not isinstance(a, dict) or not isinstance(b, dict):
        if a != b:
            yield key
        return
    for name in dict.fromkeys([*a, *b]):
        yield from _differences(a.get(name), b.get(name), f"{key}.{name}" if key else name)
