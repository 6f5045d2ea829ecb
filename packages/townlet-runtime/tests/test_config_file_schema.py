"""The JSON schema for editors says what the loader does."""

import json
from pathlib import Path
from typing import Any

import pytest
from config_content import config_of
from json_schemas import FAULTS, SAYS_NOTHING, faults
from test_config_annotated import KEY

from townlet_runtime.config.annotated import annotated_config
from townlet_runtime.config.check import parse
from townlet_runtime.config.file_schema import DIALECT, file_schema, preset_values
from townlet_runtime.config.keys import ANY
from townlet_runtime.config.load import built_in_config
from townlet_runtime.config.schema import known_keys
from townlet_runtime.errors import ConfigError

DATA = Path(__file__).parent / "data"
SCHEMA = file_schema()
ORIGINAL = json.loads((DATA / "config.schema.json").read_text())
MORE = [*(Path(__file__).parents[3] / "examples").glob("*.yaml")]


def accepts(content: Any) -> list[str]:
    return faults(content, SCHEMA, SCHEMA)


def loads(content: dict[str, Any]) -> bool:
    try:
        config_of(content)
    except ConfigError:
        return False
    return True


def test_it_is_json_of_the_dialect_that_it_names_and_says_nothing_in_other_words() -> None:
    assert SCHEMA["$schema"] == DIALECT == "https://json-schema.org/draft/2020-12/schema"
    assert json.loads(json.dumps(SCHEMA, allow_nan=False)) == SCHEMA
    waiting: list[Any] = [SCHEMA, *SCHEMA["$defs"].values()]
    seen = 0
    while waiting:
        part = waiting.pop()
        assert part.keys() <= FAULTS.keys() | SAYS_NOTHING
        assert part.get("$ref", "#/$defs/Town").removeprefix("#/$defs/") in SCHEMA["$defs"]
        waiting += [*part.get("properties", {}).values(), *part.get("patternProperties", {}).values()]
        waiting += [*part.get("anyOf", ()), *part.get("prefixItems", ())]
        waiting += [part[name] for name in ("items", "additionalProperties") if isinstance(part.get(name), dict)]
        seen += 1
    assert seen > 400


@pytest.mark.parametrize("path", [*(DATA / "scenarios").glob("*.yaml"), *MORE], ids=lambda path: path.name)
def test_every_sample_is_accepted(path: Path) -> None:
    assert accepts(parse(path.read_bytes(), path.name)) == []


def test_defaults_are_accepted_said_or_not() -> None:
    assert accepts({}) == accepts(parse(built_in_config(), "built-in")) == []
    for text in (annotated_config(), annotated_config(world="gymnasium:CartPole-v1"), annotated_config(preset="town")):
        assert accepts(parse(text.encode(), "x")) == []
        assert accepts(parse(KEY.sub(r"\1\2", text).encode(), "x")) == []


def test_every_default_of_the_schema_is_accepted_by_it() -> None:
    checked = 0
    for name, section in SCHEMA["$defs"].items():
        for key, part in section.get("properties", {}).items():
            if part.get("default") is not None:
                assert faults(part["default"], part, SCHEMA, f"{name}.{key}") == []
                checked += 1
    assert checked > 100


def test_defaults_are_those_of_a_file_that_says_nothing() -> None:
    definitions = SCHEMA["$defs"]
    assert definitions["Town"]["properties"]["grid_size"]["default"] == [48, 48]
    assert (
        definitions["Bc"]["properties"]["num_epochs"]["default"] == preset_values()["contract"]["bc.num_epochs"] == 10
    )
    assert "the square an agent sees" in definitions["Town"]["properties"]["local_window"]["description"]
    assert definitions["Ppo"]["properties"]["clip_param"]["deprecated"] is True


@pytest.mark.parametrize(
    "content",
    [
        {"town": {"num_agnts": 3}},
        {"town": {"num_agents": 0}},
        {"town": {"num_agents": 1.5}},
        {"town": {"needs_decay": {"hunger": 2}}},
        {"town": {"grid_size": [3, 3, 3]}},
        {"town": {"affordances": {"bed": {"effects": {"hunger": 3}}}}},
        {"town": {"affordances": {"sofa": {}}}},
        {"ppo": {"gamma": 5}},
        {"ppo": {"learning_rate": "fast"}},
        {"ppo": {"clip_range": True}},
        {"schedule": {"stages": [{"mode": "dream"}]}},
        {"scenario": {"agents": [{"position": [1, 1]}]}},
        {"scenario": {"agents": [{"id": "a", "schedule": [{"kind": "fly"}]}]}},
        {"features": {"stages": {"relationships": "C9"}}},
        {"jobs": {"cook": {"stat": 1}}},
        {"training": {"source": "dream"}},
        {"conflict": {"rivalry": {"max_edges": 0}}},
        {"affordances": {"runtime": {"factory": "os:system"}}},
    ],
)
def test_what_the_loader_refuses_is_refused(content: dict[str, Any]) -> None:
    assert not loads(content) and accepts(content)


@pytest.mark.parametrize(
    "content",
    [
        {"town": None},
        {"town": {"num_agents": 1e3, "needs_decay": {"hunger": 0.1}}},
        {"town": {"affordances": {"bed": {"effects": {"hunger": 0.3}, "cost": 1}}}},
        {"tonw": {"a": 1}, "seed": 3},
        {"telemetry": {"anything": [1]}},
        {"economy": {"rent": 2.0}},
        {"rewards": {"decay_rates": {"hunger": 0.1, "thirst": 0.2}}},
        {"scenario": {"objects": [{"id": "o", "type": "bench"}]}},
        {"scenario": {"agents": [{"id": "a", "schedule": [{"kind": "wait", "object": "x", "quality": 3}]}]}},
        {"training": {"anneal_schedule": [{"cycle": 1, "mode": "bc", "epochs": 2, "bc_weight": 0.5}]}},
        {"training": {"social_reward_stage_override": None, "bc": {"device": "cpu"}}},
        {"environment": {"groups": {"mice": ["a*"], "cats": 2, "dogs": 0.5}}},
        {"ppo": {"minibatch_size": None}},
    ],
)
def test_what_the_loader_takes_is_accepted(content: dict[str, Any]) -> None:
    assert loads(content) and accepts(content) == []


def keys_of(part: dict[str, Any], prefix: tuple[str, ...] = (), depth: int = 0) -> set[tuple[str, ...]]:
    if depth > 12:
        return set()
    found: set[tuple[str, ...]] = set()
    if "$ref" in part:
        found |= keys_of(SCHEMA["$defs"][part["$ref"].rpartition("/")[2]], prefix, depth + 1)
    for name, inner in part.get("properties", {}).items():
        found |= {(*prefix, name)} | keys_of(inner, (*prefix, name), depth + 1)
    for each in (part.get("items"), part.get("additionalProperties")):
        found |= keys_of(each, (*prefix, ANY), depth + 1) if isinstance(each, dict) else set()
    for each in part.get("anyOf", ()):
        found |= keys_of(each, prefix, depth + 1)
    return found


def test_it_has_every_key_that_the_loader_knows() -> None:
    known = {key for key in known_keys() if key[-1] != ANY}
    assert known - keys_of(SCHEMA) == set()
    assert len(known) > 250
