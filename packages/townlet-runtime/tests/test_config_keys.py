from townlet_runtime.config.keys import keys_without_effect, known_keys, nearest_key
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
    content = {
        "telemetry": {},
        "economy": {"rent": 1.0, "meal_cost": 0.5},
        "scenario": {
            "agents": [{"id": "a", "schedule": []}, {"id": "b", "schedule": [], "personality_profile": "stoic"}]
        },
        "features": {"behavior": {"personality_profiles": True, "reward_multipliers": False}},
    }
    assert sorted(keys_without_effect(Config.model_validate(content))) == [
        "economy.rent",
        "features.behavior.personality_profiles",
        "scenario.agents[].personality_profile",
        "scenario.agents[].schedule",
        "telemetry",
    ]
    assert keys_without_effect(Config()) == ()
