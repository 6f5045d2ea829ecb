"""What a town is made of: population, place, objects, affordances, jobs, rewards. Frozen; a contradiction raises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from townlet_runtime.errors import TownConfigError
from townlet_runtime.town.society import (
    LifecycleConfig,
    PersonalityConfig,
    RivalryConfig,
    SocialConfig,
    SocialStage,
    check_profile,
)

__all__ = [
    "NEEDS",
    "OBJECT_TYPES",
    "AffordanceSpec",
    "AgentSpec",
    "JobSpec",
    "LifecycleConfig",
    "ObjectSpec",
    "ObjectType",
    "PersonalityConfig",
    "QueueConfig",
    "RewardConfig",
    "RivalryConfig",
    "ScheduledIntent",
    "SocialConfig",
    "SocialStage",
    "TownConfig",
]

ObjectType = Literal["fridge", "stove", "shower", "bed"]
OBJECT_TYPES: tuple[ObjectType, ...] = ("fridge", "stove", "shower", "bed")
NEEDS = ("hunger", "hygiene", "energy")


@dataclass(frozen=True, kw_only=True)
class ObjectSpec:
    """One object of the town that agents line up for."""

    id: str
    type: ObjectType
    position: tuple[int, int]
    """(x, y) cell."""
    places: int = 1
    """Agents that can use it at the same time; one is let in per tick."""


@dataclass(frozen=True, kw_only=True)
class ScheduledIntent:
    """One entry of an agent's schedule."""

    kind: Literal["wait", "move", "request", "start", "release", "chat", "blocked"]
    object_id: str | None = None
    affordance_id: str | None = None
    position: tuple[int, int] | None = None
    """(x, y) cell that `move` goes to."""
    target_agent: str | None = None
    blocked: bool = False
    """Takes a tick and does nothing, whatever its kind."""


@dataclass(frozen=True, kw_only=True)
class AgentSpec:
    """One agent a scenario places."""

    id: str
    position: tuple[int, int]
    needs: tuple[float, float, float] = (0.7, 0.7, 0.7)
    """hunger, hygiene, energy in [0, 1]; 1 is satisfied."""
    wallet: float = 1.0
    job: str | None = None
    personality_profile: str | None = None
    """One of `townlet_behavior.personality.PROFILES` by name; None: drawn."""
    schedule: tuple[ScheduledIntent, ...] = ()
    """What it does, over and over, instead of living by the script; empty: it has none."""


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """A shift at a place, the same every day."""

    name: str
    start_tick: int
    """Tick of the day at which the shift begins."""
    end_tick: int
    """First tick of the day after the shift."""
    wage_rate: float = 0.04
    """Money per tick worked."""
    lateness_penalty: float = 0.0
    """Reward taken once when a shift is begun late."""
    location: tuple[int, int] = (0, 0)


@dataclass(frozen=True, kw_only=True)
class AffordanceSpec:
    """What using an object takes and does."""

    id: str
    duration: int
    """Ticks of use."""
    effects: tuple[float, float, float]
    """Change of hunger, hygiene, energy when the use is complete."""
    cost: float = 0.0
    """Money, paid when the use begins."""
    uses_stock: bool = False
    """Whether a use takes one unit of the object's own stock (a meal, ingredients) when it begins."""
    meals_made: int = 0
    """Meals that a completed use puts into the town's emptiest fridge."""

    def __post_init__(self) -> None:
        if self.duration < 1:
            raise TownConfigError(f"expected at least 1 tick, got {self.duration}", key="duration")


@dataclass(frozen=True, kw_only=True)
class RewardConfig:
    """Coefficients of the reward; `townlet_runtime.town.rewards` has the formula."""

    survival_tick: float = 0.01
    needs_penalty: float = 0.01
    """Per tick with every need at 0."""
    needs_weights: tuple[float, float, float] = (1.0, 0.6, 0.8)
    wage_rate: float = 0.01
    """Per tick worked."""
    punctuality_bonus: float = 0.05
    """For being at work when the shift begins."""
    late_tick_penalty: float = 0.003
    """Per tick of a shift spent elsewhere."""
    faint_penalty: float = -1.0
    clip_per_tick: float = 0.2
    """Bound of a tick's reward, the fainting penalty aside."""
    discount: float = 0.99
    """γ for which leaving early must not pay."""


@dataclass(frozen=True, kw_only=True)
class QueueConfig:
    """How lines behave."""

    cooldown_ticks: int = 5
    """Ticks after giving up a turn or ending a use in which that object's line refuses the agent."""
    ghost_step_after: int = 3
    """A turn that is not taken for so many ticks while others wait passes to the next in line (a ghost step)."""


def _default_affordances() -> Mapping[ObjectType, AffordanceSpec]:
    return MappingProxyType(
        {
            "fridge": AffordanceSpec(id="eat_meal", duration=8, effects=(0.4, 0.0, 0.05), cost=0.4, uses_stock=True),
            "stove": AffordanceSpec(
                id="cook_meal", duration=12, effects=(0.1, -0.02, -0.05), cost=0.15, uses_stock=True, meals_made=4
            ),
            "shower": AffordanceSpec(id="use_shower", duration=8, effects=(0.0, 0.45, -0.03), cost=0.1),
            "bed": AffordanceSpec(id="rest_sleep", duration=20, effects=(0.0, 0.0, 0.6)),
        }
    )


def _default_option_ticks() -> Mapping[str, int]:
    return MappingProxyType({"move": 1, "wait": 0, "chat": 1, "request": 15, "start": 15, "work": 15, "release": 0})


@dataclass(frozen=True, kw_only=True)
class TownConfig:
    """One town; `Town(config, num_worlds=W)` steps W copies of it."""

    num_agents: int = 10
    """Population where `agents` is empty."""
    episode_ticks: int = 1000
    ticks_per_day: int = 250
    grid_size: tuple[int, int] = (16, 16)
    """(width, height) in cells."""
    local_window: int = 7
    """Side of the square an agent sees, odd."""
    objects: tuple[ObjectSpec, ...] = ()
    """Empty: a default layout that grows with the population."""
    agents: tuple[AgentSpec, ...] = ()
    """Empty: `num_agents` agents with drawn places, needs, wallets and jobs."""
    jobs: tuple[JobSpec, ...] = ()
    """Empty: three shifts, drawn evenly."""
    needs_decay: tuple[float, float, float] = (0.003, 0.0015, 0.002)
    """Per tick."""
    affordances: Mapping[ObjectType, AffordanceSpec] = field(default_factory=_default_affordances)
    fridge_stock: int = 8
    """Meals in each fridge at the start."""
    stove_stock: int = 8
    """Ingredients at each stove at the start, and its limit."""
    stove_stock_replenish: int = 2
    """Ingredients delivered to each stove every `delivery_ticks`."""
    delivery_ticks: int = 50
    rewards: RewardConfig = field(default_factory=RewardConfig)
    queue: QueueConfig = field(default_factory=QueueConfig)
    rivalry: RivalryConfig = field(default_factory=RivalryConfig)
    social: SocialConfig = field(default_factory=SocialConfig)
    personality: PersonalityConfig = field(default_factory=PersonalityConfig)
    lifecycle: LifecycleConfig = field(default_factory=LifecycleConfig)
    option_ticks: Mapping[str, int] = field(default_factory=_default_option_ticks)
    """Commitment length by option kind."""

    def __post_init__(self) -> None:
        width, height = self.grid_size
        if width < 2 or height < 2:
            raise TownConfigError(f"expected at least (2, 2) cells, got {self.grid_size}", key="grid_size")
        if self.local_window < 1 or self.local_window % 2 == 0:
            raise TownConfigError(f"expected an odd number of cells, got {self.local_window}", key="local_window")
        if self.population < 1:
            raise TownConfigError(f"expected at least 1 agent, got {self.population}", key="num_agents")
        for name, count in (
            ("episode_ticks", self.episode_ticks),
            ("ticks_per_day", self.ticks_per_day),
            ("delivery_ticks", self.delivery_ticks),
        ):
            if count < 1:
                raise TownConfigError(f"expected at least 1 tick, got {count}", key=name)
        self._check_places(width, height)
        self._check_names()

    def _check_places(self, width: int, height: int) -> None:
        placed = [(f"objects[{o.id}]", o.position) for o in self.objects]
        placed += [(f"agents[{a.id}]", a.position) for a in self.agents]
        placed += [(f"jobs[{j.name}]", j.location) for j in self.jobs]
        for name, (x, y) in placed:
            if not (0 <= x < width and 0 <= y < height):
                raise TownConfigError(f"expected a cell of the {width} x {height} grid, got {(x, y)}", key=name)
        for item in self.objects:
            if item.places < 1:
                raise TownConfigError(f"expected at least 1 place, got {item.places}", key=f"objects[{item.id}].places")

    def _check_names(self) -> None:
        for name, ids in (
            ("objects", [o.id for o in self.objects]),
            ("agents", [a.id for a in self.agents]),
            ("jobs", [j.name for j in self.jobs]),
        ):
            if len(set(ids)) != len(ids):
                raise TownConfigError(f"expected unique names, got {sorted(ids)}", key=name)
        jobs = {j.name for j in self.jobs}
        for agent in self.agents:
            if agent.job is not None and agent.job not in jobs:
                raise TownConfigError(
                    f"expected one of {sorted(jobs)}, got {agent.job!r}", key=f"agents[{agent.id}].job"
                )
            if agent.personality_profile is not None:
                check_profile(agent.personality_profile, key=f"agents[{agent.id}].personality_profile")

    @property
    def population(self) -> int:
        """Agents at the start of an episode."""
        return len(self.agents) or self.num_agents
