from pathlib import Path
from typing import Any

import pytest
from config_content import config_of
from hypothesis import given
from hypothesis import strategies as st

from townlet_runtime.config import (
    Config,
    Difference,
    config_differences,
    config_digest,
    config_from,
    dump_config,
    load_config,
    parse_override,
    script_config,
    town_config,
    training_mode,
    training_settings,
)
from townlet_runtime.config.dump import noted, resolved
from townlet_trajectory.storage.yaml import parse_yaml


@pytest.mark.parametrize("source", ["anneal", "bc", "ppo", "replay", "rollout", "mixed"])
def test_the_source_of_a_file_is_the_mode(source: str) -> None:
    assert training_mode(config_of({"training": {"source": source}})) == source


def test_a_silent_file_anneals() -> None:
    assert training_mode(config_of({})) == "anneal"


SCENARIOS = sorted((Path(__file__).parent / "data" / "scenarios").glob("*.yaml"))
SHARE = st.floats(0.0, 1.0)
CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 2**31 - 1),
        "config_id": st.text(st.characters(exclude_categories=["C"]), max_size=12),
        "preset": st.sampled_from([None, "town", "contract"]),
        "town": st.fixed_dictionaries(
            {},
            optional={
                "agents": st.integers(1, 50),
                "episode_ticks": st.none() | st.integers(1, 999),
                "affordances": st.fixed_dictionaries({"bed": st.fixed_dictionaries({"cost": SHARE})}),
            },
        ),
        "economy": st.dictionaries(st.sampled_from(["meal_cost", "wage_income", "rent"]), SHARE),
        "rewards": st.fixed_dictionaries(
            {}, optional={"punctuality_bonus": st.floats(0, 0.1), "discount": st.floats(0, 0.999)}
        ),
        "jobs": st.dictionaries(
            st.text("abc", min_size=1, max_size=3),
            st.fixed_dictionaries({"start_tick": st.integers(0, 99)}),
            max_size=3,
        ),
        "ppo": st.none()
        | st.fixed_dictionaries(
            {},
            optional={
                "gamma": SHARE,
                "value_clip": st.none() | st.floats(0.1, 1.0),
                "mini_batch_size": st.integers(1, 99),
                "num_mini_batches": st.integers(1, 99),
                "target_kl": st.none() | st.floats(1e-6, 1.0),
            },
        ),
        "training": st.fixed_dictionaries(
            {},
            optional={
                "source": st.sampled_from(["anneal", "ppo", "bc", "rollout"]),
                "rollout_ticks": st.integers(1, 99),
            },
        ),
        "network": st.fixed_dictionaries(
            {}, optional={"hidden_sizes": st.lists(st.integers(1, 9), min_size=1, max_size=3)}
        ),
        "policy_runtime": st.fixed_dictionaries(
            {
                "option_commit_ticks": st.integers(0, 30)
                | st.dictionaries(st.sampled_from(["move", "work"]), st.integers(0, 30))
            }
        ),
        "telemetry": st.just({"diff_enabled": False}),
        "environment": st.fixed_dictionaries(
            {},
            optional={
                "name": st.sampled_from(["town", "gymnasium:CartPole-v1", "pettingzoo:mpe2.simple_spread_v3"]),
                "settings": st.dictionaries(st.sampled_from(["a", "b"]), st.none() | st.integers() | st.booleans()),
                "vectorization": st.sampled_from(["auto", "sync"]),
                "actions": st.sampled_from(["auto", "joint", "parts"]),
                "observation_kinds": st.dictionaries(
                    st.sampled_from(["a", "b"]), st.sampled_from(["flat", "entities"])
                ),
                "max_entities": st.none() | st.integers(1, 4096),
                "global_state": st.booleans(),
                "max_episode_ticks": st.none() | st.integers(1, 99),
            },
        ),
        "features": st.fixed_dictionaries(
            {
                "stages": st.fixed_dictionaries(
                    {},
                    optional={
                        "relationships": st.sampled_from(["OFF", "A", "C3"]),
                        "social_rewards": st.sampled_from(["OFF", "C1", "C2", "C3"]),
                    },
                ),
                "behavior": st.fixed_dictionaries({}, optional={"personality_profiles": st.booleans()}),
            }
        ),
        "conflict": st.fixed_dictionaries(
            {"rivalry": st.fixed_dictionaries({}, optional={"decay_per_tick": SHARE, "max_edges": st.integers(1, 32)})}
        ),
        "personalities": st.fixed_dictionaries(
            {},
            optional={
                "distribution": st.dictionaries(
                    st.sampled_from(["balanced", "stoic"]), st.floats(0.1, 1.0), min_size=1
                ),
                "overrides": st.just({"alice": "stoic"}),
            },
        ),
        "lifecycle": st.fixed_dictionaries({}, optional={"departure_rate": SHARE, "away_ticks": st.integers(1, 99)}),
    },
)


def loaded_again(config: Config) -> Config:
    content = parse_yaml(dump_config(config).encode(), "dump")
    assert isinstance(content, dict)
    loaded = config_from(content, source="dump")
    assert loaded.warning is None
    return loaded.config


def assert_same_meaning(one: Config, other: Config) -> None:
    assert training_settings(one) == training_settings(other)
    assert training_mode(one) == training_mode(other)
    named = [(c.config_id, c.seed, c.preset, c.environment.name, c.environment.max_episode_ticks) for c in (one, other)]
    assert named[0] == named[1]
    if one.environment.is_town:
        assert town_config(one) == town_config(other)
        assert script_config(one) == script_config(other)
    else:
        assert one.environment.settings == other.environment.settings


@given(CONFIGS)
def test_dumped_and_loaded_a_config_means_the_same(content: dict[str, object]) -> None:
    config = config_of(content)
    again = loaded_again(config)
    assert_same_meaning(config, again)
    assert dump_config(again) == dump_config(config)
    assert config_digest(again) == config_digest(config)
    assert config_differences(config, again) == []


def test_original_files_mean_the_same_and_need_no_warning(tmp_path: Path) -> None:
    for path in SCENARIOS:
        config = load_config(path).config
        copy = tmp_path / path.name
        copy.write_text(dump_config(config))
        again = load_config(copy)
        assert again.warning is None
        assert config_digest(again.config) == config_digest(config)
        assert_same_meaning(config, again.config)


def test_only_keys_with_an_effect_are_written() -> None:
    text = dump_config(load_config(SCENARIOS[1]).config)
    assert "telemetry" not in text
    assert "weather_seed" not in text
    assert "meal_cost: 0.4" in text
    assert "affordances_file" not in text
    assert "null" not in dump_config(config_of({"town": {"agents": 3}}))
    elsewhere = resolved(config_of({"environment": {"name": "gymnasium:CartPole-v1"}, "seed": 3}))
    assert list(elsewhere) == ["config_id", "seed", "environment", "policy", "promotion"]


def test_a_config_is_written_in_the_names_of_python() -> None:
    rivalry = {"conflict": {"rivalry": {"max_edges": 2}}}
    text = dump_config(config_of({"ppo": {"gamma": 0.5, "value_clip": None}, **rivalry}))
    assert "ppo: {discount: 0.5, value_clip: null}" in text
    assert "\nrivalry:" in text and "\nconflict:" not in text


def test_a_run_of_the_first_release_has_the_digest_that_it_was_begun_with() -> None:
    # Of the built-in config and of another one, as townlet-runtime 0.1.1 computed them.
    then = ["training.total_env_steps=200000", "bc.num_epochs=8", "anneal.blend_fraction=0.3"]
    built_in = load_config(None, [parse_override(each) for each in then]).config
    other = config_of({"ppo": {"gamma": 0.9}})
    assert config_digest(built_in) == "46a1d492652377fea96880b249ee5926502722b098e3651cc2766f96fe564a1e"
    assert config_digest(other) == "74304906852e2f79fd01fae3298cdf8cd1e4c86579dfa2ffb75dab7d79dc317a"


@pytest.mark.parametrize(
    ("environment", "digest"),
    [
        ({"name": "gymnasium:CartPole-v1"}, "c3bd62a4ad0a856ea34a9db52db3dce84c5ca351cc364f55473b620a3d198f7b"),
        (
            {"name": "pettingzoo:mpe2.simple_spread_v3", "max_episode_ticks": 9},
            "acf11fcae8637e339263bfc4095154a2f13ea75741dc569fbca3afc77389b8ce",
        ),
    ],
)
def test_a_run_in_another_world_has_the_digest_that_it_was_begun_with(environment: Any, digest: str) -> None:
    # As townlet-runtime 0.2.0 computed them.
    assert config_digest(config_of({"environment": environment})) == digest


@pytest.mark.parametrize(
    "said",
    [
        {"actions": "parts"},
        {"global_state": True},
        {"max_entities": 3},
        {"observation_kinds": {"board": "channels_last"}},
    ],
)
def test_a_key_that_came_later_is_noted_where_it_says_something(said: dict[str, Any]) -> None:
    name = {"name": "pettingzoo:mpe2.simple_spread_v3"}
    silent, config = (config_of({"environment": {**name, **more}}) for more in ({}, said))
    added = {"actions", "global_state", "max_entities", "observation_kinds"}
    section = noted(config)["environment"]
    assert isinstance(section, dict) and {key: section[key] for key in section if key in added} == said
    assert config_digest(silent) != config_digest(config)
    again = config_of(parse_yaml(dump_config(config).encode(), "config.yaml"))
    assert config_digest(again) == config_digest(config)


def test_a_section_that_came_later_is_noted_where_it_says_something() -> None:
    silent, said = config_of({}), config_of({"policy": {"on_policy_error": "script"}})
    assert "policy" in resolved(silent) and "policy" not in noted(silent)
    assert noted(said)["policy"] == {"on_policy_error": "script"}
    assert config_digest(silent) != config_digest(said)
    (difference,) = config_differences(silent, said)
    assert difference == ("policy.on_policy_error", "raise", "script")
    # A run's own file says everything, and means the same when it is read back.
    for config in (silent, said):
        assert config_digest(config_of(parse_yaml(dump_config(config).encode(), "config.yaml"))) == config_digest(
            config
        )


def test_a_digest_is_that_of_the_meaning() -> None:
    one = config_of({"ppo": {"gamma": 0.5}, "telemetry": {}, "town": {"agents": 3}})
    same = config_of({"town": {"num_agents": 3.0}, "ppo": {"discount": 5e-1}})
    other = config_of({"town": {"agents": 4}, "ppo": {"gamma": 0.5}})
    assert config_digest(one) == config_digest(same) != config_digest(other)
    assert len(config_digest(one)) == 64


def test_differences_name_the_key_and_both_values() -> None:
    one = config_of({"town": {"agents": 3}, "rewards": {"wage_rate": 0.02}, "ppo": {"value_clip": None}})
    other = config_of({"rewards": {"wage_rate": 0.03}, "seed": 5, "town": {"agents": 3}})
    assert config_differences(one, other) == [
        Difference("ppo.value_clip", None, None),
        Difference("rewards.wage_rate", 0.02, 0.03),
        Difference("seed", None, 5),
    ]
    assert config_differences(one, one) == []
