"""A config from what its file would say."""

from __future__ import annotations

from typing import Any

from townlet_runtime.config import Config, config_from


def config_of(content: dict[str, Any]) -> Config:
    """Check `content` as that of a file."""
    return config_from(content, source="town.yaml").config
