"""Settings of a town, frozen: a contradiction raises. Type and range of each setting are declared in its annotation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from townlet_behavior.personality import PROFILES
from townlet_runtime.errors import TownConfigError
from townlet_runtime.town.checks import wrong_setting
from townlet_runtime.town.objects import MAX_PLAIN_TYPES, OBJECT_TYPES, ObjectType, TypeName

SocialStage = Literal["OFF", "C1", "C2", "C3"]
"""Stages of social rewards; each has what those before it have."""
PROFILE_NAMES = tuple(profile.name for profile in PROFILES)

# Ceilings keep every product of ticks × agents × worlds, and every array size made of one, below 2**63.
Ticks = Annotated[int, Field(ge=1, le=10**9)]
Delay = Annotated[int, Field(ge=0, le=10**5)]  # ticks
Edges = Annotated[int, Field(ge=1, le=32)]  # others that an agent keeps in mind; every agent has an array of so many
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Boost = Annotated[float, Field(ge=0.0, le=5.0)]


@dataclass(frozen=True, kw_only=True)
class SocialConfig:
    """Trust, familiarity, chats, and what they earn; `townlet_runtime.town.rules.rewards` has the formula."""

    relationships: bool = True
    """Whether there are trust, familiarity, chats, shared meals and help at all. Rivalry there always is."""
    social_rewards: SocialStage = "C1"
    """What is rewarded: `C1` a chat, to who speaks; `C2` also leaving a rival's side; `C3` also listening to a chat."""
    chat_base: Annotated[float, Field(ge=0.0, le=0.05)] = 0.01
    """Reward of a chat of quality 1 among strangers."""
    coeff_trust: Share = 0.3
    coeff_familiarity: Share = 0.2
    avoid_conflict: Annotated[float, Field(ge=0.0, le=0.02)] = 0.005
    chat_cooldown_ticks: Annotated[int, Field(ge=0, le=10**9)] = 30
    """Ticks from one chat of an agent to its next."""
    takeover_ticks: Ticks = 30
    """Ticks of a shift after which a colleague takes over from an agent that has not come yet."""
    max_edges: Edges = 6
    """Others that an agent keeps in mind as trusted or familiar: the closest ones."""

    def __post_init__(self) -> None:
        check_settings(self, "social")


@dataclass(frozen=True, kw_only=True)
class RivalryConfig:
    """How rivalry grows by conflicts at the objects, fades, and from where on somebody is avoided."""

    increment_per_conflict: Share = 0.15
    """Rivalry that a conflict of intensity 1 adds, on both sides."""
    decay_per_tick: Share = 0.005
    min_value: Share = 0.0
    """Rivalry fades down to this."""
    max_value: Share = 1.0
    avoid_threshold: Share = 0.7
    """Rivalry from which on the other is avoided."""
    eviction_threshold: Share = 0.05
    """A rivalry that is below it is forgotten."""
    max_edges: Edges = 6
    """Rivals that an agent keeps in mind: the worst ones."""
    ghost_step_boost: Boost = 1.5
    """Intensity of taking over a turn that its holder let go stale."""
    handover_boost: Boost = 0.4
    """Intensity of taking over a turn that its holder has given up or used."""
    queue_length_boost: Annotated[float, Field(ge=0.0, le=2.0)] = 0.25
    """What every further agent in line adds to a conflict's intensity."""

    def __post_init__(self) -> None:
        check_settings(self, "rivalry")
        if self.min_value > self.max_value:
            problem = f"expected at most `max_value` {self.max_value}, got {self.min_value}"
            raise TownConfigError(problem, key="rivalry.min_value")


@dataclass(frozen=True, kw_only=True)
class PersonalityConfig:
    """Which profile of `townlet_behavior.personality.PROFILES` an agent has, and what profiles change."""

    distribution: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({"balanced": 1.0}))
    """Relative weights by profile; agents draw theirs. Empty: everybody is balanced."""
    overrides: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Profile by agent id; a scenario's own word for an agent goes before."""
    profiles: bool = False
    """Whether profiles act: on leaving for work, on chats, on whom to avoid."""
    reward_multipliers: bool = False
    """Whether profiles change from where on a need presses."""

    def __post_init__(self) -> None:
        check_settings(self, "personality")
        for key, names in (("distribution", self.distribution), ("overrides", self.overrides.values())):
            for name in names:
                check_profile(name, key=f"personality.{key}")
        weights = self.distribution.values()
        if weights and (min(weights) < 0.0 or sum(weights) <= 0.0):
            problem = f"expected weights of at least 0 and a sum above 0, got {dict(self.distribution)}"
            raise TownConfigError(problem, key="personality.distribution")


@dataclass(frozen=True, kw_only=True)
class LifecycleConfig:
    """Who leaves, and when it is back: under the same id, rested, with the same job, character and relations."""

    respawn_delay_ticks: Delay = 50
    """Ticks after which an agent that has fainted is back."""
    departure_rate: Share = 0.0002
    """Chance of an agent to leave on a journey, per tick."""
    away_ticks: Delay = 50
    """Ticks after which a traveller is back."""

    def __post_init__(self) -> None:
        check_settings(self, "lifecycle")


def check_profile(name: str, *, key: str) -> None:
    """Raise `TownConfigError` for `key` if there is no profile `name`."""
    if name not in PROFILE_NAMES:
        raise TownConfigError(f"expected one of {', '.join(PROFILE_NAMES)}, got {name!r}", key=key)


def check_settings(record: object, section: str | None = None) -> None:
    """Check every field of a dataclass against its annotation, as its `__post_init__`.

    `section` is what errors put before the name of the field.

    Raises:
        TownConfigError: names the first field that has another type or is out of range, and what was expected.
    """
    found = wrong_setting(record)
    if found is not None:
        name, problem = found
        raise TownConfigError(problem, key=f"{section}.{name}" if section else name)


TOWN = "town"
"""Name of the embedded town among environments."""
NEEDS = ("hunger", "hygiene", "energy")

# What one array of a town can hold, with room for many worlds beside each other.
Side = Annotated[int, Field(ge=2, le=4096)]  # cells along one side of the grid
Tick = Annotated[int, Field(ge=-(10**9), le=10**9)]  # of the day
Effect = Annotated[float, Field(ge=-1.0, le=1.0)]
Stock = Annotated[int, Field(ge=0, le=10**6)]


class Needs(NamedTuple):
    """Hunger, hygiene and energy; 1 is satisfied."""

    hunger: Share = 0.7
    hygiene: Share = 0.7
    energy: Share = 0.7


class Effects(NamedTuple):
    """Change of hunger, hygiene and energy when a use is complete."""

    hunger: Effect = 0.0
    hygiene: Effect = 0.0
    energy: Effect = 0.0


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
    type: TypeName
    position: tuple[int, int] = (0, 0)
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
    position: tuple[int, int] = (0, 0)
    needs: Needs = field(default_factory=Needs)
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
    effects: Effects
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
    """Coefficients of the reward; `townlet_runtime.town.rules.rewards` has the formula."""

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


_COOKING = Effects(hunger=0.1, hygiene=-0.02, energy=-0.05)
_AFFORDANCES: Mapping[ObjectType, AffordanceSpec] = {
    "fridge": AffordanceSpec(id="eat_meal", duration=8, effects=Effects(0.4, 0.0, 0.05), cost=0.4, uses_stock=True),
    "stove": AffordanceSpec(id="cook_meal", duration=12, effects=_COOKING, cost=0.15, uses_stock=True, meals_made=4),
    "shower": AffordanceSpec(id="use_shower", duration=8, effects=Effects(0.0, 0.45, -0.03), cost=0.1),
    "bed": AffordanceSpec(id="rest_sleep", duration=20, effects=Effects(0.0, 0.0, 0.6)),
}
_OPTION_TICKS = {"move": 1, "wait": 0, "chat": 1, "request": 15, "start": 15, "work": 15, "release": 0}


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
    affordances: Mapping[ObjectType, AffordanceSpec] = field(default_factory=lambda: MappingProxyType(_AFFORDANCES))
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
    option_ticks: Mapping[str, int] = field(default_factory=lambda: MappingProxyType(_OPTION_TICKS))
    """Commitment length by option kind."""

    def __post_init__(self) -> None:
        check_settings(self)
        if self.local_window % 2 == 0:
            raise TownConfigError(f"must be an odd number of cells, got {self.local_window}", key="local_window")
        self._check_places()
        self._check_names()

    def _check_places(self) -> None:
        width, height = self.grid_size
        placed = [(f"objects[{o.id}]", o.position) for o in self.objects]
        placed += [(f"agents[{a.id}]", a.position) for a in self.agents]
        placed += [(f"jobs[{j.name}]", j.location) for j in self.jobs]
        for name, (x, y) in placed:
            if not (0 <= x < width and 0 <= y < height):
                raise TownConfigError(f"expected a cell of the {width} x {height} grid, got {(x, y)}", key=name)

    def _check_names(self) -> None:
        jobs = [j.name for j in self.jobs]
        names = {"objects": [o.id for o in self.objects], "agents": [a.id for a in self.agents], "jobs": jobs}
        for name, ids in names.items():
            if len(set(ids)) != len(ids):
                raise TownConfigError(f"expected unique names, got {sorted(ids)}", key=name)
        if len(self.plain_types) > MAX_PLAIN_TYPES:
            own, most = ", ".join(OBJECT_TYPES), MAX_PLAIN_TYPES
            raise TownConfigError(
                f"expected at most {most} types beside {own}, got {len(self.plain_types)}", key="objects"
            )
        for agent in self.agents:
            key = f"agents[{agent.id}]"
            if agent.job is not None and agent.job not in jobs:
                raise TownConfigError(f"expected one of {sorted(jobs)}, got {agent.job!r}", key=f"{key}.job")
            if agent.personality_profile is not None:
                check_profile(agent.personality_profile, key=f"{key}.personality_profile")

    @property
    def population(self) -> int:
        """Agents at the start of an episode."""
        return len(self.agents) or self.num_agents

    @property
    def plain_types(self) -> tuple[str, ...]:
        """Types of the plain objects, in the order of their names."""
        return tuple(sorted({item.type for item in self.objects} - set(OBJECT_TYPES)))
