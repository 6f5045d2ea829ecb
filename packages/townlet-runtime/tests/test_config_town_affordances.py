from pathlib import Path

from townlet_runtime.config import Config, dump_config, load_config, town_config
from townlet_runtime.config.affordances import read_affordances
from townlet_runtime.config.town_affordances import affordance_specs, with_affordances
from townlet_runtime.town.config import AffordanceSpec, ObjectSpec, TownConfig

SAMPLE = Path(__file__).parent / "data" / "affordances_core.yaml"
OWN = TownConfig().affordances


def specs(content: dict[str, object], path: Path = SAMPLE) -> dict[str, AffordanceSpec]:
    file, _ = read_affordances(path.name, path.parent, source="town.yaml")
    return dict(affordance_specs(with_affordances(Config.model_validate(content), file)))


def test_without_a_file_the_town_has_its_own_with_the_prices_of_the_config() -> None:
    found = affordance_specs(Config.model_validate({"economy": {"meal_cost": 0.3, "cook_energy_cost": 0.07}}))
    assert found["fridge"].cost == 0.3
    assert found["stove"].effects == (0.1, -0.02, -0.07)
    assert found["shower"] == OWN["shower"]


def test_the_originals_file_says_what_each_use_takes_and_does() -> None:
    assert specs({}) == {
        "fridge": AffordanceSpec(id="eat_meal", duration=15, effects=(0.4, 0.0, 0.05), cost=0.4, uses_stock=True),
        # Hygiene, the price and the meals are not in the file: economy's and the town's own.
        "stove": AffordanceSpec(
            id="cook_meal", duration=40, effects=(0.1, -0.02, -0.05), cost=0.15, uses_stock=True, meals_made=4
        ),
        "shower": AffordanceSpec(id="use_shower", duration=30, effects=(0.0, 0.45, -0.03), cost=0.2),
        "bed": AffordanceSpec(id="rest_sleep", duration=60, effects=(0.0, 0.0, 0.8)),
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
    assert found["fridge"] == AffordanceSpec(id="snack", duration=2, effects=(0.1, 0.0, 0.0), cost=0.4)
    # Energy is not in the file: what economy says cooking takes.
    assert found["stove"] == AffordanceSpec(id="cook", duration=3, effects=(0.1, -0.1, -0.05), cost=0.15)
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
