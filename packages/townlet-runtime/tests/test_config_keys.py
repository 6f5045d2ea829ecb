from townlet_runtime.config.keys import idle_keys, keys_without_effect, known_keys, nearest_key
from townlet_runtime.config.schema import Config


def test_keys_of_lists_and_mappings_are_known_with_a_placeholder() -> None:
    known = set(known_keys())
    assert {("seed",), ("town", "agents"), ("jobs", "*", "start_tick"), ("scenario", "agents", "*", "wallet")} <= known
    assert ("scenario", "agents", "*", "schedule", "*", "object") in known
    assert ("ppo", "gamma") in known
    assert len(known) == len(known_keys())


def test_the_nearest_key_is_beside_it_unless_another_section_has_it() -> None:
    assert nearest_key(["ppo", "gamm"]) == "ppo.gamma"
    assert nearest_key(["scenario", "agents", "2", "walet"]) == "scenario.agents.2.wallet"
    assert nearest_key(["training", "hunger_threshold"]) == "behavior.hunger_threshold"
    assert nearest_key(["scenaro"]) == "scenario"
    assert nearest_key(["ppo", "vlc"]) == "ppo.value_loss_coef"


def test_only_what_was_given_is_named_and_once() -> None:
    idle = {"kind": "chat", "quality": 0.5}
    content = {
        "telemetry": {},
        "economy": {"rent": 1.0, "meal_cost": 0.5},
        "scenario": {"agents": [{"id": "a", "schedule": [idle, idle]}, {"id": "b", "schedule": [idle]}]},
        "features": {"relationship_modifiers": True, "behavior": {"personality_profiles": True}},
        "affordances": {"affordances_file": "x.yaml", "runtime": {"hook_allowlist": ["os.path"]}},
    }
    assert sorted(keys_without_effect(Config.model_validate(content))) == [
        "affordances.runtime",
        "economy.rent",
        "features.relationship_modifiers",
        "scenario.agents[].schedule[].quality",
        "telemetry",
    ]
    assert keys_without_effect(Config()) == ()


def test_what_describes_the_town_has_no_effect_elsewhere() -> None:
    content = {
        "environment": {"name": "gymnasium:CartPole-v1", "vectorization": "sync", "settings": {"gravity": 9}},
        "town": {"agents": 3},
        "rewards": {"social": {"C1_chat_base": 0.02}},
        "scenario": {"ticks": 9, "seed": 3, "agents": [{"id": "a"}]},
        "policy_runtime": {"option_commit_ticks": 4},
        "ppo": {"gamma": 0.9},
    }
    gymnasium = Config.model_validate(content)
    described = {"town", "rewards", "scenario.agents", "policy_runtime"}
    assert set(keys_without_effect(gymnasium)) == described
    content["environment"] = {**content["environment"], "name": "pettingzoo:mpe2.simple_spread_v3"}
    assert set(keys_without_effect(Config.model_validate(content))) == {*described, "environment.vectorization"}


def test_the_town_has_no_settings_and_one_way_to_be_stepped() -> None:
    section = {"name": "town", "settings": {"size": 3}, "vectorization": "native", "max_episode_ticks": 5}
    config = Config.model_validate({"environment": section})
    assert keys_without_effect(config) == ("environment.settings", "environment.vectorization")
    silent = Config.model_validate({"environment": {"name": "town", "settings": {}, "vectorization": "auto"}})
    assert keys_without_effect(silent) == ()
    assert "ppo" not in idle_keys(config)
