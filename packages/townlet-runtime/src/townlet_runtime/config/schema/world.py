"""Sections about the town itself: place, objects, agents, jobs, money, lines, employment."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from townlet_runtime.config.schema.base import NO_EFFECT, Cell, List, NoEffect, Section, Share

Effect = Annotated[float, Field(ge=-1.0, le=1.0)]


class World(Section):
    """`world`: the grid."""

    grid_size: Cell = (48, 48)
    """(width, height) in cells."""
    weather_seed: Annotated[int, NO_EFFECT] = 0


class Needs(Section):
    """Hunger, hygiene and energy in [0, 1]; 1 is satisfied."""

    hunger: Share = 0.7
    hygiene: Share = 0.7
    energy: Share = 0.7


class ScenarioObject(Section):
    """One object that a scenario places."""

    id: str
    type: str
    position: Cell = (0, 0)
    places: int = Field(1, ge=1, le=1000)
    """Agents that can use it at the same time."""


class Intent(Section):
    """One step of a scenario agent's schedule; the town's documentation says how it is played."""

    kind: Literal["wait", "move", "request", "start", "release", "chat", "blocked"]
    object_id: str | None = Field(None, alias="object")
    affordance_id: str | None = Field(None, alias="affordance")
    """Only for readers: an object has one affordance, that of its type."""
    blocked: bool = False
    """Whether the agent only waits."""
    position: Cell | None = None
    """Where a `move` goes."""
    target_agent: str | None = Field(None, alias="target")
    """Only for readers: an agent chats with whom it likes best of those beside it."""
    quality: Annotated[Share | None, NO_EFFECT] = None


class ScenarioAgent(Section):
    """One agent that a scenario places."""

    id: str
    position: Cell = (0, 0)
    needs: Needs = Needs()
    wallet: float = Field(1.0, ge=0.0)
    """Money at the start."""
    job: str | None = None
    """Name of one of `jobs`."""
    personality_profile: str | None = None
    """null: drawn by `personalities.distribution`."""
    schedule: List[Intent] = ()
    """What the agent does instead of what the script says, in a loop; empty: the script."""


class Scenario(Section):
    """`scenario`: who and what is in the town at the start."""

    name: str | None = None
    description: str | None = None
    ticks: int | None = Field(None, ge=1)
    """Length of an episode and of `townlet run`, where nothing else says so."""
    seed: int | None = Field(None, ge=0)
    objects: List[ScenarioObject] = ()
    agents: List[ScenarioAgent] = ()


class Job(Section):
    """One shift, the same every day."""

    start_tick: int = 0
    """Tick of the day."""
    end_tick: int = 0
    """First tick of the day after the shift."""
    wage_rate: float = 0.0
    """Money per tick worked; 0: `economy.wage_income`."""
    lateness_penalty: float = 0.0
    """Reward taken once when the shift is begun late."""
    location: Cell | None = None


class Economy(Section):
    """`economy`: what things cost. Keys beyond these are accepted and have no effect."""

    model_config = {"extra": "allow"}
    __pydantic_extra__: dict[str, float] = Field(init=False)

    meal_cost: float = 0.4
    cook_energy_cost: float = 0.05
    cook_hygiene_cost: float = 0.02
    wage_income: float = 0.02
    """Money per tick worked in jobs without a `wage_rate`."""
    ingredients_cost: float = 0.15
    stove_stock_replenish: int = Field(2, ge=0)
    """Ingredients delivered to each stove every `town.delivery_ticks`."""


class Behavior(Section):
    """`behavior`: when the script acts on a need or leaves for work."""

    hunger_threshold: Share = 0.4
    hygiene_threshold: Share = 0.4
    energy_threshold: Share = 0.4
    job_arrival_buffer: int = Field(20, ge=0)
    """Ticks before the shift at which the script sets out."""


class QueueFairness(Section):
    """`queue_fairness`: how lines behave."""

    cooldown_ticks: int = Field(60, ge=0, le=600)
    ghost_step_after: int = Field(3, ge=0, le=100)
    age_priority_weight: Annotated[float, Field(ge=0.0, le=1.0), NoEffect(unless=(0.0,))] = 0.1


class Lifecycle(Section):
    """`lifecycle`: leaving and arriving."""

    respawn_delay_ticks: int = Field(0, ge=0, le=100000)
    """Ticks after which an agent that fainted is back."""
    departure_rate: Share = 0.0
    """Chance per agent and tick of leaving for a while."""
    away_ticks: int = Field(50, ge=0, le=100000)
    """Length of an absence."""


class Employment(Section):
    """`employment`: attendance. Only the late tick's penalty acts."""

    late_tick_penalty: float = Field(0.005, ge=0.0, le=1.0)
    """Per tick of a shift spent elsewhere."""
    grace_ticks: Annotated[int, Field(ge=0, le=120), NO_EFFECT] = 5
    absent_cutoff: Annotated[int, Field(ge=0, le=600), NO_EFFECT] = 30
    absence_slack: Annotated[int, Field(ge=0, le=600), NO_EFFECT] = 20
    absence_penalty: Annotated[float, Field(ge=0.0, le=5.0), NO_EFFECT] = 0.2
    max_absent_shifts: Annotated[int, Field(ge=0, le=20), NO_EFFECT] = 3
    attendance_window: Annotated[int, Field(ge=1, le=14), NO_EFFECT] = 3
    daily_exit_cap: Annotated[int, Field(ge=0, le=50), NO_EFFECT] = 2
    exit_queue_limit: Annotated[int, Field(ge=0, le=100), NO_EFFECT] = 8
    exit_review_window: Annotated[int, Field(ge=1, le=100000), NO_EFFECT] = 1440
    enforce_job_loop: Annotated[bool, NoEffect(unless=(False,))] = False


class AffordanceEffects(Section):
    """Change of the needs when a use is complete; null: the town's own value."""

    hunger: Effect | None = None
    hygiene: Effect | None = None
    energy: Effect | None = None


class AffordanceOverride(Section):
    """What using one type of object takes and does; null: the town's own value."""

    id: str | None = None
    """What it is called."""
    duration: int | None = Field(None, ge=1)
    """Ticks of use."""
    effects: AffordanceEffects = AffordanceEffects()
    cost: float | None = Field(None, ge=0.0)
    """Money, paid when the use begins."""
    uses_stock: bool | None = None
    """Whether a use takes one unit of the object's own stock."""
    meals_made: int | None = Field(None, ge=0)
    """Meals that a completed use puts into the town's emptiest fridge."""


class Affordances(Section):
    """`town.affordances`."""

    fridge: AffordanceOverride = AffordanceOverride()
    stove: AffordanceOverride = AffordanceOverride()
    shower: AffordanceOverride = AffordanceOverride()
    bed: AffordanceOverride = AffordanceOverride()


class TownSection(Section):
    """`town`: what the original configs have no key for."""

    agents: int = Field(10, ge=1, le=100000)
    """Population where the scenario places nobody."""
    episode_ticks: int | None = Field(None, ge=1)
    """Ticks of an episode; null: `scenario.ticks`, and 1,000 where that is silent too."""
    ticks_per_day: int | None = Field(None, ge=1)
    """null: `observations_config.hybrid.time_ticks_per_day`."""
    local_window: int | None = Field(None, ge=1)
    """Side of the square of cells an agent sees, odd; null: `observations_config.hybrid.local_window`."""
    fridge_stock: int = Field(8, ge=0)
    """Meals in each fridge at the start."""
    stove_stock: int = Field(8, ge=0)
    """Ingredients at each stove at the start, and its limit."""
    delivery_ticks: int = Field(50, ge=1)
    chat_cooldown_ticks: int = Field(30, ge=0)
    """Ticks from one chat of an agent to its next."""
    takeover_ticks: int = Field(30, ge=1)
    """Ticks of a shift after which a colleague takes over from an agent that has not come yet."""
    max_relationships: int = Field(6, ge=1, le=32)
    """Others that an agent keeps in mind as trusted or familiar."""
    affordances: Affordances = Affordances()
