"""Sections about running a town: affordance files, stability, snapshots, perturbations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator

from townlet_runtime.config.schema.base import NO_EFFECT, READ_AT_LOAD, List, OpenSection, Section


class AffordanceRuntime(OpenSection):
    """`affordances.runtime`. A config never names code to import, so `factory` can only be null."""

    factory: str | None = None
    instrumentation: Literal["off", "timings"] = "off"
    options: Mapping[str, object] = {}
    hook_allowlist: List[str] = ()
    allow_env_hooks: bool = True

    @field_validator("factory")
    @classmethod
    def _refuse_code(cls, value: str | None) -> None:
        if value is not None:
            raise ValueError("a config must not name code to import; leave the key out")


class AffordancesConfig(Section):
    """`affordances`."""

    affordances_file: Annotated[str, READ_AT_LOAD] = "configs/affordances/core.yaml"
    """File of what can be done with objects: read where a config names one, beside that config or else in the working
    folder. What it says becomes `town.affordances` and `scenario.objects`. Where the original's own file, which is the
    default name, is in neither place, a copy of it is used."""
    runtime: Annotated[AffordanceRuntime, NO_EFFECT] = AffordanceRuntime()


class PolicyRuntimeConfig(Section):
    """`policy_runtime`: how long a chosen option is held."""

    option_commit_ticks: (
        Annotated[int, Field(ge=0, le=100000)] | Mapping[str, Annotated[int, Field(ge=0, le=100000)]]
    ) = 15
    """One length for every kind but `wait`, or a length by kind."""


class StarvationCanary(OpenSection):
    """`stability.starvation`."""

    window_ticks: int = Field(1000, ge=1, le=100000)
    max_incidents: int = Field(0, ge=0, le=10000)
    hunger_threshold: float = Field(0.05, ge=0.0, le=1.0)
    min_duration_ticks: int = Field(30, ge=1, le=10000)


class RewardVarianceCanary(OpenSection):
    """`stability.reward_variance`."""

    window_ticks: int = Field(1000, ge=1, le=100000)
    max_variance: float = Field(0.25, ge=0.0)
    min_samples: int = Field(20, ge=1, le=100000)


class OptionThrashCanary(OpenSection):
    """`stability.option_thrash`."""

    window_ticks: int = Field(600, ge=1, le=100000)
    max_switch_rate: float = Field(0.25, ge=0.0, le=10.0)
    min_samples: int = Field(10, ge=1, le=100000)


class PromotionGate(Section):
    """`stability.promotion`."""

    required_passes: int = Field(2, ge=1, le=10)
    """Passes in a row, each on fresh seeds, before a policy is promoted."""
    window_ticks: Annotated[int, Field(ge=1, le=100000), NO_EFFECT] = 1000
    allowed_alerts: Annotated[List[str], NO_EFFECT] = ()


class Stability(Section):
    """`stability`."""

    affordance_fail_threshold: Annotated[int, Field(ge=0, le=100), NO_EFFECT] = 5
    lateness_threshold: Annotated[int, Field(ge=0, le=100), NO_EFFECT] = 3
    starvation: Annotated[StarvationCanary, NO_EFFECT] = StarvationCanary()
    reward_variance: Annotated[RewardVarianceCanary, NO_EFFECT] = RewardVarianceCanary()
    option_thrash: Annotated[OptionThrashCanary, NO_EFFECT] = OptionThrashCanary()
    promotion: PromotionGate = PromotionGate()


class SnapshotStorage(OpenSection):
    """`snapshot.storage`."""

    root: str = "snapshots"


class SnapshotAutosave(OpenSection):
    """`snapshot.autosave`."""

    cadence_ticks: int | None = Field(None, ge=1)
    retain: int = Field(3, ge=1, le=1000)


class SnapshotIdentity(OpenSection):
    """`snapshot.identity`."""

    policy_hash: str | None = None
    policy_artifact: str | None = None
    observation_variant: Literal["full", "hybrid", "compact", "infer"] = "infer"
    anneal_ratio: float | None = Field(None, ge=0.0, le=1.0)


class SnapshotMigrations(OpenSection):
    """`snapshot.migrations`. What `handlers` names is never imported."""

    handlers: Mapping[str, str] = {}
    auto_apply: bool = False
    allow_minor: bool = False


class SnapshotGuardrails(OpenSection):
    """`snapshot.guardrails`."""

    require_exact_config: bool = True
    allow_downgrade: bool = False
    allowed_paths: List[str] = ()


class Snapshot(OpenSection):
    """`snapshot`."""

    storage: SnapshotStorage = SnapshotStorage()
    autosave: SnapshotAutosave = SnapshotAutosave()
    identity: SnapshotIdentity = SnapshotIdentity()
    migrations: SnapshotMigrations = SnapshotMigrations()
    guardrails: SnapshotGuardrails = SnapshotGuardrails()
    capture_on_failure: bool = False


class IntRange(Section):
    """A range of whole numbers."""

    min: int = Field(ge=0)
    max: int = Field(ge=0)


class FloatRange(Section):
    """A range of numbers."""

    min: float
    max: float


class PriceSpike(Section):
    """A perturbation: prices rise."""

    kind: Literal["price_spike"] = "price_spike"
    prob_per_day: float = Field(0.0, ge=0.0)
    cooldown_ticks: int = Field(0, ge=0)
    duration: IntRange = IntRange(min=0, max=0)
    magnitude: FloatRange = FloatRange(min=0.0, max=0.0)
    targets: List[str] = ()


class Blackout(Section):
    """A perturbation: the power fails."""

    kind: Literal["blackout"] = "blackout"
    prob_per_day: float = Field(0.0, ge=0.0)
    cooldown_ticks: int = Field(0, ge=0)
    duration: IntRange = IntRange(min=0, max=0)
    utility: Literal["power"] = "power"


class Outage(Section):
    """A perturbation: the water fails."""

    kind: Literal["outage"] = "outage"
    prob_per_day: float = Field(0.0, ge=0.0)
    cooldown_ticks: int = Field(0, ge=0)
    duration: IntRange = IntRange(min=0, max=0)
    utility: Literal["water"] = "water"


class ArrangedMeet(Section):
    """A perturbation: agents are brought together."""

    kind: Literal["arranged_meet"] = "arranged_meet"
    prob_per_day: float = Field(0.0, ge=0.0)
    cooldown_ticks: int = Field(0, ge=0)
    duration: IntRange = IntRange(min=0, max=0)
    target: str = "top_rivals"
    location: str = "cafe"
    max_participants: int = Field(2, ge=2)


PerturbationEvent = Annotated[PriceSpike | Blackout | Outage | ArrangedMeet, Field(discriminator="kind")]


class Perturbations(OpenSection):
    """`perturbations`."""

    max_concurrent_events: int = Field(1, ge=1)
    global_cooldown_ticks: int = Field(0, ge=0)
    per_agent_cooldown_ticks: int = Field(0, ge=0)
    grace_window_ticks: int = Field(60, ge=0)
    window_ticks: int = Field(1440, ge=1)
    max_events_per_window: int = Field(1, ge=0)
    events: Mapping[str, PerturbationEvent] = {}
