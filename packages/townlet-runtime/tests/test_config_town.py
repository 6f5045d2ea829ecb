import math
import re
import shutil
from importlib import resources
from pathlib import Path

import pytest
from config_content import config_of

from townlet_behavior import ScriptedConfig
from townlet_behavior.commitment import CommitmentConfig
from townlet_runtime.config import bridge_config, dump_config, load_config, script_config, town_config
from townlet_runtime.config.town import (
    CONDITIONS,
    DEFAULT_FILE,
    HOOKS,
    AffordanceFile,
    affordance_specs,
    read_affordances,
    with_affordances,
)
from townlet_runtime.errors import ConfigError
from townlet_runtime.town.config import (
    AffordanceSpec,
    Effects,
    LifecycleConfig,
    ObjectSpec,
    PersonalityConfig,
    RivalryConfig,
    ScheduledIntent,
    SocialConfig,
    TownConfig,
)
from townlet_runtime.town.objects import OBJECT_TYPES
from townlet_trajectory.storage.yaml import read_yaml

SAMPLE = Path(__file__).parent / "data" / "affordances_core.yaml"
BED = "- {id: rest, object_type: bed, duration: 6, effects: {energy: 0.8}}\n"


def read(tmp_path: Path, text: str) -> AffordanceFile:
    (tmp_path / "a.yaml").write_text(text)
    file, place = read_affordances("a.yaml", tmp_path, source="town.yaml")
    assert place == tmp_path / "a.yaml"
    return file


def test_the_originals_file_is_read_whole() -> None:
    file, place = read_affordances(SAMPLE.name, SAMPLE.parent, source="town.yaml")
    assert place == SAMPLE
    assert [(kind, entry.id, entry.duration) for kind, entry in file.affordances.items()] == [
        ("shower", "use_shower", 30),
        ("fridge", "eat_meal", 15),
        ("stove", "cook_meal", 40),
        ("bed", "rest_sleep", 60),
    ]
    shower = file.affordances["shower"]
    assert (shower.effects.hygiene, shower.effects.energy, shower.effects.hunger) == (0.45, -0.03, None)
    assert shower.effects.money == -0.2
    assert file.objects == ()
    assert file.without_effect == (f"{SAMPLE}: shower_1, bed_1, fridge_1 (no position)",)


def test_the_built_in_copy_is_the_originals_file() -> None:
    built_in = resources.files("townlet_runtime.config").joinpath("data/affordances_core.yaml")
    with resources.as_file(built_in) as path:
        assert read_yaml(path) == read_yaml(SAMPLE)


def test_only_the_default_name_stands_for_the_built_in_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file, place = read_affordances(DEFAULT_FILE, tmp_path, source="town.yaml")
    assert place is None
    assert sorted(file.affordances) == sorted(OBJECT_TYPES)
    message = "town.yaml: `affordances.affordances_file`: expected an affordance file, found none at "
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_affordances("configs/affordances/cor.yaml", tmp_path, source="town.yaml")


def test_beside_the_config_comes_before_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside, working = tmp_path / "beside", tmp_path / "working"
    for folder in (beside / "configs/affordances", working / "configs/affordances"):
        folder.mkdir(parents=True)
        shutil.copy(SAMPLE, folder / "core.yaml")
    monkeypatch.chdir(working)
    assert read_affordances(DEFAULT_FILE, beside, source="c")[1] == beside / DEFAULT_FILE
    (beside / DEFAULT_FILE).unlink()
    assert read_affordances(DEFAULT_FILE, beside, source="c")[1] == Path(DEFAULT_FILE)
    assert read_affordances(str(working / DEFAULT_FILE), beside, source="c")[1] == working / DEFAULT_FILE


def test_a_list_of_one_may_be_written_as_a_text(tmp_path: Path) -> None:
    text = "- {id: eat, object_type: fridge, duration: 2, effects: {hunger: 0.1}, preconds: 'meal_available  ==  true',"
    file = read(tmp_path, f"{text} hooks: {{before: on_attempt_eat}}}}")
    assert file.affordances["fridge"].preconds == ("meal_available  ==  true",)
    assert file.affordances["fridge"].hooks.before == ("on_attempt_eat",)


def test_objects_have_a_place_or_are_named(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        """
- {type: object, id: b1, object_type: bed, position: [2, 3], stock: {pillows: 2}}
- {type: object, id: b2, object_type: bed}
- {type: object, id: sofa_1, object_type: sofa, position: [1, 1]}
- {type: affordance, id: lounge, object_type: sofa, duration: 3, effects: {energy: 0.1}, preconds: [anything]}
""",
    )
    assert [(item.id, item.position) for item in file.objects] == [("b1", (2, 3)), ("sofa_1", (1, 1))]
    source = tmp_path / "a.yaml"
    assert file.without_effect == (
        f"{source}: b1 (stock)",
        f"{source}: b2 (no position)",
        f"{source}: lounge (type `sofa`)",
    )
    assert file.affordances == {}


def test_every_known_condition_and_hook_is_accepted_and_no_other(tmp_path: Path) -> None:
    for kind in OBJECT_TYPES:
        conditions = [name for name, kinds in CONDITIONS.items() if kind in kinds]
        hooks = {stage: list(names) for stage, names in HOOKS[kind].items()}
        entry = f"{{id: x, object_type: {kind}, duration: 1, effects: {{}}, preconds: {conditions}, hooks: {hooks}}}"
        assert read(tmp_path, f"- {entry}").affordances[kind].hooks.before == tuple(hooks["before"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 3", "expected a list of entries (`- id: ...`)"),
        ("- 3", "`[0]`: expected an entry (`key: value` lines), got 3"),
        ("- {object_type: bed, duration: 6, effects: {}}", "`[0].id`: must be there"),
        ("- {id: '', object_type: bed, duration: 6, effects: {}}", "`[0].id`: must be String should have at least 1"),
        ("- {id: a, object_type: bed, effects: {}}", "`a.duration`: must be there"),
        ("- {id: a, object_type: bed, duration: 0, effects: {}}", "`a.duration`: must be greater than or equal to 1"),
        ("- {id: a, object_type: bed, duration: 1.5, effects: {}}", "`a.duration`: must be a valid integer"),
        ("- {id: a, object_type: bed, duration: 1, effects: {joy: 1}}", "`a.effects.joy`: unknown key"),
        ("- {id: a, object_type: bed, duration: 1, effects: {energy: 2}}", "`a.effects.energy`: must be less than"),
        ("- {id: a, object_type: bed, duration: 1, effects: {money: 1}}", "`a.effects.money`: must be less than"),
        ("- {id: a, object_type: bed, duration: 1, effects: {}, cost: 2}", "`a.cost`: unknown key"),
        ("- {id: a, type: person, object_type: bed, duration: 1, effects: {}}", "`a.type`: must be 'affordance'"),
        ("- {id: a, type: object, object_type: bed, duration: 1}", "`a.duration`: unknown key"),
        (
            "- {id: a, object_type: bed, duration: 1, effects: {}, preconds: [power_on == false]}",
            "`a.preconds`: expected one of `occupied == false`, `power_on == true`, `water_on == true`, "
            "got `power_on == false`",
        ),
        (
            "- {id: a, object_type: bed, duration: 1, effects: {}, preconds: [meal_available == true]}",
            "`a.preconds`: expected one of `occupied == false`, `power_on == true`, `water_on == true`, got `meal_",
        ),
        (
            "- {id: a, object_type: stove, duration: 1, effects: {}, hooks: {before: ['os:system']}}",
            "`a.hooks.before`: expected `on_attempt_cook` for a stove, got `os:system` (a file must not name code",
        ),
        (
            "- {id: a, object_type: bed, duration: 1, effects: {}, hooks: {fail: [on_no_power]}}",
            "`a.hooks.fail`: expected none for a bed, got `on_no_power`",
        ),
        (
            "- {id: a, object_type: bed, duration: 1, effects: {}, hooks: {during: [x]}}",
            "`a.hooks.during`: unknown key",
        ),
        (BED + BED, "`rest.id`: another entry has this id"),
        (BED + BED.replace("rest", "nap"), "`nap.object_type`: a type has one affordance, and that of `bed` is `rest`"),
    ],
)
def test_what_is_wrong_is_named_by_file_entry_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'a.yaml'}: ")
    assert message in str(caught.value)


OWN = TownConfig().affordances


def specs(content: dict[str, object], path: Path = SAMPLE) -> dict[str, AffordanceSpec]:
    file, _ = read_affordances(path.name, path.parent, source="town.yaml")
    return dict(affordance_specs(with_affordances(config_of(content), file)))


def test_without_a_file_the_town_has_its_own_with_the_prices_of_the_config() -> None:
    found = affordance_specs(config_of({"economy": {"meal_cost": 0.3, "cook_energy_cost": 0.07}}))
    assert found["fridge"].cost == 0.3
    assert found["stove"].effects == (0.1, -0.02, -0.07)
    assert found["shower"] == OWN["shower"]


def test_the_originals_file_says_what_each_use_takes_and_does() -> None:
    assert specs({}) == {
        "fridge": AffordanceSpec(
            id="eat_meal", duration=15, effects=Effects(0.4, 0.0, 0.05), cost=0.4, uses_stock=True
        ),
        # Hygiene, the price and the meals are not in the file: economy's and the town's own.
        "stove": AffordanceSpec(
            id="cook_meal", duration=40, effects=Effects(0.1, -0.02, -0.05), cost=0.15, uses_stock=True, meals_made=4
        ),
        "shower": AffordanceSpec(id="use_shower", duration=30, effects=Effects(0.0, 0.45, -0.03), cost=0.2),
        "bed": AffordanceSpec(id="rest_sleep", duration=60, effects=Effects(0.0, 0.0, 0.8)),
    }


def test_prices_that_the_config_states_win_over_the_file_and_its_silence_does_not() -> None:
    stated = {"meal_cost": 0.9, "cook_energy_cost": 0.2, "cook_hygiene_cost": 0.3, "ingredients_cost": 0.7}
    found = specs({"economy": stated})
    assert found["fridge"].cost == 0.9
    assert (found["stove"].cost, found["stove"].effects) == (0.7, (0.1, -0.3, -0.2))
    assert found["shower"].cost == 0.2


def test_overrides_win_over_the_file_value_by_value() -> None:
    said = {"bed": {"duration": 4}, "fridge": {"effects": {"energy": 0.5}, "cost": 0.0, "uses_stock": False}}
    found = specs({"town": {"affordances": said}})
    assert (found["bed"].duration, found["bed"].effects) == (4, (0.0, 0.0, 0.8))
    assert (found["fridge"].duration, found["fridge"].effects) == (15, (0.4, 0.0, 0.5))
    assert (found["fridge"].cost, found["fridge"].uses_stock) == (0.0, False)


def test_stock_is_taken_and_meals_are_made_where_the_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        """
- {id: snack, object_type: fridge, duration: 2, effects: {hunger: 0.1}}
- {id: cook, object_type: stove, duration: 3, effects: {hunger: 0.1, hygiene: -0.1}}
"""
    )
    found = specs({}, path)
    assert found["fridge"] == AffordanceSpec(id="snack", duration=2, effects=Effects(0.1, 0.0, 0.0), cost=0.4)
    # Energy is not in the file: what economy says cooking takes.
    assert found["stove"] == AffordanceSpec(id="cook", duration=3, effects=Effects(0.1, -0.1, -0.05), cost=0.15)
    assert found["bed"] == OWN["bed"]
    path.write_text(
        """
- {id: eat, object_type: fridge, duration: 2, effects: {hunger: 0.1}, preconds: [meal_available == true]}
- {id: cook, object_type: stove, duration: 3, effects: {}, hooks: {before: [on_attempt_cook], after: [on_finish_cook]}}
"""
    )
    found = specs({}, path)
    assert (found["fridge"].uses_stock, found["fridge"].meals_made) == (True, 0)
    assert (found["stove"].uses_stock, found["stove"].meals_made) == (True, OWN["stove"].meals_made)


def test_objects_with_a_place_join_those_of_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        """
- {type: object, id: b1, object_type: bed, position: [2, 3]}
- {type: object, id: f1, object_type: fridge, position: [4, 5]}
"""
    )
    path = tmp_path / "town.yaml"
    path.write_text("{affordances: {affordances_file: a.yaml}, scenario: {objects: [{id: b1, type: bed}]}}")
    town = town_config(load_config(path).config)
    assert town.objects == (
        ObjectSpec(id="b1", type="bed", position=(0, 0)),
        ObjectSpec(id="f1", type="fridge", position=(4, 5)),
    )


def test_a_dumped_config_needs_the_file_no_more(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SAMPLE.read_text())
    path = tmp_path / "town.yaml"
    path.write_text("{affordances: {affordances_file: a.yaml}, economy: {meal_cost: 0.9}}")
    config = load_config(path).config
    copy = tmp_path / "elsewhere" / "town.yaml"
    copy.parent.mkdir()
    copy.write_text(dump_config(config))
    assert "affordances_file" not in copy.read_text()
    assert town_config(load_config(copy).config) == town_config(config)


def test_silence_is_no_file_and_its_name_says_the_originals(tmp_path: Path) -> None:
    path = tmp_path / "town.yaml"
    path.write_text("seed: 3")
    silent = load_config(path)
    assert (silent.warning, town_config(silent.config).affordances) == (None, OWN)
    path.write_text("affordances: {affordances_file: configs/affordances/core.yaml}")
    named = load_config(path)
    assert town_config(named.config).affordances["bed"].duration == 60
    assert named.warning == (
        f"{path}: without effect here: affordances.affordances_file (found no configs/affordances/core.yaml; the "
        "built-in copy of it is used), configs/affordances/core.yaml: shower_1, bed_1, fridge_1 (no position)"
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


def test_objects_of_other_types_stay_with_what_schedules_want_of_them() -> None:
    objects = [{"id": "bench_1", "type": "bench"}, {"id": "bed_1", "type": "bed"}]
    schedule = [{"kind": "start", "object": "bench_1"}, {"kind": "start", "object": "bed_1"}]
    content = {"scenario": {"objects": objects, "agents": [{"id": "gina", "schedule": schedule}]}}
    town = town_config(config_of(content))
    assert [(item.id, item.type) for item in town.objects] == [("bench_1", "bench"), ("bed_1", "bed")]
    (gina,) = town.agents
    assert gina.schedule == tuple(ScheduledIntent(kind="start", object_id=name) for name in ("bench_1", "bed_1"))


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


def test_one_commitment_length_is_for_every_kind_but_waiting_steps_and_giving_up() -> None:
    """A step away from a rival, held for 15 ticks, would walk across the town."""
    silent = town_config(config_of({})).option_ticks
    assert silent == {"move": 1, "wait": 0, "chat": 15, "request": 15, "start": 15, "work": 15, "release": 1}
    changed = town_config(config_of({"policy_runtime": {"option_commit_ticks": {"move": 4, "chat": 4}}})).option_ticks
    assert changed == {**TownConfig().option_ticks, "chat": 4}
    bridge = bridge_config(config_of({"policy_runtime": {"option_commit_ticks": 9}}), ratio=0.0)
    assert (bridge.commitment.ticks["move"], bridge.commitment.ticks["chat"]) == (1, 9)  # type: ignore[index]
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


def test_the_section_of_the_policy_reaches_the_bridge() -> None:
    silent = bridge_config(config_of({}), ratio=0.0)
    assert (silent.on_policy_error, silent.temperature, silent.delay_ticks, silent.handover_ticks) == ("raise", 1, 0, 0)
    said = {"on_policy_error": "script", "temperature": 0.5, "reaction_delay_ticks": 3, "handover_ticks": 8}
    bridge = bridge_config(config_of({"policy": {**said, "blend": "switch"}}), ratio=0.0)
    assert (silent.blend, bridge.blend) == ("mixture", "switch")
    assert (bridge.on_policy_error, bridge.temperature, bridge.delay_ticks, bridge.handover_ticks) == (
        "script",
        0.5,
        3,
        8,
    )


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("blend", "both", "must be 'mixture' or 'switch', got 'both'"),
        ("on_policy_error", "ignore", "must be 'raise' or 'script', got 'ignore'"),
        ("temperature", 0.0, "must be greater than 0, got 0$"),
        ("temperature", 1e-320, "must be a number above 0, got 1e-320"),
        ("temperature", math.inf, "must be "),
        ("reaction_delay_ticks", 65, "must be less than or equal to 64, got 65"),
        ("reaction_delay_ticks", 1.5, "must be "),
        ("handover_ticks", -1, "must be greater than or equal to 0, got -1"),
        ("on_policy_eror", "script", "unknown key; the nearest known key is `policy.on_policy_error`"),
    ],
)
def test_a_wrong_value_of_the_policy_is_named_by_its_key(key: str, value: object, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"^town.yaml: `policy.{key}`: {problem}"):
        config_of({"policy": {key: value}})


def test_commitments_of_another_vocabulary_go_before_those_of_the_town() -> None:
    own = CommitmentConfig(ticks={"dig": 7})
    assert bridge_config(config_of({}), ratio=0.0, commitment=own).commitment == own


def test_the_script_has_the_thresholds_of_the_file() -> None:
    behavior = {"hunger_threshold": 0.1, "hygiene_threshold": 0.2, "energy_threshold": 0.3, "job_arrival_buffer": 4}
    assert script_config(config_of({"behavior": behavior})) == ScriptedConfig(**behavior)
