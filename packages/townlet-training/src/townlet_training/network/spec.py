"""The specification of a policy: the actions and observations that stay with its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from townlet_training.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class PolicySpec:
    """The actions and observations of a policy; stays with its weights wherever they go."""

    world: str
    """Name of the world it was trained in."""
    vocabulary: tuple[str, ...]
    """Keys of the actions, in the order of the network's outputs."""
    observation_shapes: Mapping[str, tuple[int, ...]]
    """Per agent, without the leading axis; all float32."""
    feature_names: tuple[str, ...] = ()
    """Names of the columns of the observation `features`; empty: not known."""
    commitment: tuple[str, int, int] | None = None
    """Where observations show the option in force: the observation, its first column, ticks that 1.0 stands for."""

    def __post_init__(self) -> None:
        if not self.world:
            raise ConfigError("`world` must be a name, got an empty string")
        if len(set(self.vocabulary)) != len(self.vocabulary) or len(self.vocabulary) < 2:
            raise ConfigError(f"`vocabulary` must hold at least 2 distinct keys, got {self.vocabulary!r}")
        if not self.observation_shapes or "action_mask" in self.observation_shapes:
            raise ConfigError(
                "`observation_shapes` must name at least one observation and not `action_mask`, "
                f"got {sorted(self.observation_shapes)}"
            )
