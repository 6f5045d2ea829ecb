import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from townlet_runtime.config import bridge_config, script_config, town_config, training_mode, training_settings
from townlet_runtime.config.keys import OF_THE_TOWN, known_keys, no_effect
from townlet_runtime.config.schema import Config, ReadAtLoad, Section
from townlet_runtime.config.schema.operations import ArrangedMeet, Blackout, FloatRange, IntRange, Outage, PriceSpike
from townlet_runtime.config.schema.telemetry import ConsoleToken
from townlet_runtime.config.schema.training import AnnealStage, SocialRewardStage
from townlet_runtime.config.schema.world import Job
from townlet_runtime.errors import ConfigError

SCHEMA = json.loads((Path(__file__).parent / "data" / "config.schema.json").read_text())

# Two defaults are not in the schema, because the original made them by a function.
MADE_BY_FUNCTION = {"rewards.decay_rates", "economy", "personalities.distribution"}
# Required there, optional here: a file that leaves them out means the defaults.
RELAXED = {"config_id", "features", "rewards", "features.stages", "features.systems", "features.training"}
RELAXED |= {"features.console", "rewards.needs_weights"}


def resolve(part: dict[str, Any]) -> dict[str, Any]:
    options = [option for option in part.get("anyOf", [part]) if option.get("type") != "null"]
    reference = options[0].get("$ref")
    return SCHEMA["$defs"][reference.rsplit("/", 1)[1]] if reference else options[0]


def leaves(part: dict[str, Any], prefix: str = ""):
    """(dotted key, its schema, whether it is required) of every key that is no section."""
    for name, child in part["properties"].items():
        inner = resolve(child)
        key = f"{prefix}{name}"
        yield key, child, name in part.get("required", ())
        if "properties" in inner:
            yield from leaves(inner, f"{key}.")


LEAVES = list(leaves(SCHEMA))


def section_class(annotation: object) -> type[BaseModel]:
    found = annotation
    while not (isinstance(found, type) and issubclass(found, BaseModel)):
        found = next(a for a in found.__args__ if a is not type(None))  # type: ignore[attr-defined]
    return found


def field_of(key: str):
    section: type[BaseModel] = Config
    *parents, last = key.split(".")
    for parent in parents:
        section = section_class(section.model_fields[parent].annotation)
    return section.model_fields[last]


ITEMS: dict[str, tuple[type[Section], dict[str, object]]] = {
    "JobSpec": (Job, {}),
    "AnnealStage": (AnnealStage, {}),
    "SocialRewardScheduleEntry": (SocialRewardStage, {"stage": "C1"}),
    "ConsoleAuthTokenConfig": (ConsoleToken, {}),
    "PriceSpikeEventConfig": (PriceSpike, {}),
    "BlackoutEventConfig": (Blackout, {}),
    "OutageEventConfig": (Outage, {}),
    "ArrangedMeetEventConfig": (ArrangedMeet, {}),
    "IntRange": (IntRange, {"min": 1, "max": 1}),
    "FloatRange": (FloatRange, {"min": 1.0, "max": 1.0}),
}
"""Sections inside of lists, mappings and other items; what each needs to be complete."""


def document(key: str, value: object) -> dict[str, Any]:
    for name in reversed(key.split(".")):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def valid(section: type[BaseModel], content: dict[str, Any]) -> bool:
    try:
        section.model_validate(content)
    except ValidationError:
        return False
    return True


def accepts(key: str, value: object) -> bool:
    return valid(Config, document(key, value))


def check_values(inner: dict[str, Any], accepted: Callable[[object], bool]) -> None:
    """What the format allows is accepted, and what is just beyond, or of another type, is not."""
    for bound, beyond in (("minimum", -1), ("maximum", 1)):
        if bound in inner:
            step = beyond if inner["type"] == "integer" else beyond * 1e-6 * max(1.0, abs(inner[bound]))
            whole = int if inner["type"] == "integer" else float
            assert accepted(whole(inner[bound]))
            assert not accepted(whole(inner[bound] + step))
    for choice in inner.get("enum", ()):
        assert accepted(choice)
    if "enum" in inner or "const" in inner:
        assert not accepted("something else")
    if inner.get("type") in ("boolean", "integer", "number", "string"):
        assert not accepted([])
    if inner.get("type") in ("integer", "number", "string"):
        assert not accepted(True)
    if inner.get("type") in ("integer", "boolean"):
        assert not accepted(0.5)


def test_the_schema_has_the_keys_that_this_test_is_about() -> None:
    assert len(LEAVES) > 200
    assert "telemetry.transport.retry.max_attempts" in {key for key, _, _ in LEAVES}


@pytest.mark.parametrize(("key", "part"), [(key, part) for key, part, _ in LEAVES], ids=[key for key, _, _ in LEAVES])
def test_every_key_of_the_format_is_known_with_its_default_and_its_range(key: str, part: dict[str, Any]) -> None:
    field = field_of(key)
    inner = resolve(part)
    assert tuple(key.split(".")) in known_keys()
    if "properties" not in inner and "default" in part and key not in MADE_BY_FUNCTION:
        default = field.get_default(call_default_factory=True)
        expected = part["default"]
        assert (list(default) if isinstance(default, tuple) else default) == expected
        top = key.partition(".")[0]
        assert Config.model_validate(document(key, expected)) == Config() or Config.model_fields[top].default is None
    check_values(inner, lambda value: accepts(key, value))


@pytest.mark.parametrize(("name", "key"), [(n, k) for n in ITEMS for k in SCHEMA["$defs"][n]["properties"]])
def test_every_key_of_an_item_is_known_with_its_default_and_its_range(name: str, key: str) -> None:
    section, needed = ITEMS[name]
    part = SCHEMA["$defs"][name]["properties"][key]
    if "default" in part:
        assert section.model_fields[key].default == part["default"]
        assert valid(section, {**needed, key: part["default"]})
    assert (key in SCHEMA["$defs"][name].get("required", ())) == section.model_fields[key].is_required()
    check_values(resolve(part), lambda value: valid(section, {**needed, key: value}))


def test_no_section_of_the_format_is_left_out() -> None:
    reached = {resolve(part)["title"] for _, part, _ in LEAVES if "properties" in resolve(part)}
    assert reached | set(ITEMS) == set(SCHEMA["$defs"])


def test_what_is_required_there_is_optional_here() -> None:
    assert {key for key, _, required in LEAVES if required} == RELAXED
    assert Config() == Config.model_validate({})


def test_lists_and_mappings_of_the_format_are_checked_item_by_item() -> None:
    assert accepts("training.anneal_schedule", [{"cycle": 1, "mode": "bc", "epochs": 2, "bc_weight": 0.5}])
    assert not accepts("training.anneal_schedule", [{"mode": "dagger"}])
    assert accepts("jobs", {"baker": {"start_tick": 3, "end_tick": 9, "location": [1, 2]}})
    assert not accepts("jobs", {"baker": {"location": [1, 2, 3]}})
    assert accepts("perturbations.events", {"dark": {"kind": "blackout", "duration": {"min": 1, "max": 2}}})
    assert not accepts("perturbations.events", {"dark": {"kind": "flood"}})
    assert accepts("economy", {"meal_cost": 0.3, "rent": 2.0})
    assert not accepts("economy", {"rent": "much"})


@pytest.mark.parametrize("key", ["ppo.gamma", "seed", "town.agents", "economy.meal_cost", "rewards.decay_rates.hunger"])
@pytest.mark.parametrize("value", [True, "1", math.nan, None])
def test_numbers_are_numbers(key: str, value: object) -> None:
    assert accepts(key, value) == (key == "seed" and value is None)


def test_a_commitment_is_one_length_or_a_length_by_kind() -> None:
    assert accepts("policy_runtime.option_commit_ticks", {"move": 1, "request": 15})
    assert not accepts("policy_runtime.option_commit_ticks", {"move": -1})
    assert not accepts("policy_runtime.option_commit_ticks", True)


def test_no_config_names_code_to_import() -> None:
    assert accepts("affordances.runtime.factory", None)
    assert not accepts("affordances.runtime.factory", "os:system")


def test_a_section_without_effect_says_so_and_the_others_do_not() -> None:
    assert no_effect(Config.model_fields["telemetry"]) is not None
    assert no_effect(Config.model_fields["rewards"]) is None
    assert TypeAdapter(Config).json_schema()["title"] == "Config"


def plain_keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every dotted key that says something by itself and bears no mark; not what is inside of lists and mappings."""
    for name, field in section.model_fields.items():
        if no_effect(field) is not None or any(isinstance(mark, ReadAtLoad) for mark in field.metadata):
            continue
        options = get_args(field.annotation)
        inner = options[0] if type(None) in options else field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from plain_keys(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


OTHER_VALUES: tuple[object, ...] = (True, False, 2, 3, 7, 123, 0.0075, 0.45, 0.55, 0.6, 1.2, -3.0, [9, 9], {"wait": 3})
OTHER_VALUES += ("C2", "bc", "town", "relu", "sampled", "constant", "linear", "none", "pettingzoo:town")
OTHER_VALUES += ({"stoic": 1.0}, {"alice": "stoic"}, {"baker": {}}, [{"id": "a", "type": "bed"}], [{"id": "a"}])
ELSEWHERE = {"scenario.name", "scenario.description", "scenario.ticks", "scenario.seed", "environment.controller"}
"""What neither town nor training is made from: how long a command runs, names in its files, who plays the script."""
IDLE_IN_THE_TOWN = {"environment.settings", "environment.vectorization"}


def meaning(content: dict[str, Any]) -> tuple[object, ...]:
    """Everything that commands make from a config."""
    config = Config.model_validate({"jobs": {"cook": {}}, **content})
    town = town_config(config)
    mode = training_mode(config) if config.training.source not in ("replay", "mixed") else config.training.source
    named = (config.config_id, config.seed, config.preset, config.environment.name)
    return (town, script_config(config), bridge_config(config, ratio=0.0), training_settings(config), mode, named)


def is_effective(key: str, value: object) -> bool:
    """Whether saying `value` at `key` changes what a config means; not, if it cannot be said."""
    try:
        return meaning(document(key, value)) != meaning({})
    except (ValidationError, ConfigError):
        return False


@pytest.mark.parametrize("key", [key for key in plain_keys(Config) if key not in ELSEWHERE | IDLE_IN_THE_TOWN])
def test_a_key_without_a_mark_changes_something(key: str) -> None:
    assert any(is_effective(key, value) for value in OTHER_VALUES)


def test_what_is_of_the_town_alone_is_known() -> None:
    known = {".".join(key) for key in known_keys()}
    assert OF_THE_TOWN | IDLE_IN_THE_TOWN <= known
