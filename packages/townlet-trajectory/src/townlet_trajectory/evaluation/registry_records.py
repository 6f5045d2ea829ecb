"""Records of a promotion registry: its settings, the passes of its candidates, and the times of its releases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from townlet_trajectory.evaluation.gates import GateResult
from townlet_trajectory.evaluation.promotion import PromotionConfig, PromotionPass
from townlet_trajectory.storage.json import JsonValue


@dataclass(frozen=True, kw_only=True)
class RegistrySettings:
    """The settings that every decision of a registry is made under; fixed when it is created."""

    config: PromotionConfig
    seed: int
    """From which the worlds of every pass follow."""
    behavior: str
    """Name of the behavior that acts while no release is live, such as `scripted`."""
    config_id: str
    """Name of the settings of the world."""
    world: Mapping[str, JsonValue]
    """The world that passes are played in, in the words of the one who plays them."""

    def entries(self) -> dict[str, JsonValue]:
        """Return the settings as JSON."""
        return {**vars(self), "config": dict(vars(self.config)), "world": dict(self.world)}


@dataclass(frozen=True, kw_only=True)
class RegistryPass:
    """A pass of a candidate against an incumbent, which has its own episodes from the moment it is opened."""

    number: int
    """Counted from 0 over all candidates of the registry."""
    candidate: str
    incumbent: str
    first_seed: int
    """Of its `num_episodes` episodes."""
    opened: int
    """Sequence number of the record."""
    result: PromotionPass | None = None
    """None: still being played, or given up."""
    gates: tuple[GateResult, ...] = ()

    @property
    def won(self) -> bool:
        """Whether the candidate was better."""
        return self.result is not None and self.result.outcome == "better"


@dataclass(frozen=True, kw_only=True)
class LivePeriod:
    """A time during which one release, or the first behavior, was live."""

    release: str
    """Digest, or the name of the behavior."""
    event: str
    """`created`, `promoted`, `rollback` or `manual_swap`."""
    sequence: int
    """Of the record with which it began."""
    time: float
    """When it began, by the clock of the writer, which may be earlier than the period before."""
    metadata: Mapping[str, JsonValue] = field(default_factory=dict)
    """Of the event."""
    end_sequence: int | None = None
    """Of the record with which the next one began; None: it is live."""
    end_time: float | None = None
