"""The sections of a config, most of which are declared by the parts that use them.

A record of the town, of townlet-behavior or of townlet-trajectory is a section as it stands. A section of training
holds the settings that were stated, to be laid over a preset. Only keys that no other part declares are declared here.
"""

from __future__ import annotations

import functools
import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal, TypeAlias, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, WrapValidator, create_model, field_validator
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind

from townlet_behavior import ScriptedConfig
from townlet_behavior.config import MAX_DELAY_TICKS, OnPolicyError
from townlet_runtime.config.keys import ANY, ELSEWHERE, OF_THE_TOWN, SPELLINGS, Path, keys_of_schema, spellings
from townlet_runtime.town.config import (
    NEEDS,
    TOWN,
    AffordanceSpec,
    AgentSpec,
    JobSpec,
    LifecycleConfig,
    ObjectSpec,
    PersonalityConfig,
    QueueConfig,
    RewardConfig,
    RivalryConfig,
    SocialConfig,
    Tick,
    Ticks,
    TownConfig,
)
from townlet_runtime.town.objects import ObjectType
from townlet_trajectory.evaluation.promotion import PromotionConfig

Said: TypeAlias = Mapping[str, Any]
"""Settings by name, each checked by the annotation of its owner."""

MAX_SEED = 2**63 - 1
"""Of a world; numpy's generators take larger ones, the files of captures and runs do not."""
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]

OptionTicks = Annotated[int, Field(ge=0, le=10**5)]
Source = Literal["replay", "rollout", "mixed", "bc", "anneal", "ppo", "dagger"]
"""`replay` and `mixed` need a record, `bc` and `anneal` may clone one."""

_SECTIONS_OF_THE_TOWN = frozenset(
    {"objects", "agents", "jobs", "rewards", "queue", "rivalry", "social", "personality", "lifecycle"}
)
"""Fields of `TownConfig` that are sections of their own, or lists of `scenario`."""
_OF_A_RUN = frozenset({"mode", "seed", "baselines"})
"""Fields of `TrainingConfig` that a run is given apart from its config."""
_BY_NEED: tuple[Path, ...] = (
    ("town", "needs_decay"),
    ("town", "affordances", ANY, "effects"),
    ("rewards", "needs_weights"),
    ("scenario", "agents", ANY, "needs"),
)
"""Keys whose value is a number for each need; to a JSON schema, it is an array."""
_BOUNDS = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}

MODULE = "module"
"""Stands for a world that only the command line names, as `module:name`: a file must not name code to import."""
_OF_GYMNASIUM = frozenset({"environment.vectorization"})
_NAMES = re.compile(r"gymnasium:(?:[\w.-]+/)?[\w.-]+|(?:pettingzoo:)?[\w.-]+")


def idle_keys(world: str) -> frozenset[str]:
    """Return the keys that have no effect with a world of this name."""
    if world == TOWN:
        return ELSEWHERE
    # A module's world may be one of Gymnasium (`gymnasium:module:ID`).
    return OF_THE_TOWN if world == MODULE or world.startswith("gymnasium:") else OF_THE_TOWN | _OF_GYMNASIUM


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


OF_THE_RUN: Mapping[str, Any] = {
    "source": Source,
    "replay_manifest": str | None,
    "bc_manifest": str | None,
    "data_root": str | None,
    "rollout_auto_seed_agents": bool,
    "social_reward_schedule": tuple[SocialCycle, ...],
}
"""Keys of `training` that are no settings of `TrainingConfig`: what is trained, in which worlds, and on which data."""


class Affordances(Section):
    """`affordances`."""

    runtime: AffordanceRuntime = AffordanceRuntime()
    affordances_file: str | None = None
    """File of what can be done with objects, beside the config or else in the working folder. What it says becomes
    `town.affordances` and `scenario.objects` when the config is loaded."""


def _partial(name: str, hints: Mapping[str, object], **defaults: object) -> type[Section]:
    """Make a section of settings that are declared elsewhere; those without a default need not be said."""
    made: dict[str, Any] = {key: (hint, defaults.get(key)) for key, hint in hints.items()}
    return create_model(name, __base__=Section, **made)


def _said(section: Callable[[], type[Section]], *, complete: bool = False) -> WrapValidator:
    """Check a mapping by a section, and keep what it says as a mapping (`complete`: with the defaults)."""

    def check(value: object, _: object, info: ValidationInfo) -> Said:
        # As JSON, in which a list is no list but an array: strict, and still what YAML can say.
        checked = section().model_validate_json(json.dumps(value))
        names = type(checked).model_fields if complete else sorted(checked.model_fields_set)
        return {name: getattr(checked, name) for name in names}

    return WrapValidator(check)


@cache
def affordance_section() -> type[Section]:
    """Make the section of one entry of `town.affordances`: what it says is laid over the town's own."""
    hints = get_type_hints(AffordanceSpec, include_extras=True)
    effects = _partial("Effects", get_type_hints(hints["effects"], include_extras=True))
    own = {"effects": Annotated[Said, _said(lambda: effects)], "cost": Annotated[float, Field(ge=0.0)]}
    return _partial("AffordanceSpec", {**hints, **own})


@cache
def town_section() -> type[Section]:
    """Make the section `town`: the settings of `TownConfig` that are in no section of their own."""
    defaults = {name: value for name, value in vars(TownConfig()).items() if name not in _SECTIONS_OF_THE_TOWN}
    declared = get_type_hints(TownConfig, include_extras=True)
    hints = {name: declared[name] for name in defaults} | {
        "episode_ticks": Ticks | None,
        "affordances": Mapping[ObjectType, Annotated[Said, _said(affordance_section)]],
        "option_ticks": OptionTicks | Mapping[str, OptionTicks],
    }
    return _partial(
        "Town",
        hints,
        **{**defaults, "option_ticks": dict(TownConfig().option_ticks), "episode_ticks": None, "affordances": {}},
    )


@cache
def schema_of_training() -> dict[str, Any]:
    """Return the JSON schema of townlet-training's `TrainingConfig`."""
    text = resources.files("townlet_runtime.config").joinpath("data/training.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@cache
def learning_section(name: str) -> type[Section]:
    """The section `name` of training's settings; `training` holds those that are in no section."""
    properties = schema_of_training()["properties"]
    if name == "training":
        hints = {key: _hint(part) for key, part in properties.items() if "$ref" not in part and key not in _OF_A_RUN}
        return _partial(name, {**hints, **OF_THE_RUN})
    return _record(properties[name]["$ref"].rpartition("/")[2])


@cache
def _record(name: str) -> type[Section]:
    """Make the section of a record of townlet-training, by the name of its class."""
    inner = schema_of_training()["$defs"][name]
    return _partial(name, {key: _hint(part) for key, part in inner["properties"].items()})


def _hint(part: Mapping[str, Any]) -> Any:
    """The annotation that a part of a JSON schema stands for."""
    if "anyOf" in part:
        first, *others = (None if each["type"] == "null" else _hint(each) for each in part["anyOf"])
        return functools.reduce(operator.or_, others, first)
    if "enum" in part:
        return Literal[tuple(part["enum"])]
    if "$ref" in part:
        section = _record(part["$ref"].rpartition("/")[2])
        return Annotated[Said, _said(lambda: section)]
    if part["type"] == "object":
        by_name: Any = Mapping
        return by_name[str, _hint(part["additionalProperties"])]
    if part["type"] == "array":
        items: Any = tuple.__class_getitem__((_hint(part["items"]), ...))
        return Annotated[items, Field(min_length=part.get("minItems"), max_length=part.get("maxItems"))]
    kind = {"integer": int, "number": float, "boolean": bool, "string": str}[part["type"]]
    bounds: dict[str, Any] = {short: part[long] for short, long in _BOUNDS.items() if long in part}
    return Annotated[kind, Field(**bounds)] if bounds else kind


class Config(Section):
    """A config: the values of a file and of overrides, and the defaults where they are silent.

    Examples:
        >>> from townlet_runtime.config import config_from, town_config
        >>> loaded = config_from({"town": {"num_agents": 3}, "world": {"grid_size": [9, 9]}}, source="my-town.yaml")
        >>> town_config(loaded.config).grid_size
        (9, 9)
    """

    config_id: str = "townlet"
    """A name of your own; noted in captures."""
    seed: Seed | None = None
    """Everything random follows from it, where neither the scenario nor the command line has one; null: 0."""
    preset: str | None = None
    """Start values of training by world; keys that a file or an override sets win over them."""
    environment: Environment = Environment()
    scenario: Scenario = Scenario()
    town: Annotated[Said, _said(town_section, complete=True)] = Field({}, validate_default=True)
    """Settings of `TownConfig` that are in no section of their own."""
    rewards: RewardConfig = RewardConfig()
    queue: QueueConfig = QueueConfig()
    rivalry: RivalryConfig = RivalryConfig()
    social: SocialConfig = SocialConfig()
    personality: PersonalityConfig = Field(default_factory=PersonalityConfig)
    lifecycle: LifecycleConfig = LifecycleConfig()
    behavior: ScriptedConfig = ScriptedConfig()
    policy: PolicySettings = PolicySettings()
    economy: Economy = Economy()
    jobs: Mapping[str, Job] = {}
    """By name; empty: the town's own shifts."""
    affordances: Affordances = Affordances()
    training: Annotated[Said, _said(lambda: learning_section("training"))] = {}
    """`source`, which is what `townlet train` does without `--mode`, and settings of `TrainingConfig`."""
    network: Annotated[Said, _said(lambda: learning_section("network"))] = {}
    ppo: Annotated[Said, _said(lambda: learning_section("ppo"))] = {}
    bc: Annotated[Said, _said(lambda: learning_section("bc"))] = {}
    anneal: Annotated[Said, _said(lambda: learning_section("anneal"))] = {}
    gates: Annotated[Said, _said(lambda: learning_section("gates"))] = {}
    schedule: Annotated[Said, _said(lambda: learning_section("schedule"))] = {}
    dagger: Annotated[Said, _said(lambda: learning_section("dagger"))] = {}
    promotion: PromotionConfig = PromotionConfig()


SECTIONS_OF_TRAINING = ("network", "ppo", "bc", "anneal", "gates", "schedule", "dagger")


@cache
def effective_keys() -> frozenset[Path]:
    """Every key that has an effect, in the spelling used here; sections too."""
    keys = set(_keys(Config, ()))
    for name in ("training", *SECTIONS_OF_TRAINING):
        keys.update(_keys(learning_section(name), (name,)))
    keys.update((*_keys(town_section(), ("town",)), *_keys(affordance_section(), ("town", "affordances", ANY))))
    keys.update(_keys(_record("GroupConfig"), ("training", "groups", ANY)))
    keys.update((*path, need) for path in _BY_NEED for need in NEEDS)
    return frozenset(keys)


@cache
def known_keys() -> frozenset[Path]:
    """Every key that is accepted, in every spelling."""
    below = {
        (*theirs, *key[len(ours) :])
        for theirs, ours in SPELLINGS.items()
        for key in effective_keys()
        if key[: len(ours)] == ours
    }
    return effective_keys() | below | set(spellings())


class KeysAlone(GenerateJsonSchema):
    """A JSON schema for the sake of its keys; that JSON cannot say some of the defaults does not matter."""

    def emit_warning(self, kind: JsonSchemaWarningKind, detail: str) -> None:
        """Emit none."""


def _keys(section: type[Section], prefix: Path) -> Iterator[Path]:
    schema = section.model_json_schema(schema_generator=KeysAlone)
    return keys_of_schema(schema, schema.get("$defs", {}), prefix)
