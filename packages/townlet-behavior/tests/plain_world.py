"""A plain world for tests: everything is said by whoever makes it, nothing happens by itself."""

from __future__ import annotations

from dataclasses import dataclass, field


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
    """Its own queues and uses: `lines` and `turns` by object; one who is rival enough is to be avoided."""

    agents: dict[str, Person] = field(default_factory=dict)
    objects: dict[str, Thing] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)
    turns: dict[str, str] = field(default_factory=dict)
    running_affordances: dict[str, Use] = field(default_factory=dict)
    bonds: dict[tuple[str, str], Bond] = field(default_factory=dict)
    rivalries: dict[tuple[str, str], float] = field(default_factory=dict)
    tick: int = 0

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

    def record_chat_failure(self, agent_id: str, target_id: str) -> None: ...

    def record_relationship_guard_block(
        self, *, agent_id: str, reason: str, target_agent: str | None = None, object_id: str | None = None
    ) -> None: ...
