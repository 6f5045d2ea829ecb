"""What using an object takes and does: the town's own values, prices of `economy`, an affordance file, overrides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from townlet_runtime.config.affordances import MEAL_AVAILABLE, Affordance, AffordanceFile
from townlet_runtime.config.schema import Config
from townlet_runtime.config.schema.world import (
    AffordanceEffects,
    AffordanceOverride,
    Affordances,
    Economy,
    ScenarioObject,
)
from townlet_runtime.town.config import AffordanceSpec, ObjectType, TownConfig

_PRICES = {"fridge": "meal_cost", "stove": "ingredients_cost"}
_TAKE_STOCK = frozenset({"on_attempt_eat", "on_attempt_cook"})


def with_affordances(config: Config, file: AffordanceFile) -> Config:
    """Return `config` with what `file` says written into `town.affordances` and `scenario.objects`.

    What the config says itself wins: `town.affordances`, then the prices that it states in `economy`.
    """
    said = _by_type(config.town.affordances)
    filled = {
        kind: _filled(said[kind], _override(entry, config.economy.model_fields_set))
        for kind, entry in file.affordances.items()
    }
    affordances = config.town.affordances.model_copy(update=filled)
    known = {item.id for item in config.scenario.objects}
    placed = tuple(
        ScenarioObject(id=item.id, type=item.object_type, position=item.position)
        for item in file.objects
        if item.position is not None and item.id not in known
    )
    update = {"town": config.town.model_copy(update={"affordances": affordances})}
    if placed:
        objects = {"objects": (*config.scenario.objects, *placed)}
        return config.model_copy(update={**update, "scenario": config.scenario.model_copy(update=objects)})
    return config.model_copy(update=update)


def affordance_specs(config: Config) -> Mapping[ObjectType, AffordanceSpec]:
    """The town's own, with the prices of `economy`, with what `town.affordances` says."""
    priced = dict(TownConfig().affordances)
    economy = config.economy
    priced["fridge"] = replace(priced["fridge"], cost=economy.meal_cost)
    priced["stove"] = _cooking(priced["stove"], economy)
    said = _by_type(config.town.affordances)
    return {name: _overridden(spec, said[name]) for name, spec in priced.items()}


def _by_type(affordances: Affordances) -> Mapping[str, AffordanceOverride]:
    return {
        "fridge": affordances.fridge,
        "stove": affordances.stove,
        "shower": affordances.shower,
        "bed": affordances.bed,
    }


def _override(entry: Affordance, stated: set[str]) -> AffordanceOverride:
    """An entry of a file as what `town.affordances` can say; `stated` are the prices that the config itself states."""
    kind, effects, hooks = entry.object_type, entry.effects, entry.hooks
    hygiene_price, energy_price = ("cook_hygiene_cost", "cook_energy_cost") if kind == "stove" else (None, None)
    takes_meal = any(" ".join(condition.split()) == MEAL_AVAILABLE for condition in entry.preconds)
    cost = _unless_priced(effects.money, _PRICES.get(kind), stated)
    return AffordanceOverride(
        id=entry.id,
        duration=entry.duration,
        effects=AffordanceEffects(
            hunger=effects.hunger or 0.0,
            hygiene=_unless_priced(effects.hygiene, hygiene_price, stated),
            energy=_unless_priced(effects.energy, energy_price, stated),
        ),
        cost=None if cost is None else abs(cost),
        uses_stock=takes_meal or not _TAKE_STOCK.isdisjoint(hooks.before),
        meals_made=None if "on_finish_cook" in hooks.after else 0,
    )


def _unless_priced(said: float | None, price: str | None, stated: set[str]) -> float | None:
    """What a file says, 0 where it is silent; None where `economy` has a word in it, the last or the only one."""
    if price is not None and (said is None or price in stated):
        return None
    return 0.0 if said is None else said


def _filled(said: AffordanceOverride, from_file: AffordanceOverride) -> AffordanceOverride:
    """`said`, and where it is silent what the file says."""
    upper, lower = said.model_dump(exclude_none=True), from_file.model_dump(exclude_none=True)
    effects = {**lower["effects"], **upper["effects"]}
    return AffordanceOverride.model_validate({**lower, **upper, "effects": effects})


def _cooking(stove: AffordanceSpec, economy: Economy) -> AffordanceSpec:
    hunger, _, _ = stove.effects
    effects = (hunger, -economy.cook_hygiene_cost, -economy.cook_energy_cost)
    return replace(stove, cost=economy.ingredients_cost, effects=effects)


def _overridden(spec: AffordanceSpec, said: AffordanceOverride) -> AffordanceSpec:
    hunger, hygiene, energy = spec.effects
    return AffordanceSpec(
        id=spec.id if said.id is None else said.id,
        duration=spec.duration if said.duration is None else said.duration,
        effects=(
            hunger if said.effects.hunger is None else said.effects.hunger,
            hygiene if said.effects.hygiene is None else said.effects.hygiene,
            energy if said.effects.energy is None else said.effects.energy,
        ),
        cost=spec.cost if said.cost is None else said.cost,
        uses_stock=spec.uses_stock if said.uses_stock is None else said.uses_stock,
        meals_made=spec.meals_made if said.meals_made is None else said.meals_made,
    )
