from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_runtime.config.keys import (
    NO_EFFECT,
    SPELLINGS,
    as_spelled,
    merge,
    nearest_key,
    nested,
    respelled,
    respelled_path,
    take_without_effect,
)
from townlet_runtime.config.schema import effective_keys, known_keys
from townlet_runtime.errors import ConfigError

NAMES = st.sampled_from(["a", "b", "c"])
TREES = st.dictionaries(NAMES, st.recursive(st.integers(), lambda inner: st.dictionaries(NAMES, inner, max_size=3)))


def test_keys_of_lists_and_mappings_are_known_with_a_placeholder() -> None:
    known = known_keys()
    assert {("seed",), ("town", "agents"), ("jobs", "*", "start_tick"), ("scenario", "agents", "*", "wallet")} <= known
    assert ("scenario", "agents", "*", "schedule", "*", "object") in known
    assert {
        ("ppo", "gamma"),
        ("ppo", "discount"),
        ("conflict", "rivalry", "max_edges"),
        ("rivalry", "max_edges"),
    } <= known
    assert {("rewards", "needs_weights", "hunger"), ("town", "affordances", "*", "effects", "energy")} <= known


def test_the_nearest_key_is_beside_it_unless_another_section_has_it() -> None:
    known = known_keys()
    assert nearest_key(["ppo", "gamm"], known) == "ppo.gamma"
    assert nearest_key(["scenario", "agents", "2", "walet"], known) == "scenario.agents.2.wallet"
    assert nearest_key(["training", "hunger_threshold"], known) == "behavior.hunger_threshold"
    assert nearest_key(["scenaro"], known) == "scenario"
    assert nearest_key(["ppo", "vlc"], known) == "ppo.value_loss_coef"


def test_every_spelling_is_of_a_key_that_has_an_effect_and_no_key_itself() -> None:
    assert set(SPELLINGS.values()) <= effective_keys()
    assert not set(SPELLINGS) & {key for key in effective_keys() if key[0] != "behavior"}
    assert not {tuple(key.split(".")) for key in NO_EFFECT} & effective_keys()


def test_values_move_to_their_keys_and_keep_their_company() -> None:
    content = {"ppo": {"gamma": 0.9, "num_epochs": 2}, "world": {"grid_size": [3, 4], "weather_seed": 1}, "seed": None}
    said, spelled = respelled(content)
    assert said == {
        "ppo": {"discount": 0.9, "num_epochs": 2},
        "town": {"grid_size": [3, 4]},
        "world": {"weather_seed": 1},
    }
    assert as_spelled(("ppo", "discount"), spelled) == ("ppo", "gamma")
    assert as_spelled(("town", "grid_size", "0"), spelled) == ("world", "grid_size", "0")
    assert as_spelled(("ppo", "num_epochs"), spelled) == ("ppo", "num_epochs")
    assert respelled_path(("conflict", "rivalry", "max_edges")) == ("rivalry", "max_edges")


def test_of_two_spellings_the_key_itself_wins_and_an_override_of_the_stage_over_the_stage() -> None:
    said, _ = respelled(
        {"ppo": {"gamma": 0.9, "discount": 0.8}, "conflict": {"rivalry": {"max_edges": 2, "min_value": 0}}}
    )
    assert said["ppo"] == {"discount": 0.8}
    stages: dict[str, Any] = {"features": {"stages": {"social_rewards": "C1"}}}
    for override, stage in (("C2", "C2"), (None, "C1")):
        said, _ = respelled({**stages, "training": {"social_reward_stage_override": override}})
        assert said["social"] == {"social_rewards": stage}


def test_entries_of_schedules_are_respelled_and_stages_of_relationships_translated() -> None:
    entry = {"kind": "start", "object": "bed_1", "affordance": None, "target": "bob"}
    said, _ = respelled({"scenario": {"agents": [{"id": "a", "schedule": [dict(entry)]}, 3]}, "features": {}})
    agents: Any = said["scenario"]
    (translated,) = agents["agents"][0]["schedule"]
    assert translated == {"kind": "start", "object_id": "bed_1", "affordance_id": None, "target_agent": "bob"}
    for stage, on in (("OFF", False), ("A", True), ("C3", True)):
        assert respelled({"features": {"stages": {"relationships": stage}}})[0]["social"] == {"relationships": on}
    with pytest.raises(ConfigError, match="`features.stages.relationships`: must be one of OFF, A, B, .*, got 'D'"):
        respelled({"features": {"stages": {"relationships": "D"}}})


def test_keys_without_effect_are_taken_out_and_named_once_unless_they_say_what_happens_anyway() -> None:
    idle = {"kind": "chat", "quality": 0.5}
    content: dict[str, Any] = {
        "telemetry": {"diff_enabled": 3},
        "economy": {"rent": 1.0, "meal_cost": 0.5},
        "scenario": {"agents": [{"id": "a", "schedule": [dict(idle), dict(idle)]}, {"id": "b", "schedule": [idle]}]},
        "features": {"relationship_modifiers": True, "systems": {"lifecycle": "on", "observations": "full"}},
        "affordances": {"affordances_file": "x.yaml", "runtime": {"hook_allowlist": ["os.path"], "factory": None}},
        "training": {"bc": {"device": "cpu"}},
    }
    named = take_without_effect(content, effective_keys())
    assert sorted(".".join(key) for key in named) == [
        "affordances.runtime.hook_allowlist",
        "economy.rent",
        "features.relationship_modifiers",
        "features.systems.observations",
        "scenario.agents[].schedule[].quality",
        "telemetry",
    ]
    assert content == {
        "economy": {"meal_cost": 0.5},
        "scenario": {
            "agents": [{"id": "a", "schedule": [{"kind": "chat"}] * 2}, {"id": "b", "schedule": [{"kind": "chat"}]}]
        },
        "features": {"systems": {}},
        "affordances": {"affordances_file": "x.yaml", "runtime": {"factory": None}},
        "training": {"bc": {}},
    }
    assert take_without_effect(content, effective_keys()) == []


@given(TREES, TREES)
def test_merged_content_says_what_the_second_says_and_else_what_the_first_does(base: Any, over: Any) -> None:
    merged = merge(base, over)
    assert merge(merged, over) == merged
    assert merge(base, {}) == base and merge({}, over) == over
    for key, value in over.items():
        inner = base.get(key)
        both = isinstance(inner, dict) and isinstance(value, dict)
        assert merged[key] == (merge(inner, value) if both else value)
    assert {key: merged[key] for key in base if key not in over} == {k: v for k, v in base.items() if k not in over}


def test_nested_content_has_one_value() -> None:
    assert nested(("a", "b", "c"), 3) == {"a": {"b": {"c": 3}}}
