"""The whole config file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from townlet_runtime.config.schema.base import NO_EFFECT, Section
from townlet_runtime.config.schema.environment import EnvironmentSection
from townlet_runtime.config.schema.operations import (
    AffordancesConfig,
    Perturbations,
    PolicyRuntimeConfig,
    Snapshot,
    Stability,
)
from townlet_runtime.config.schema.rewards import Rewards
from townlet_runtime.config.schema.society import (
    Conflict,
    Curiosity,
    EmbeddingAllocator,
    Features,
    ObservationsConfig,
    Personalities,
    Shaping,
)
from townlet_runtime.config.schema.telemetry import ConsoleAuth, Telemetry
from townlet_runtime.config.schema.training import PPO, Anneal, Evaluation, Network, Training
from townlet_runtime.config.schema.world import (
    Behavior,
    Economy,
    Employment,
    Job,
    Lifecycle,
    QueueFairness,
    Scenario,
    TownSection,
    World,
)


class Config(Section):
    """A config file: the original's keys with the original's defaults, and ours (`preset`, `environment`, `town`,
    `network`, `anneal`, `evaluation` and single keys of other sections)."""

    config_id: str = "townlet"
    seed: int | None = Field(None, ge=0)
    preset: str | None = None
    """Start values of training by world; keys that a file or an override sets win over them."""
    environment: EnvironmentSection = EnvironmentSection()
    features: Features = Features()
    world: World = World()
    town: TownSection = TownSection()
    scenario: Scenario = Scenario()
    rewards: Rewards = Rewards()
    economy: Economy = Economy()
    jobs: Mapping[str, Job] = {}
    """By name; empty: the town's own shifts."""
    behavior: Behavior = Behavior()
    queue_fairness: QueueFairness = QueueFairness()
    conflict: Conflict = Conflict()
    personalities: Personalities = Personalities()
    affordances: AffordancesConfig = AffordancesConfig()
    lifecycle: Lifecycle = Lifecycle()
    employment: Employment = Employment()
    policy_runtime: PolicyRuntimeConfig = PolicyRuntimeConfig()
    observations_config: ObservationsConfig = ObservationsConfig()
    stability: Stability = Stability()
    ppo: PPO | None = None
    """null: the original's defaults, or the preset's."""
    training: Training = Training()
    network: Network = Network()
    anneal: Anneal = Anneal()
    evaluation: Evaluation = Evaluation()
    shaping: Annotated[Shaping | None, NO_EFFECT] = None
    curiosity: Annotated[Curiosity | None, NO_EFFECT] = None
    embedding_allocator: Annotated[EmbeddingAllocator, NO_EFFECT] = EmbeddingAllocator()
    telemetry: Annotated[Telemetry, NO_EFFECT] = Telemetry()
    console_auth: Annotated[ConsoleAuth, NO_EFFECT] = ConsoleAuth()
    snapshot: Annotated[Snapshot, NO_EFFECT] = Snapshot()
    perturbations: Annotated[Perturbations, NO_EFFECT] = Perturbations()
