"""Sections about what agents are to each other, and the switches of features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from townlet_runtime.config.schema.base import NO_EFFECT, List, NoEffect, OpenSection, Section, Share, SocialStage

_OFF = NoEffect(unless=(False,))


class StageFlags(Section):
    """`features.stages`."""

    relationships: Literal["OFF", "A", "B", "C1", "C2", "C3"] = "OFF"
    """Whether agents come to trust, know and avoid each other, and chat: every stage but `OFF` is the same here."""
    social_rewards: SocialStage = "OFF"
    """What is rewarded beside needs and work; C1: chats, C2 and C3: conflicts avoided too."""


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

    personality_profiles: bool = False
    """Whether a personality biases what the script does."""
    reward_multipliers: bool = False
    """Whether a personality scales the script's thresholds."""


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
    """`personalities`: which profile an agent has that the scenario gives none."""

    distribution: Mapping[str, float] = {"balanced": 1.0}
    """Weight of each profile; they need not add up to 1."""
    overrides: Mapping[str, str] = {}
    """Profile by agent id."""


class Rivalry(Section):
    """`conflict.rivalry`."""

    queue_length_boost: float = Field(0.25, ge=0.0, le=2.0)
    """A queue conflict's intensity is 1 + this for every agent already there."""
    increment_per_conflict: Share = 0.15
    """Rivalry gained in a conflict of intensity 1."""
    decay_per_tick: Share = 0.005
    min_value: Share = 0.0
    max_value: Share = 1.0
    avoid_threshold: Share = 0.7
    """From here on an agent is avoided."""
    eviction_threshold: Share = 0.05
    """Below it a rivalry is forgotten."""
    max_edges: int = Field(6, ge=1, le=32)
    """Rivals that an agent keeps in mind."""
    ghost_step_boost: float = Field(1.5, ge=0.0, le=5.0)
    """Intensity of losing a turn to somebody by a ghost step."""
    handover_boost: float = Field(0.4, ge=0.0, le=5.0)
    """Intensity of handing a turn over."""


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
