"""Build the settings of town, script and bridge from a config, its affordances included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from townlet_behavior import BridgeConfig, ScriptedConfig
from townlet_behavior.commitment import CommitmentConfig
from townlet_runtime.config.check import checked, parse, read
from townlet_runtime.config.keys import Content, merge
from townlet_runtime.config.schema import Config
from townlet_runtime.config.sections import Section
from townlet_runtime.errors import ConfigError, TownConfigError, UnknownKeyError, WrongValueError
from townlet_runtime.town.config import (
    AffordanceSpec,
    Effect,
    Effects,
    JobSpec,
    ObjectSpec,
    Ticks,
    TownConfig,
)
from townlet_runtime.town.objects import OBJECT_TYPES, ObjectType, TypeName
from townlet_trajectory.storage.json import JsonValue

DEFAULT_FILE = "configs/affordances/core.yaml"
"""Where the original keeps its affordances; a copy is built in."""

FILE_KEY = "affordances.affordances_file"

MEAL_AVAILABLE = "meal_available == true"
CONDITIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "occupied == false": OBJECT_TYPES,
        "power_on == true": OBJECT_TYPES,
        "water_on == true": OBJECT_TYPES,
        MEAL_AVAILABLE: ("fridge",),
    }
)
"""Every condition that an affordance may have, and of which types. The first holds for whoever has its turn, and power
and water never fail; the last makes a use take a meal."""

HOOKS: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "shower": {"before": ("on_attempt_shower",), "after": ("on_finish_shower",), "fail": ("on_no_power",)},
        "fridge": {"before": ("on_attempt_eat",), "after": ("on_finish_eat",), "fail": ()},
        "stove": {"before": ("on_attempt_cook",), "after": ("on_finish_cook",), "fail": ("on_cook_fail",)},
        "bed": {"before": ("on_attempt_sleep",), "after": ("on_finish_sleep",), "fail": ()},
    }
)
"""Every hook that an affordance may name, by type and stage. What they did in the original is built into the town."""

_Name = Annotated[str, Field(min_length=1)]


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


_Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
"""A list; one text is a list of one."""


class FileEffects(Section):
    """Changes that a complete use makes to its user."""

    hunger: Effect | None = None
    hygiene: Effect | None = None
    energy: Effect | None = None
    money: float | None = Field(None, le=0.0)
    """Paid when the use begins."""


class Hooks(Section):
    """Names of hooks, by stage."""

    before: _Names = ()
    after: _Names = ()
    fail: _Names = ()

    def stages(self) -> Iterator[tuple[str, str]]:
        """(stage, hook) of every hook that is named."""
        for stage, names in (("before", self.before), ("after", self.after), ("fail", self.fail)):
            yield from ((stage, name) for name in names)


class Affordance(Section):
    """One entry: what can be done with objects of one type."""

    type: Literal["affordance"] = "affordance"
    id: _Name
    object_type: _Name
    duration: Ticks
    """Ticks."""
    effects: FileEffects
    preconds: _Names = ()
    """Of `CONDITIONS`."""
    hooks: Hooks = Hooks()
    """Of `HOOKS`."""


class PlacedObject(Section):
    """One entry: an object. It is in the town where it has a position."""

    type: Literal["object"]
    id: _Name
    object_type: TypeName
    position: tuple[int, int] | None = None
    stock: Mapping[str, Annotated[int, Field(ge=0)]] = {}


@dataclass(frozen=True, kw_only=True)
class AffordanceFile:
    """A checked file."""

    affordances: Mapping[str, Affordance]
    """By object type of the town."""
    objects: tuple[PlacedObject, ...]
    """Those that have a position."""
    without_effect: tuple[str, ...]
    """Entries and keys that the town does nothing with."""


def read_affordances(name: str, folder: Path, *, source: str) -> tuple[AffordanceFile, Path | None]:
    """Read the affordance file `name`: below `folder`, else below the working folder, else, if it has the default
    name, the built-in copy.

    Args:
        name: absolute, or relative to one of the two.
        folder: of the config that names it.
        source: what errors call that config.

    Returns:
        The file, and where it was found; None for the built-in copy.

    Raises:
        ConfigError: if it is in no such place, or wrong; names file, entry and key.
    """
    places = list(dict.fromkeys((folder / name, Path(name))))
    for place in places:
        if place.is_file():
            return _parsed(read(place), str(place)), place
    if name != DEFAULT_FILE:
        tried = ", ".join(str(place) for place in places)
        raise ConfigError(f"expected an affordance file, found none at {tried}", file=source, key=FILE_KEY)
    data = resources.files("townlet_runtime.config").joinpath("data/affordances_core.yaml").read_bytes()
    return _parsed(parse(data, name), name), None


def _parsed(content: JsonValue, source: str) -> AffordanceFile:
    if not isinstance(content, list):
        raise ConfigError("expected a list of entries (`- id: ...`)", file=source)
    affordances: dict[str, Affordance] = {}
    objects: list[PlacedObject] = []
    idle: dict[str, list[str]] = {}
    ids: set[str] = set()
    for index, item in enumerate(content):
        label = _label(item, index)
        entry = _entry(item, label, source)
        if entry.id in ids:
            raise ConfigError("another entry has this id", file=source, key=f"{label}.id")
        ids.add(entry.id)
        if isinstance(entry, Affordance) and entry.object_type not in OBJECT_TYPES:
            idle.setdefault(f"type `{entry.object_type}`", []).append(entry.id)
        elif isinstance(entry, Affordance):
            _check(entry, affordances, label, source)
            affordances[entry.object_type] = entry
        elif entry.position is None:
            idle.setdefault("no position", []).append(entry.id)
        else:
            objects.append(entry)
            idle.setdefault("stock", []).extend([entry.id] if entry.stock else [])
    reasons = [f"{source}: {', '.join(names)} ({reason})" for reason, names in idle.items() if names]
    return AffordanceFile(affordances=affordances, objects=tuple(objects), without_effect=tuple(reasons))


def _label(item: JsonValue, index: int) -> str:
    """The name of an entry in errors: its id, or its place in the list."""
    found = item.get("id") if isinstance(item, dict) else None
    return found if isinstance(found, str) and found else f"[{index}]"


def _entry(item: JsonValue, label: str, source: str) -> Affordance | PlacedObject:
    if not isinstance(item, dict):
        raise ConfigError(f"expected an entry (`key: value` lines), got {item!r:.80}", file=source, key=label)
    try:
        return checked(PlacedObject, item) if item.get("type") == "object" else checked(Affordance, item)
    except (UnknownKeyError, WrongValueError) as error:
        raise ConfigError(error.problem, file=source, key=".".join((label, *error.path))) from error


def _check(entry: Affordance, others: Mapping[str, Affordance], label: str, source: str) -> None:
    """Refuse conditions and hooks that the town does not know, and a second affordance of a type."""
    kind = entry.object_type
    if kind in others:
        raise ConfigError(
            f"a type has one affordance, and that of `{kind}` is `{others[kind].id}`",
            file=source,
            key=f"{label}.object_type",
        )
    for condition in entry.preconds:
        if kind not in CONDITIONS.get(" ".join(condition.split()), ()):
            known = ", ".join(f"`{name}`" for name, types in CONDITIONS.items() if kind in types)
            raise ConfigError(f"expected one of {known}, got `{condition}`", file=source, key=f"{label}.preconds")
    for stage, hook in entry.hooks.stages():
        known_hooks = HOOKS[kind][stage]
        if hook not in known_hooks:
            expected = ", ".join(f"`{name}`" for name in known_hooks) or "none"
            raise ConfigError(
                f"expected {expected} for a {kind}, got `{hook}` (a file must not name code to import)",
                file=source,
                key=f"{label}.hooks.{stage}",
            )


_PRICES = {"fridge": "meal_cost", "stove": "ingredients_cost"}
_TAKE_STOCK = frozenset({"on_attempt_eat", "on_attempt_cook"})


def with_affordances(config: Config, file: AffordanceFile) -> Config:
    """Return `config` with the entries of `file` written into `town.affordances` and `scenario.objects`.

    The config's own values win: `town.affordances`, then the prices that it states in `economy`.
    """
    said: Content = {kind: _entry_as_settings(entry, _prices(config, kind)) for kind, entry in file.affordances.items()}
    town = {**config.town, "affordances": merge(said, dict(config.town["affordances"]))}
    known = {item.id for item in config.scenario.objects}
    placed = tuple(
        ObjectSpec(id=item.id, type=item.object_type, position=item.position)
        for item in file.objects
        if item.position is not None and item.id not in known
    )
    scenario = config.scenario.model_copy(update={"objects": (*config.scenario.objects, *placed)})
    return config.model_copy(update={"town": town, "scenario": scenario})


def affordance_specs(config: Config) -> Mapping[ObjectType, AffordanceSpec]:
    """The town's own, with the prices of `economy`, with what `town.affordances` says."""
    specs: dict[ObjectType, AffordanceSpec] = {}
    for kind, own in TownConfig().affordances.items():
        content: dict[str, Any] = {**vars(own), "effects": own.effects._asdict()}
        for said in (_prices(config, kind), config.town["affordances"].get(kind, {})):
            content |= {**said, "effects": {**content["effects"], **said.get("effects", {})}}
        specs[kind] = AffordanceSpec(**{**content, "effects": Effects(**content["effects"])})
    return specs


def _prices(config: Config, kind: str) -> dict[str, Any]:
    """The prices that `economy` states for a use, in the form of `town.affordances`."""
    economy, effects = config.economy, dict[str, float]()
    prices: dict[str, Any] = {"effects": effects}
    price = {"fridge": economy.meal_cost, "stove": economy.ingredients_cost}.get(kind)
    if price is not None:
        prices["cost"] = price
    for need, cost in (("hygiene", economy.cook_hygiene_cost), ("energy", economy.cook_energy_cost)):
        if kind == "stove" and cost is not None:
            # A need is in [0, 1]: it cannot fall by more.
            effects[need] = min(1.0, max(-1.0, -cost))
    return prices


def _entry_as_settings(entry: Affordance, prices: Content) -> Content:
    """An entry of a file in the form of `town.affordances`; a price that `economy` states replaces the file's."""
    kind, effects, hooks = entry.object_type, entry.effects, entry.hooks
    takes_meal = any(" ".join(condition.split()) == MEAL_AVAILABLE for condition in entry.preconds)
    said: Content = {
        "id": entry.id,
        "duration": entry.duration,
        "uses_stock": takes_meal or not _TAKE_STOCK.isdisjoint(hooks.before),
    }
    if "on_finish_cook" not in hooks.after:
        said["meals_made"] = 0
    if kind not in _PRICES or effects.money is not None:
        said["cost"] = abs(effects.money or 0.0)
    needs = {"hunger": effects.hunger, "hygiene": effects.hygiene, "energy": effects.energy}
    # Of cooking, a file that is silent leaves hygiene and energy as they are.
    said["effects"] = {
        need: change or 0.0
        for need, change in needs.items()
        if need == "hunger" or kind != "stove" or change is not None
    }
    return merge(said, prices)


def town_config(config: Config) -> TownConfig:
    """Return the town that `config` describes.

    Raises:
        TownConfigError: if parts of it contradict each other.
    """
    settings: dict[str, Any] = dict(config.town)
    said = config.town["episode_ticks"] or config.scenario.ticks or TownConfig.episode_ticks
    bound = config.environment.max_episode_ticks
    settings |= {
        "episode_ticks": said if bound is None else min(said, bound),
        "affordances": affordance_specs(config),
        "option_ticks": _option_ticks(config),
    }
    return TownConfig(
        **settings,
        objects=config.scenario.objects,
        agents=config.scenario.agents,
        jobs=_jobs(config),
        rewards=config.rewards,
        queue=config.queue,
        rivalry=config.rivalry,
        social=config.social,
        personality=config.personality,
        lifecycle=config.lifecycle,
    )


def script_config(config: Config) -> ScriptedConfig:
    """Return the thresholds of the scripted behavior, and whether characters change them."""
    characters = config.personality
    return replace(
        config.behavior,
        personality_profiles=characters.profiles,
        reward_multipliers=characters.reward_multipliers,
    )


def bridge_config(config: Config, *, ratio: float, commitment: CommitmentConfig | None = None) -> BridgeConfig:
    """Return the settings of the bridge.

    Args:
        config: any.
        ratio: share of decisions given to the policy.
        commitment: for how many ticks options bind; None: as the config says it of the town.

    Raises:
        TownConfigError: if the town has no options of a kind that the config names.
    """
    bridge = BridgeConfig(
        ratio=ratio,
        commitment=CommitmentConfig(ticks=_option_ticks(config)) if commitment is None else commitment,
        temperature=config.policy.temperature,
        delay_ticks=config.policy.reaction_delay_ticks,
        handover_ticks=config.policy.handover_ticks,
        on_policy_error=config.policy.on_policy_error,
        blend=config.policy.blend or "mixture",
    )
    return replace(bridge, min_ratio=config.ppo.get("min_ratio", bridge.min_ratio))


def _jobs(config: Config) -> tuple[JobSpec, ...]:
    return tuple(
        JobSpec(
            name=name,
            start_tick=job.start_tick,
            end_tick=job.end_tick,
            wage_rate=job.wage_rate or config.economy.wage_income,
            lateness_penalty=job.lateness_penalty,
            location=job.location or (0, 0),
        )
        for name, job in config.jobs.items()
    )


_ONE_TICK = frozenset({"move", "release"})
"""Kinds whose options are done after one tick."""


def _option_ticks(config: Config) -> Mapping[str, int]:
    """Commitment length by kind. A single length is that of every kind but `wait`; a mapping changes the town's own.

    A step and giving up a turn are done after one tick, whatever the number says: held longer, a step would go on in a
    direction that had its reason in another cell.
    """
    own: Mapping[str, int] = TownConfig().option_ticks
    said: int | Mapping[str, int] = config.town["option_ticks"]
    if isinstance(said, int):
        said = {kind: 0 if kind == "wait" else said for kind in own}
    unknown = sorted(set(said) - set(own))
    if unknown:
        raise TownConfigError(f"expected kinds among {', '.join(own)}, got {', '.join(unknown)}", key="option_ticks")
    return {kind: min(ticks, 1) if kind in _ONE_TICK else ticks for kind, ticks in {**own, **said}.items()}
