"""What a town is made of: population, place, objects, affordances, jobs, rewards. Frozen; a contradiction raises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from townlet_runtime.errors import TownConfigError
from townlet_runtime.town.society import (
    LifecycleConfig,
    PersonalityConfig,
    RivalryConfig,
    Share,
    SocialConfig,
    SocialStage,
    Ticks,
    check_profile,
    check_settings,
)

__all__ = [
    "NEEDS",
    "OBJECT_TYPES",
    "TOWN",
    "AffordanceSpec",
    "AgentSpec",
    "JobSpec",
    "LifecycleConfig",
    "Needs",
    "NeedsDecay",
    "NeedsWeights",
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

TOWN = "town"
"""Name of the embedded town among environments."""

ObjectType = Literal["fridge", "stove", "shower", "bed"]
OBJECT_TYPES: tuple[ObjectType, ...] = ("fridge", "stove", "shower", "bed")
NEEDS = ("hunger", "hygiene", "energy")

# What one array of a town can hold, with room for many worlds beside each other.
Side = Annotated[int, Field(ge=2, le=4096)]
"""Cells along one side of the grid."""
Tick = Annotated[int, Field(ge=-(10**9), le=10**9)]
"""A tick of the day."""
Stock = Annotated[int, Field(ge=0, le=10**6)]


class Needs(NamedTuple):
    """Hunger, hygiene and energy; 1 is satisfied."""

    hunger: Share = 0.7
    hygiene: Share = 0.7
    energy: Share = 0.7


class NeedsWeights(NamedTuple):
    """How much each unmet need weighs."""

    hunger: Annotated[float, Field(ge=0.5, le=2.0)] = 1.0
    hygiene: Annotated[float, Field(ge=0.2, le=1.0)] = 0.6
    energy: Annotated[float, Field(ge=0.4, le=1.5)] = 0.8


class NeedsDecay(NamedTuple):
    """How fast each need falls, per tick."""

    hunger: Share = 0.003
    hygiene: Share = 0.0015
    energy: Share = 0.002


@dataclass(frozen=True, kw_only=True)
class ObjectSpec:
    """One object of the town that agents line up for."""

    id: str
    type: ObjectType
    position: tuple[int, int]
    """(x, y) cell."""
    places: Annotated[int, Field(ge=1, le=1000)] = 1
    """Agents that can use it at the same time; one is let in per tick."""

    def __post_init__(self) -> None:
        check_settings(self, f"objects[{self.id}]")


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
    needs: tuple[Share, Share, Share] = field(default_factory=Needs)
    wallet: Annotated[float, Field(ge=0.0)] = 1.0
    job: str | None = None
    personality_profile: str | None = None
    """One of `townlet_behavior.personality.PROFILES` by name; None: drawn."""
    schedule: tuple[ScheduledIntent, ...] = ()
    """What it does, over and over, instead of living by the script; empty: it has none."""

    def __post_init__(self) -> None:
        check_settings(self, f"agents[{self.id}]")


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """A shift at a place, the same every day."""

    name: str
    start_tick: Tick
    """Tick of the day at which the shift begins."""
    end_tick: Tick
    """First tick of the day after the shift."""
    wage_rate: float = 0.04
    """Money per tick worked."""
    lateness_penalty: float = 0.0
    """Reward taken once when a shift is begun late."""
    location: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        check_settings(self, f"jobs[{self.name}]")


@dataclass(frozen=True, kw_only=True)
class AffordanceSpec:
    """What using an object takes and does."""

    id: str
    duration: Ticks
    """Ticks of use."""
    effects: tuple[float, float, float]
    """Change of hunger, hygiene, energy when the use is complete."""
    cost: float = 0.0
    """Money, paid when the use begins."""
    uses_stock: bool = False
    """Whether a use takes one unit of the object's own stock (a meal, ingredients) when it begins."""
    meals_made: Stock = 0
    """Meals that a completed use puts into the town's emptiest fridge."""

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, kw_only=True)
class RewardConfig:
    """Coefficients of the reward; `townlet_runtime.town.rewards` has the formula."""

    survival_tick: Annotated[float, Field(ge=0.0, le=0.01)] = 0.01
    needs_penalty: Share = 0.01
    """Per tick with every need at 0."""
    needs_weights: NeedsWeights = field(default_factory=NeedsWeights)
    wage_rate: Annotated[float, Field(ge=0.0, le=0.05)] = 0.01
    """Per tick worked."""
    punctuality_bonus: Annotated[float, Field(ge=0.0, le=0.1)] = 0.05
    """For being at work when the shift begins."""
    late_tick_penalty: Share = 0.003
    """Per tick of a shift spent elsewhere."""
    faint_penalty: Annotated[float, Field(ge=-5.0, le=0.0)] = -1.0
    clip_per_tick: Annotated[float, Field(ge=0.01, le=1.0)] = 0.2
    """Bound of a tick's reward, the fainting penalty aside."""
    discount: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.99
    """γ for which leaving early must not pay."""

    def __post_init__(self) -> None:
        check_settings(self, "rewards")


@dataclass(frozen=True, kw_only=True)
class QueueConfig:
    """How lines behave."""

    cooldown_ticks: Annotated[int, Field(ge=0, le=600)] = 5
    """Ticks after giving up a turn or ending a use in which that object's line refuses the agent."""
    ghost_step_after: Annotated[int, Field(ge=0, le=100)] = 3
    """A turn that is not taken for so many ticks while others wait passes to the next in line (a ghost step)."""

    def __post_init__(self) -> None:
        check_settings(self, "queue")


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

    num_agents: Annotated[int, Field(ge=1, le=10**5)] = 10
    """Population where `agents` is empty."""
    episode_ticks: Ticks = 1000
    ticks_per_day: Ticks = 250
    grid_size: tuple[Side, Side] = (16, 16)
    """(width, height) in cells."""
    local_window: Annotated[int, Field(ge=1, le=255)] = 7
    """Side of the square an agent sees, odd."""
    objects: tuple[ObjectSpec, ...] = ()
    """Empty: a default layout that grows with the population."""
    agents: tuple[AgentSpec, ...] = ()
    """Empty: `num_agents` agents with drawn places, needs, wallets and jobs."""
    jobs: tuple[JobSpec, ...] = ()
    """Empty: three shifts, drawn evenly."""
    needs_decay: NeedsDecay = field(default_factory=NeedsDecay)
    affordances: Mapping[ObjectType, AffordanceSpec] = field(default_factory=_default_affordances)
    fridge_stock: Stock = 8
    """Meals in each fridge at the start."""
    stove_stock: Stock = 8
    """Ingredients at each stove at the start, and its limit."""
    stove_stock_replenish: Stock = 2
    """Ingredients delivered to each stove every `delivery_ticks`."""
    delivery_ticks: Ticks = 50
    rewards: RewardConfig = field(default_factory=RewardConfig)
    queue: QueueConfig = field(default_factory=QueueConfig)
    rivalry: RivalryConfig = field(default_factory=RivalryConfig)
    social: SocialConfig = field(default_factory=SocialConfig)
    personality: PersonalityConfig = field(default_factory=PersonalityConfig)
    lifecycle: LifecycleConfig = field(default_factory=LifecycleConfig)
    option_ticks: Mapping[str, int] = field(default_factory=_default_option_ticks)
    """Commitment length by option kind."""

    def __post_init__(self) -> None:
        check_settings(self)
        width, height = self.grid_size
        if self.local_window % 2 == 0:
            raise TownConfigError(f"must be an odd number of cells, got {self.local_window}", key="local_window")
        self._check_places(width, height)
        self._check_names()

    def _check_places(self, width: int, height: int) -> None:
        placed = [(f"objects[{o.id}]", o.position) for o in self.objects]
        placed += [(f"agents[{a.id}]", a.position) for a in self.agents]
        placed += [(f"jobs[{j.name}]", j.location) for j in self.jobs]
        for name, (x, y) in placed:
            if not (0 <= x < width and 0 <= y < height):
                raise TownConfigError(f"expected a cell of the {width} x {height} grid, got {(x, y)}", key=name)

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
