"""The embedded town: many copies of a small world of needs, work and lines, stepped as arrays."""

from townlet_runtime.town.config import (
    AffordanceSpec,
    AgentSpec,
    JobSpec,
    ObjectSpec,
    QueueConfig,
    RewardConfig,
    TownConfig,
)
from townlet_runtime.town.town import Town
from townlet_runtime.town.view import TownObserved

__all__ = [
    "AffordanceSpec",
    "AgentSpec",
    "JobSpec",
    "ObjectSpec",
    "QueueConfig",
    "RewardConfig",
    "Town",
    "TownConfig",
    "TownObserved",
]
