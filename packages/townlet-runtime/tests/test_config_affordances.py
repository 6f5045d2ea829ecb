import re
import shutil
from importlib import resources
from pathlib import Path

import pytest
from config_content import config_of

from townlet_runtime.config import dump_config, load_config, town_config
from townlet_runtime.config.affordances import (
    CONDITIONS,
    DEFAULT_FILE,
    HOOKS,
    AffordanceFile,
    affordance_specs,
    read_affordances,
    with_affordances,
)
from townlet_runtime.errors import ConfigError
from townlet_runtime.town.config import OBJECT_TYPES, AffordanceSpec, Effects, ObjectSpec, TownConfig
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
    assert [(item.id, item.position) for item in file.objects] == [("b1", (2, 3))]
    source = tmp_path / "a.yaml"
    assert file.without_effect == (
        f"{source}: b1 (stock)",
        f"{source}: b2 (no position)",
        f"{source}: sofa_1, lounge (type `sofa`)",
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
