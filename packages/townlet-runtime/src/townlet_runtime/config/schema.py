"""The sections of a config, most of which are declared by the parts that use them.

A record of the town, of townlet-behavior or of townlet-trajectory is a section as it stands. A section of training
holds the settings that were stated, to be laid over a preset. Only keys that no other part declares are declared here.
"""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal, TypeAlias, get_type_hints

from pydantic import Field, ValidationInfo, WrapValidator, create_model
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind

from townlet_behavior import ScriptedConfig
from townlet_runtime.config.keys import ANY, SPELLINGS, Path, keys_of_schema, spellings
from townlet_runtime.config.sections import (
    Affordances,
    Economy,
    Environment,
    Job,
    PolicySettings,
    Scenario,
    Section,
    Seed,
    SocialCycle,
)
from townlet_runtime.town.config import (
    NEEDS,
    AffordanceSpec,
    LifecycleConfig,
    PersonalityConfig,
    QueueConfig,
    RewardConfig,
    RivalryConfig,
    SocialConfig,
    Ticks,
    TownConfig,
)
from townlet_runtime.town.objects import ObjectType
from townlet_trajectory.evaluation.promotion import PromotionConfig

Said: TypeAlias = Mapping[str, Any]
"""Settings by name, each checked by the annotation of its owner."""

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


OF_THE_RUN: Mapping[str, Any] = {
    "source": Source,
    "replay_manifest": str | None,
    "bc_manifest": str | None,
    "data_root": str | None,
    "rollout_auto_seed_agents": bool,
    "social_reward_schedule": tuple[SocialCycle, ...],
}
"""Keys of `training` that are no settings of `TrainingConfig`: what is trained, in which worlds, and on which data."""


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
    jobs: Mapping[str, Job] = Field({})
    """By name; empty: the town's own shifts."""
    affordances: Affordances = Affordances()
    training: Annotated[Said, _said(lambda: learning_section("training"))] = Field({})
    """`source`, which is what `townlet train` does without `--mode`, and settings of `TrainingConfig`."""
    network: Annotated[Said, _said(lambda: learning_section("network"))] = Field({})
    ppo: Annotated[Said, _said(lambda: learning_section("ppo"))] = Field({})
    bc: Annotated[Said, _said(lambda: learning_section("bc"))] = Field({})
    anneal: Annotated[Said, _said(lambda: learning_section("anneal"))] = Field({})
    gates: Annotated[Said, _said(lambda: learning_section("gates"))] = Field({})
    schedule: Annotated[Said, _said(lambda: learning_section("schedule"))] = Field({})
    dagger: Annotated[Said, _said(lambda: learning_section("dagger"))] = Field({})
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
