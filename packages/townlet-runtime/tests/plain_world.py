"""A plain world for tests, of the members that the contract names; it does with actions what a test wants to see."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Mind:
    extroversion: float = 0.5


@dataclass
class Person:
    position: tuple[int, int] = (0, 0)
    needs: dict[str, float] = field(default_factory=lambda: {"hunger": 1.0, "hygiene": 1.0, "energy": 1.0})
    personality: Mind = field(default_factory=Mind)
    personality_profile: str = "balanced"
    job_id: str | None = None


@dataclass
class Thing:
    object_type: str
    stock: dict[str, int] = field(default_factory=dict)


@dataclass
class Use:
    agent_id: str


@dataclass
class Bond:
    trust: float
    familiarity: float


@dataclass
class PlainWorld:
    agents: dict[str, Person] = field(default_factory=dict)
    objects: dict[str, Thing] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)
    turns: dict[str, str] = field(default_factory=dict)
    running_affordances: dict[str, Use] = field(default_factory=dict)
    bonds: dict[tuple[str, str], Bond] = field(default_factory=dict)
    rivalries: dict[tuple[str, str], float] = field(default_factory=dict)
    tick: int = 0
    told: list[tuple[Any, ...]] = field(default_factory=list)
    """What the world was told by guardrails."""

    @property
    def queue_manager(self) -> PlainWorld:
        return self

    @property
    def affordance_runtime(self) -> PlainWorld:
        return self

    def active_agent(self, object_id: str) -> str | None:
        return self.turns.get(object_id)

    def queue_snapshot(self, object_id: str) -> list[str]:
        return self.lines.get(object_id, [])

    def relationship_tie(self, agent_id: str, other_id: str) -> Bond | None:
        return self.bonds.get((agent_id, other_id))

    def rivalry_value(self, agent_id: str, other_id: str) -> float:
        return self.rivalries.get((agent_id, other_id), 0.0)

    def rivalry_should_avoid(self, agent_id: str, other_id: str) -> bool:
        return self.rivalry_value(agent_id, other_id) >= 0.5

    def record_chat_failure(self, agent_id: str, target_id: str) -> None:
        self.told.append(("chat_failure", agent_id, target_id))

    def record_relationship_guard_block(
        self, *, agent_id: str, reason: str, target_agent: str | None = None, object_id: str | None = None
    ) -> None:
        self.told.append((reason, agent_id, target_agent, object_id))


def world_of(*names: str) -> PlainWorld:
    """Contented agents on cells of their own, a fridge, a bed."""
    agents = {name: Person(position=(index, 5)) for index, name in enumerate(names)}
    return PlainWorld(agents, {"fridge": Thing("fridge", {"meals": 9}), "bed": Thing("bed")})


def seen(*names: str, value: float = 0.0) -> dict[str, dict[str, Any]]:
    """Observations of these agents: one number, with which a test tells them apart."""
    return {
        name: {"features": np.array([value, index], np.float32), "map": np.full((1, 2, 2), value, np.float32)}
        for index, name in enumerate(names)
    }
