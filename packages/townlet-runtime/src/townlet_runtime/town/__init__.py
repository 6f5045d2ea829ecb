"""The embedded town: many copies of a small world of needs, work and lines, stepped as arrays."""

from townlet_runtime.town.config import (
    AffordanceSpec,
    AgentSpec,
    Effects,
    JobSpec,
    LifecycleConfig,
    Needs,
    NeedsDecay,
    NeedsWeights,
    ObjectSpec,
    PersonalityConfig,
    QueueConfig,
    RewardConfig,
    RivalryConfig,
    ScheduledIntent,
    SocialConfig,
    TownConfig,
)
from townlet_runtime.town.observations import TownObserved
from townlet_runtime.town.parallel import parallel_env
from townlet_runtime.town.town import Town

__all__ = [
    "AffordanceSpec",
    "AgentSpec",
    "Effects",
    "JobSpec",
    "LifecycleConfig",
    "Needs",
    "NeedsDecay",
    "NeedsWeights",
    "ObjectSpec",
    "PersonalityConfig",
    "QueueConfig",
    "RewardConfig",
    "RivalryConfig",
    "ScheduledIntent",
    "SocialConfig",
    "Town",
    "TownConfig",
    "TownObserved",
    "parallel_env",
]
