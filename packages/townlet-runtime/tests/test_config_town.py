from pathlib import Path

import pytest
from config_content import config_of

from townlet_behavior import ScriptedConfig
from townlet_behavior.commitment import CommitmentConfig
from townlet_runtime.config import bridge_config, load_config, script_config, town_config
from townlet_runtime.errors import ConfigError
from townlet_runtime.town.config import (
    LifecycleConfig,
    PersonalityConfig,
    RivalryConfig,
    ScheduledIntent,
    SocialConfig,
    TownConfig,
)

SCENARIOS = Path(__file__).parent / "data" / "scenarios"


def test_the_built_in_config_is_the_town_as_it_is_by_itself() -> None:
    assert town_config(load_config(None).config) == TownConfig()
    assert script_config(load_config(None).config) == ScriptedConfig()


def test_a_scenario_becomes_the_town_it_describes() -> None:
    town = town_config(load_config(SCENARIOS / "kitchen_breakfast.yaml").config)
    assert [(a.id, a.position, a.needs, a.wallet) for a in town.agents] == [
        ("alice", (11, 12), (0.7, 0.6, 0.5), 1.5),
        ("bob", (13, 12), (0.6, 0.7, 0.6), 1.2),
    ]
    assert [(o.id, o.type, o.position) for o in town.objects] == [
        ("stove_1", "stove", (12, 12)),
        ("fridge_1", "fridge", (12, 13)),
    ]
    assert (town.population, town.episode_ticks, town.grid_size) == (2, 40, (24, 24))
    assert (town.queue.cooldown_ticks, town.queue.ghost_step_after) == (5, 1)
    alice, bob = (agent.schedule for agent in town.agents)
    cook = {"affordance_id": "cook"}
    assert alice == (
        ScheduledIntent(kind="request", object_id="fridge_1", **cook),
        ScheduledIntent(kind="start", object_id="stove_1", **cook),
        ScheduledIntent(kind="wait"),
    )
    assert bob == (alice[2], alice[0], alice[1])
    assert town.needs_decay == (0.0, 0.0, 0.0)
    assert (town.rewards.survival_tick, town.rewards.needs_weights) == (0.0, (1.0, 0.5, 0.6))


def test_relations_rivalry_and_characters_are_those_of_the_file() -> None:
    content = {
        "features": {
            "stages": {"relationships": "A", "social_rewards": "C2"},
            "behavior": {"personality_profiles": True, "reward_multipliers": True},
        },
        "rewards": {
            "social": {
                "C1_chat_base": 0.02,
                "C1_coeff_trust": 0.4,
                "C1_coeff_fam": 0.5,
                "C2_avoid_conflict": 0.01,
            }
        },
        "conflict": {"rivalry": {"avoid_threshold": 0.5, "max_edges": 3, "queue_length_boost": 0.1}},
        "personalities": {"distribution": {"stoic": 2.0, "balanced": 1.0}, "overrides": {"bob": "socialite"}},
        "lifecycle": {"respawn_delay_ticks": 3, "departure_rate": 0.25, "away_ticks": 4},
        "social": {"chat_cooldown_ticks": 5, "takeover_ticks": 6, "max_edges": 7},
        "scenario": {"agents": [{"id": "a", "personality_profile": "industrious"}]},
    }
    config = config_of(content)
    town = town_config(config)
    assert town.social == SocialConfig(
        relationships=True,
        social_rewards="C2",
        chat_base=0.02,
        coeff_trust=0.4,
        coeff_familiarity=0.5,
        avoid_conflict=0.01,
        chat_cooldown_ticks=5,
        takeover_ticks=6,
        max_edges=7,
    )
    assert town.rivalry == RivalryConfig(avoid_threshold=0.5, max_edges=3, queue_length_boost=0.1)
    assert town.personality == PersonalityConfig(
        distribution={"stoic": 2.0, "balanced": 1.0},
        overrides={"bob": "socialite"},
        profiles=True,
        reward_multipliers=True,
    )
    assert town.lifecycle == LifecycleConfig(respawn_delay_ticks=3, departure_rate=0.25, away_ticks=4)
    assert town.agents[0].personality_profile == "industrious"
    script = script_config(config)
    assert (script.personality_profiles, script.reward_multipliers) == (True, True)


def test_a_silent_file_is_the_originals_town_without_company() -> None:
    town = town_config(config_of({}))
    assert (town.social.relationships, town.social.social_rewards) == (False, "OFF")
    assert (town.lifecycle.departure_rate, town.lifecycle.respawn_delay_ticks) == (0.0, 0)
    assert town.rivalry == RivalryConfig()
    assert town.personality == PersonalityConfig()


def test_the_stage_of_training_is_that_of_every_command() -> None:
    content = {"features": {"stages": {"social_rewards": "C3"}}, "training": {"social_reward_stage_override": "C1"}}
    assert town_config(config_of(content)).social.social_rewards == "C1"
    content["training"]["social_reward_stage_override"] = "OFF"
    assert town_config(config_of(content)).social.social_rewards == "OFF"


def test_what_is_wanted_of_an_object_that_the_town_does_not_have_is_a_tick_of_waiting() -> None:
    objects = [{"id": "bench_1", "type": "bench"}, {"id": "bed_1", "type": "bed"}]
    schedule = [{"kind": "start", "object": "bench_1"}, {"kind": "start", "object": "bed_1"}]
    content = {"scenario": {"objects": objects, "agents": [{"id": "gina", "schedule": schedule}]}}
    (gina,) = town_config(config_of(content)).agents
    assert gina.schedule == (ScheduledIntent(kind="wait"), ScheduledIntent(kind="start", object_id="bed_1"))


def test_the_bound_of_the_environment_is_one_of_the_town_too() -> None:
    bounded = {"environment": {"max_episode_ticks": 50}}
    assert town_config(config_of(bounded)).episode_ticks == 50
    assert town_config(config_of({**bounded, "scenario": {"ticks": 9}})).episode_ticks == 9


def test_jobs_prices_and_day_are_those_of_the_file() -> None:
    config = load_config(SCENARIOS / "poc_hybrid.yaml").config
    town = town_config(config)
    grocer, barista = town.jobs
    assert (grocer.name, grocer.start_tick, grocer.end_tick, grocer.wage_rate) == ("grocer", 180, 360, 0.02)
    assert (barista.lateness_penalty, barista.location) == (0.12, (1, 0))
    assert (town.ticks_per_day, town.local_window, town.episode_ticks) == (1440, 11, 1000)
    assert town.affordances["fridge"].cost == 0.4
    assert (town.affordances["stove"].duration, town.affordances["stove"].effects) == (40, (0.1, -0.02, -0.05))


def test_ours_wins_over_the_originals_key_for_the_same() -> None:
    content = {"town": {"ticks_per_day": 60, "local_window": 5, "episode_ticks": 7}, "scenario": {"ticks": 9}}
    town = town_config(config_of(content))
    assert (town.ticks_per_day, town.local_window, town.episode_ticks) == (60, 5, 7)
    assert town_config(config_of({"scenario": {"ticks": 9}})).episode_ticks == 9


def test_affordances_can_be_changed_value_by_value() -> None:
    content = {
        "economy": {"meal_cost": 0.3, "cook_energy_cost": 0.07, "wage_income": 0.5},
        "town": {
            "affordances": {
                "bed": {"duration": 4, "effects": {"energy": 0.9}},
                "fridge": {"cost": 0.1, "uses_stock": False},
                "stove": {"meals_made": 2},
            }
        },
        "jobs": {"cook": {"start_tick": 1, "end_tick": 2}},
    }
    town = town_config(config_of(content))
    own = TownConfig().affordances
    assert (town.affordances["bed"].duration, town.affordances["bed"].effects) == (4, (*own["bed"].effects[:2], 0.9))
    assert (town.affordances["fridge"].cost, town.affordances["fridge"].uses_stock) == (0.1, False)
    assert (town.affordances["stove"].meals_made, town.affordances["stove"].effects[2]) == (2, -0.07)
    assert town.affordances["shower"] == own["shower"]
    assert town.jobs[0].wage_rate == 0.5


def test_one_commitment_length_is_for_every_kind_but_waiting() -> None:
    silent = town_config(config_of({})).option_ticks
    assert silent["wait"] == 0
    assert {ticks for kind, ticks in silent.items() if kind != "wait"} == {15}
    changed = town_config(config_of({"policy_runtime": {"option_commit_ticks": {"move": 4}}})).option_ticks
    assert changed == {**TownConfig().option_ticks, "move": 4}
    with pytest.raises(ConfigError, match=r"`policy_runtime.option_commit_ticks`: expected kinds among .*, got mvoe"):
        town_config(config_of({"policy_runtime": {"option_commit_ticks": {"mvoe": 4}}}))


def test_a_town_that_contradicts_itself_is_refused() -> None:
    content = {"world": {"grid_size": [4, 4]}, "scenario": {"agents": [{"id": "a", "position": [9, 9]}]}}
    with pytest.raises(ConfigError, match=r"^town.yaml: `scenario.agents\[a\]`: expected a cell of the 4 x 4 grid"):
        config_of(content)
    with pytest.raises(ConfigError, match=r"`personalities.overrides`: expected one of balanced, .*, got 'shy'"):
        config_of({"personalities": {"overrides": {"a": "shy"}}})


def test_the_bridge_has_ratio_commitments_and_the_least_ratio_that_is_learned_from() -> None:
    bridge = bridge_config(load_config(None).config, ratio=0.25)
    assert (bridge.ratio, bridge.min_ratio) == (0.25, 0.1)
    assert bridge.commitment == CommitmentConfig(ticks=TownConfig().option_ticks)
    assert bridge_config(config_of({"ppo": {"min_ratio": 0.3}}), ratio=0.5).min_ratio == 0.3


def test_the_script_has_the_thresholds_of_the_file() -> None:
    behavior = {"hunger_threshold": 0.1, "hygiene_threshold": 0.2, "energy_threshold": 0.3, "job_arrival_buffer": 4}
    assert script_config(config_of({"behavior": behavior})) == ScriptedConfig(**behavior)
