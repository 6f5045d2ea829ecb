import json
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from townlet_runtime.config.keys import no_effect
from townlet_runtime.config.schema import Config

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


def accepts(key: str, value: object) -> bool:
    for name in reversed(key.split(".")):
        value = {name: value}
    try:
        Config.model_validate(value)
    except ValidationError:
        return False
    return True


def test_the_schema_has_the_keys_that_this_test_is_about() -> None:
    assert len(LEAVES) > 200
    assert "telemetry.transport.retry.max_attempts" in {key for key, _, _ in LEAVES}


@pytest.mark.parametrize(("key", "part"), [(key, part) for key, part, _ in LEAVES], ids=[key for key, _, _ in LEAVES])
def test_every_key_of_the_format_is_known_with_its_default_and_its_range(key: str, part: dict[str, Any]) -> None:
    field = field_of(key)
    inner = resolve(part)
    if "properties" not in inner and "default" in part and key not in MADE_BY_FUNCTION:
        default = field.get_default(call_default_factory=True)
        expected = part["default"]
        assert (list(default) if isinstance(default, tuple) else default) == expected
    for bound, beyond in (("minimum", -1), ("maximum", 1)):
        if bound in inner:
            step = beyond if inner["type"] == "integer" else beyond * 1e-6 * max(1.0, abs(inner[bound]))
            whole = int if inner["type"] == "integer" else float
            assert accepts(key, whole(inner[bound]))
            assert not accepts(key, whole(inner[bound] + step))
    for choice in inner.get("enum", ()):
        assert accepts(key, choice)
    if "enum" in inner:
        assert not accepts(key, "something else")


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
