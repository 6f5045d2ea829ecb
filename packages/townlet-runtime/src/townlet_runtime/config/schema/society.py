"""Sections about what agents are to each other, and the switches of features. Nearly all have no effect yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from townlet_runtime.config.schema.base import NO_EFFECT, List, NoEffect, OpenSection, Section

_OFF = NoEffect(unless=(False,))


class StageFlags(Section):
    """`features.stages`."""

    relationships: Annotated[Literal["OFF", "A", "B", "C1", "C2", "C3"], NoEffect(unless=("OFF",))] = "OFF"
    social_rewards: Annotated[Literal["OFF", "C1", "C2", "C3"], NoEffect(unless=("OFF",))] = "OFF"


class SystemFlags(Section):
    """`features.systems`."""

    lifecycle: Annotated[Literal["on", "off"], NoEffect(unless=("on",))] = "on"
    observations: Annotated[Literal["full", "hybrid", "compact"], NoEffect(unless=("hybrid",))] = "hybrid"


class TrainingFlags(OpenSection):
    """`features.training`."""

    curiosity: Literal["phase_A", "off"] = "phase_A"


class ConsoleFlags(OpenSection):
    """`features.console`."""

    mode: Literal["viewer", "admin"] = "viewer"


class BehaviorFlags(Section):
    """`features.behavior`."""

    personality_profiles: Annotated[bool, _OFF] = False
    reward_multipliers: Annotated[bool, _OFF] = False


class ObservationFlags(Section):
    """`features.observations`."""

    personality_channels: Annotated[bool, _OFF] = False
    personality_ui: Annotated[bool, _OFF] = False


class Features(Section):
    """`features`."""

    stages: StageFlags = StageFlags()
    systems: SystemFlags = SystemFlags()
    training: Annotated[TrainingFlags, NO_EFFECT] = TrainingFlags()
    console: Annotated[ConsoleFlags, NO_EFFECT] = ConsoleFlags()
    relationship_modifiers: Annotated[bool, _OFF] = False
    behavior: BehaviorFlags = BehaviorFlags()
    observations: ObservationFlags = ObservationFlags()


class Personalities(OpenSection):
    """`personalities`."""

    distribution: Mapping[str, float] = {"balanced": 1.0}
    overrides: Mapping[str, str] = {}


class Rivalry(Section):
    """`conflict.rivalry`."""

    queue_length_boost: float = Field(0.25, ge=0.0, le=2.0)
    """A queue conflict's intensity is 1 + this for every agent already there."""
    increment_per_conflict: Annotated[float, Field(ge=0.0, le=1.0), NO_EFFECT] = 0.15
    decay_per_tick: Annotated[float, Field(ge=0.0, le=1.0), NO_EFFECT] = 0.005
    min_value: Annotated[float, Field(ge=0.0, le=1.0), NO_EFFECT] = 0.0
    max_value: Annotated[float, Field(ge=0.0, le=1.0), NO_EFFECT] = 1.0
    avoid_threshold: Annotated[float, Field(ge=0.0, le=1.0), NO_EFFECT] = 0.7
    eviction_threshold: Annotated[float, Field(ge=0.0, le=1.0), NO_EFFECT] = 0.05
    max_edges: Annotated[int, Field(ge=1, le=32), NO_EFFECT] = 6
    ghost_step_boost: Annotated[float, Field(ge=0.0, le=5.0), NO_EFFECT] = 1.5
    handover_boost: Annotated[float, Field(ge=0.0, le=5.0), NO_EFFECT] = 0.4


class Conflict(Section):
    """`conflict`."""

    rivalry: Rivalry = Rivalry()


class Shaping(OpenSection):
    """`shaping`."""

    use_potential: bool = True


class Curiosity(OpenSection):
    """`curiosity`."""

    phase_A_weight: float = Field(0.02, ge=0.0, le=0.1)
    decay_by_milestone: Literal["M2", "never"] = "M2"


class HybridObservations(Section):
    """`observations_config.hybrid`: what an agent sees."""

    local_window: int = Field(11, ge=3)
    """Side of the square of cells an agent sees."""
    include_targets: Annotated[bool, _OFF] = False
    time_ticks_per_day: int = Field(1440, ge=1)


class CompactObservations(OpenSection):
    """`observations_config.compact`."""

    map_window: int = Field(7, ge=3)
    include_targets: bool = False
    object_channels: List[str] = ()
    normalize_counts: bool = True


class SocialSnippet(OpenSection):
    """`observations_config.social_snippet`."""

    top_friends: int = Field(2, ge=0, le=8)
    top_rivals: int = Field(2, ge=0, le=8)
    embed_dim: int = Field(8, ge=1, le=32)
    include_aggregates: bool = True


class ObservationsConfig(Section):
    """`observations_config`."""

    hybrid: HybridObservations = HybridObservations()
    compact: Annotated[CompactObservations, NO_EFFECT] = CompactObservations()
    social_snippet: Annotated[SocialSnippet, NO_EFFECT] = SocialSnippet()


class EmbeddingAllocator(OpenSection):
    """`embedding_allocator`."""

    cooldown_ticks: int = Field(2000, ge=0, le=10000)
    reuse_warning_threshold: float = Field(0.05, ge=0.0, le=0.5)
    log_forced_reuse: bool = True
    max_slots: int = Field(64, ge=1, le=256)
