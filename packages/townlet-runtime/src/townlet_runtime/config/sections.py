"""The sections of a config that no other part of the library declares."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator

from townlet_behavior.config import MAX_DELAY_TICKS, Blend, OnPolicyError
from townlet_runtime.adapters.spaces.settings import MAX_ENTITIES, ActionForm, DeclaredKind
from townlet_runtime.config.keys import ELSEWHERE, OF_THE_TOWN
from townlet_runtime.town.config import TOWN, AgentSpec, JobSpec, ObjectSpec, Tick, Ticks

MAX_SEED = 2**63 - 1
"""Of a world; numpy's generators take larger ones, the files of captures and runs do not."""
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]

MODULE = "module"
"""Stands for a world that only the command line names, as `module:name`: a file must not name code to import."""
_OF_GYMNASIUM = frozenset({"environment.vectorization"})
_NOT_OF_GYMNASIUM = frozenset({"environment.global_state"})
_NAMES = re.compile(r"gymnasium:(?:[\w.-]+/)?[\w.-]+|(?:pettingzoo:)?[\w.-]+")


def idle_keys(world: str) -> frozenset[str]:
    """Return the keys that have no effect with a world of this name."""
    if world == TOWN:
        return ELSEWHERE
    if world == MODULE:  # it may be one of Gymnasium (`gymnasium:module:ID`)
        return OF_THE_TOWN
    return OF_THE_TOWN | (_NOT_OF_GYMNASIUM if world.startswith("gymnasium:") else _OF_GYMNASIUM)


GroupName = Annotated[str, Field(pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,63}/)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]
GroupMembers: TypeAlias = (
    Annotated[tuple[str, ...], Field(min_length=1)]
    | Annotated[int, Field(ge=1, le=10**9)]
    | Annotated[float, Field(gt=0.0, lt=1.0)]
)


class Section(BaseModel):
    """A section whose keys are declared here: an unknown key is an error, and `true` is no number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=())


class Environment(Section):
    """`environment`. With another one than the town, what describes the town has no effect."""

    name: str = TOWN
    """`town`, `gymnasium:ID`, `pettingzoo:NAME`, a name that a package registered in `townlet.simulations`, or `module`
    for a world that the command line names."""
    settings: Mapping[str, str | int | float | bool | None] = {}
    """Keyword arguments of the environment; the town has none."""
    vectorization: Literal["auto", "sync", "native"] = "auto"
    """How parallel worlds are stepped, with Gymnasium."""
    actions: ActionForm = "auto"
    """A `MultiDiscrete` or `MultiBinary` action is an index over all combinations (`joint`) or one for each part
    (`parts`); `auto`: joint up to 1,024 combinations, parts above."""
    observation_kinds: Mapping[str, DeclaredKind] = {}
    """By name of an observation: an image or map by where its channels are, `entities` with `NAME_mask` beside them, or
    `flat`. Others are recognized by their spaces."""
    max_entities: Annotated[int, Field(ge=1, le=MAX_ENTITIES)] | None = None
    """Most things in an observation that is a `Sequence`; null: there is none."""
    global_state: bool = False
    """Whether critics see the `state()` of PettingZoo beside what their agents see."""
    max_episode_ticks: Ticks | None = None
    """Bound on an episode's length; null: the environment's own, else 1,000."""
    controller: str | None = None
    """Name of a registered controller that is the script; null: the world's own, if it has one."""
    guardrails: tuple[str, ...] | None = None
    """Names of registered guardrails, applied after the world's own; null: none."""
    groups: Mapping[GroupName, GroupMembers] | None = None
    """Agents that become groups of their own, by NAME, or by GROUP/NAME in a world with several groups: ids or patterns
    of them, a number of them, or a share of the places; null: none."""

    @field_validator("name")
    @classmethod
    def _refuse_code(cls, value: str) -> str:
        if _NAMES.fullmatch(value) is None:
            raise ValueError(
                f"must be `town`, `gymnasium:ID`, `pettingzoo:NAME` or a registered name, got {value!r} "
                "(a config must not name code to import)"
            )
        return value

    @property
    def is_town(self) -> bool:
        """Whether it is the embedded town."""
        return self.name == TOWN


class Scenario(Section):
    """`scenario`: agents and objects of the town at the start."""

    name: str | None = None
    """Noted in captures, as the description is."""
    description: str | None = None
    ticks: Ticks | None = None
    """Length of an episode and of `townlet run`, where nothing else says so."""
    seed: Seed | None = None
    """Goes before the seed of the config."""
    objects: tuple[ObjectSpec, ...] = ()
    """Empty: a layout that grows with the population."""
    agents: tuple[AgentSpec, ...] = ()
    """Empty: `town.num_agents` agents whose places, needs, wallets and jobs are drawn."""


class Job(Section):
    """One of `jobs`: a shift, the same every day."""

    start_tick: Tick = 0
    """Tick of the day."""
    end_tick: Tick = 0
    """First tick of the day after the shift."""
    wage_rate: float = 0.0
    """Money per tick worked; 0: `economy.wage_income`."""
    lateness_penalty: float = 0.0
    """Reward taken once when the shift is begun late."""
    location: tuple[int, int] | None = None


class PolicySettings(Section):
    """`policy`: how the policy's proposals become decisions, in every world."""

    blend: Blend | None = None
    """`mixture`: every decision counts with its probability under script and policy together; `switch`: those of the
    policy count with the policy's own, and those of the script are foreign. Without it `mixture`; of numbers, which
    have none, `switch`."""
    on_policy_error: OnPolicyError = "raise"
    """Unusable output of the policy: `raise` stops the tick; `script` lets the script decide, warns and counts."""
    temperature: Annotated[float, Field(gt=0.0)] = 1.0
    """Of the policy's draws: above 1 it is more random, below 1 less."""
    reaction_delay_ticks: Annotated[int, Field(ge=0, le=MAX_DELAY_TICKS)] = 0
    """Ticks after which a choice is carried out. No policy learns from late steps."""
    handover_ticks: Annotated[int, Field(ge=0, le=10**5)] = 0
    """Ticks over which the policy's share of an agent rises to its ratio again, after a person has let it go."""


class Economy(Section):
    """`economy`: what things cost; null: the town's own price."""

    meal_cost: float | None = None
    """Paid for a use of a fridge."""
    ingredients_cost: float | None = None
    """Paid for a use of a stove."""
    cook_energy_cost: float | None = None
    """Energy that cooking takes."""
    cook_hygiene_cost: float | None = None
    """Hygiene that cooking takes."""
    wage_income: float = JobSpec.wage_rate
    """Money per tick worked in jobs without a `wage_rate`."""


class AffordanceRuntime(Section):
    """`affordances.runtime`."""

    factory: None = None
    """The original imported what is named here; a config names no code."""


SocialStage = Literal["OFF", "C1", "C2", "C3"]


class SocialCycle(Section):
    """One of `training.social_reward_schedule`."""

    cycle: Annotated[int, Field(ge=0, le=10**9)] = 0
    """Of a schedule, from which on the stage holds."""
    stage: SocialStage


class Affordances(Section):
    """`affordances`."""

    runtime: AffordanceRuntime = AffordanceRuntime()
    affordances_file: str | None = None
    """File of what can be done with objects, beside the config or else in the working folder. What it says becomes
    `town.affordances` and `scenario.objects` when the config is loaded."""
