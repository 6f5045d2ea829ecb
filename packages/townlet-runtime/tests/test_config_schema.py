import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from config_content import config_of

from townlet_runtime.config import bridge_config, script_config, town_config, training_mode, training_settings
from townlet_runtime.config.dump import resolved
from townlet_runtime.config.keys import ANY, NO_EFFECT, OF_THE_TOWN, as_spelled, respelled_path
from townlet_runtime.config.schema import (
    OF_THE_RUN,
    Config,
    KeysAlone,
    effective_keys,
    known_keys,
    learning_section,
    town_section,
)
from townlet_runtime.errors import ConfigError
from townlet_runtime.town.config import TownConfig

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


def document(key: str, value: object) -> dict[str, Any]:
    for name in reversed(key.split(".")):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def accepts(key: str, value: object) -> bool:
    try:
        config_of(document(key, value))
    except ConfigError:
        return False
    return True


def acts(key: str) -> bool:
    """Whether a key of the format has an effect here, and so a type and a range."""
    parts = key.split(".")
    heads = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
    return not heads & set(NO_EFFECT) and not key.startswith("affordances.runtime.")


NOTHING_IS_LEARNED = {
    ("ppo.clip_param", "minimum"),
    ("ppo.clip_param", "maximum"),
    ("ppo.max_grad_norm", "minimum"),
    ("ppo.value_clip", "minimum"),
    ("training.rollout_ticks", "minimum"),
}
"""Ends of a range that the format includes and a trainer must not."""


def check_values(key: str, inner: dict[str, Any], accepted: Callable[[object], bool]) -> None:
    """What the format allows is accepted, and what is just beyond, or of another type, is not."""
    for bound, beyond in (("minimum", -1), ("maximum", 1)):
        if bound in inner:
            step = beyond if inner["type"] == "integer" else beyond * 1e-6 * max(1.0, abs(inner[bound]))
            whole = int if inner["type"] == "integer" else float
            assert accepted(whole(inner[bound])) == ((key, bound) not in NOTHING_IS_LEARNED)
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


SILENT = config_of({})
TOWN_OF_SILENCE = town_config(SILENT)
NOT_IN_A_DUMP = {
    "economy.meal_cost": TOWN_OF_SILENCE.affordances["fridge"].cost,
    "economy.ingredients_cost": TOWN_OF_SILENCE.affordances["stove"].cost,
    "economy.cook_hygiene_cost": -TOWN_OF_SILENCE.affordances["stove"].effects.hygiene,
    "economy.cook_energy_cost": -TOWN_OF_SILENCE.affordances["stove"].effects.energy,
    "features.stages.relationships": "OFF",
    "affordances.affordances_file": "configs/affordances/core.yaml",
    "training.social_reward_stage_override": None,
}
"""Defaults that silence has by another way: the town's own prices, a stage that is a switch here, a file that is only
read where it is named, a mode that the command line decides."""


@pytest.mark.parametrize(("key", "part"), [(key, part) for key, part, _ in LEAVES], ids=[key for key, _, _ in LEAVES])
def test_every_key_of_the_format_is_known_with_its_default_and_its_range(key: str, part: dict[str, Any]) -> None:
    inner = resolve(part)
    if not acts(key):
        for value in (part.get("default"), True, "x", [1], {"a": 1}, -1):
            # Nothing is imported, whatever a file names.
            assert accepts(key, value) or (key == "affordances.runtime.factory" and value is not None)
        return
    assert tuple(key.split(".")) in known_keys()
    of_training = respelled_path(tuple(key.split(".")))[0] in ("training", "ppo", "bc", "gates", "schedule")
    if "properties" not in inner and "default" in part and not of_training and key not in MADE_BY_FUNCTION:
        found: Any = resolved(SILENT)
        for name in respelled_path(tuple(key.split("."))):
            found = found.get(name) if isinstance(found, dict) else None
        expected = part["default"]
        assert NOT_IN_A_DUMP.get(key, found) == expected or (expected in (None, [], {}) and not found)
        if expected is not None and key != "affordances.affordances_file":
            assert resolved(config_of(document(key, expected))) == resolved(SILENT) or key in NOT_IN_A_DUMP
    check_values(key, inner, lambda value: accepts(key, value))


def test_every_key_of_a_job_is_known_with_its_default_and_its_range() -> None:
    for key, part in SCHEMA["$defs"]["JobSpec"]["properties"].items():
        said, silent = (config_of({"jobs": {"cook": job}}) for job in ({key: part["default"]}, {}))
        assert town_config(said) == town_config(silent)
        check_values(key, resolve(part), lambda value, key=key: accepts(f"jobs.cook.{key}", value))


def test_no_section_of_the_format_is_left_out() -> None:
    reached = {resolve(part)["title"] for _, part, _ in LEAVES if "properties" in resolve(part)}
    inside_of_idle_lists = {
        "AnnealStage",
        "SocialRewardScheduleEntry",
        "ConsoleAuthTokenConfig",
        "IntRange",
        "FloatRange",
    }
    inside_of_idle_lists |= {f"{kind}EventConfig" for kind in ("PriceSpike", "Blackout", "Outage", "ArrangedMeet")}
    assert reached | inside_of_idle_lists | {"JobSpec"} == set(SCHEMA["$defs"])


def test_what_is_required_there_is_optional_here() -> None:
    assert {key for key, _, required in LEAVES if required} == RELAXED
    assert resolved(config_of({"config_id": "townlet"})) == resolved(config_of({}))


def test_lists_and_mappings_of_the_format_are_checked_item_by_item() -> None:
    assert accepts("jobs", {"baker": {"start_tick": 3, "end_tick": 9, "location": [1, 2]}})
    assert not accepts("jobs", {"baker": {"location": [1, 2, 3]}})
    assert not accepts("scenario.agents", [{"id": "a", "needs": {"hunger": 1.1}}])
    assert not accepts("scenario.agents", [{"id": "a", "needs": {"hungr": 0.1}}])
    assert not accepts("scenario.agents", [{"id": "a", "wallet": -1}])
    assert accepts("economy", {"meal_cost": 0.3, "rent": 2.0})
    assert not accepts("economy", {"meal_cost": "much"})


@pytest.mark.parametrize(
    "key", ["ppo.gamma", "seed", "town.agents", "economy.wage_income", "rewards.decay_rates.hunger"]
)
@pytest.mark.parametrize("value", [True, "1", math.inf, None])
def test_numbers_are_numbers(key: str, value: object) -> None:
    assert accepts(key, value) == (key == "seed" and value is None)


@pytest.mark.parametrize(
    "key", ["seed", "scenario.seed", "town.fridge_stock", "town.ticks_per_day", "behavior.job_arrival_buffer"]
)
def test_no_whole_number_is_beyond_what_arrays_hold(key: str) -> None:
    with pytest.raises(ConfigError, match=f"^town.yaml: `{key}`: must be .*, got 9223372036854775808$"):
        config_of(document(key, 2**63))


def whole_numbers(section: type, prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every integer of a section's JSON schema, with its bounds."""
    schema = section.model_json_schema(schema_generator=KeysAlone)
    waiting: list[tuple[str, Any]] = [(prefix, schema)]
    while waiting:
        path, part = waiting.pop()
        if not isinstance(part, dict):
            continue
        if "$ref" in part:
            waiting.append((path, schema["$defs"][part["$ref"].rpartition("/")[2]]))
        if part.get("type") == "integer":
            yield path, part
        waiting += [(f"{path}.{name}", inner) for name, inner in part.get("properties", {}).items()]
        waiting += [(path, inner) for inner in (*part.get("anyOf", ()), *part.get("prefixItems", ()))]
        waiting += [(path, part.get("items")), (path, part.get("additionalProperties"))]


def test_a_config_has_no_whole_number_without_a_ceiling() -> None:
    found = [*whole_numbers(Config), *whole_numbers(town_section(), ".town")]
    for name in ("training", "ppo", "bc", "anneal", "gates", "network"):
        found += whole_numbers(learning_section(name), f".{name}")
    # Cells are held to the grid; settings of other people's environments are theirs; the other two check themselves.
    elsewhere = (".position", ".location", ".environment.settings", ".promotion.", ".behavior.job_arrival_buffer")
    open_ended = [path for path, part in found if "maximum" not in part and not any(e in path for e in elsewhere)]
    assert len(found) > 40 and open_ended == []
    assert not accepts("promotion.num_episodes", 2**63)


def test_a_commitment_is_one_length_or_a_length_by_kind() -> None:
    assert accepts("policy_runtime.option_commit_ticks", {"move": 1, "request": 15})
    assert not accepts("policy_runtime.option_commit_ticks", {"move": -1})
    assert not accepts("policy_runtime.option_commit_ticks", True)


def test_no_config_names_code_to_import() -> None:
    assert accepts("affordances.runtime.factory", None)
    with pytest.raises(ConfigError, match=r"`affordances.runtime.factory`: must be null, got 'os:system'"):
        config_of(document("affordances.runtime.factory", "os:system"))


def plain_keys() -> list[str]:
    """Every dotted key that says something by itself; not those inside of lists and mappings."""
    sections = {key[:-1] for key in effective_keys()}
    return sorted(".".join(key) for key in effective_keys() - sections if ANY not in key)


OTHER_VALUES: tuple[object, ...] = (True, False, 2, 3, 7, 123, 0.0075, 0.45, 0.55, 0.6, 1.2, -3.0, [9, 9], {"wait": 3})
OTHER_VALUES += ("C2", "bc", "town", "relu", "sampled", "constant", "linear", "none", "pettingzoo:town")
OTHER_VALUES += ("executed", "trajectories", "canonical", "script", "switch", ["success"], ["scripted"])
OTHER_VALUES += ("squashed", "uniform", "shared", "cpu", "cuda", {"map": "conv"})
OTHER_VALUES += (
    {"bed": {"cost": 0.9}},
    {"stoic": 1.0},
    {"alice": "stoic"},
    {"baker": {}},
    [{"id": "a", "type": "bed"}],
    [{"id": "a"}],
    [{"cycle": 3, "mode": "ppo"}],
    [{"cycle": 3, "stage": "C2"}],
)
ELSEWHERE = {"scenario.name", "scenario.description", "scenario.ticks", "scenario.seed"}
ELSEWHERE |= {"environment.controller", "environment.groups", "environment.guardrails"}
"""What neither town nor training is made from: how long a command runs, names in its files, who plays the script."""
ELSEWHERE |= {"affordances.affordances_file", "affordances.runtime.factory"}
"""And what is carried out when a config is loaded, or only refused."""
IDLE_IN_THE_TOWN = {"environment.settings", "environment.vectorization"}
IDLE_IN_THE_TOWN |= {f"environment.{key}" for key in "actions global_state max_entities observation_kinds".split()}


def meaning(content: dict[str, Any]) -> tuple[object, ...]:
    """Everything that commands make from a config."""
    config = config_of({"jobs": {"cook": {}}, **content})
    source = config.training.get("source")
    mode = source if source in ("replay", "mixed") else training_mode(config)
    named = (config.config_id, config.seed, config.preset, config.environment.name)
    parts = (town_config(config), script_config(config), bridge_config(config, ratio=0.0))
    of_the_run = {name: value for name, value in config.training.items() if name in OF_THE_RUN and name != "source"}
    return (*parts, training_settings(config), of_the_run, mode, named)


def is_effective(key: str, value: object) -> bool:
    """Whether saying `value` at `key` changes what a config means; not, if it cannot be said."""
    try:
        return meaning(document(key, value)) != meaning({})
    except ConfigError:
        return False


@pytest.mark.parametrize("key", [key for key in plain_keys() if key not in ELSEWHERE | IDLE_IN_THE_TOWN])
def test_a_key_with_an_effect_changes_something(key: str) -> None:
    assert any(is_effective(key, value) for value in OTHER_VALUES)


def test_every_name_of_the_town_in_python_is_one_of_a_config() -> None:
    sections = {"objects", "agents", "jobs"}
    assert {name for name in vars(TownConfig()) if name not in sections} <= {
        key[-1] for key in effective_keys() if len(key) < 3
    }


def test_what_is_of_the_town_alone_is_known() -> None:
    known = {".".join(key) for key in known_keys()}
    assert OF_THE_TOWN | IDLE_IN_THE_TOWN <= known
    assert as_spelled(("rivalry", "max_edges"), {("rivalry",): ("conflict", "rivalry")}) == (
        "conflict",
        "rivalry",
        "max_edges",
    )
