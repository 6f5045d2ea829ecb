"""Everything that is wrong with a file, with its place, in one go."""

from pathlib import Path

import pytest

from townlet_runtime.config import Config
from townlet_runtime.config.problems import MAX_PROBLEMS, Checked, config_problems
from townlet_runtime.errors import ConfigError

DATA = Path(__file__).parent / "data"

BAD = """\
config_id: x
seed: -1
town:
  num_agnts: 3
  local_window: 4
  grid_size: [3, 3, 3]
ppo: {gamma: 5, learning_rate: fast}
rivalry: {max_value: 0.1, min_value: 0.5}
jobs:
  cook: {start_tick: 1, stat: 2}
scenario:
  agents:
    - {id: a, position: [99, 1]}
    - {position: [1, 1]}
    - {id: c, wallet: -3, job: nobody}
  objects: [{id: o, type: bench}, {id: p}]
telemetry: {x: 1}
tonw: {a: 1}
environment: {name: "os:system"}
features: {stages: {relationships: C9}}
"""


def problems(tmp_path: Path, text: str) -> Checked:
    path = tmp_path / "town.yaml"
    path.write_text(text)
    return config_problems(path)


def test_every_error_is_told_with_line_column_key_and_nearest_key(tmp_path: Path) -> None:
    found = problems(tmp_path, BAD)
    assert [(each.line, each.column, each.key) for each in found.errors] == [
        (2, 1, "seed"),
        (4, 3, "town.num_agnts"),
        (5, 3, "town.local_window"),
        (6, 3, "town.grid_size"),
        (7, 7, "ppo.gamma"),
        (7, 17, "ppo.learning_rate"),
        (8, 27, "rivalry.min_value"),
        (10, 25, "jobs.cook.stat"),
        (13, 7, "scenario.agents[a]"),
        (14, 7, "scenario.agents.1.id"),
        (15, 15, "scenario.agents.2.wallet"),
        (15, 27, "scenario.agents[c].job"),
        (16, 35, "scenario.objects.1.type"),
        (19, 15, "environment.name"),
        (20, 21, "features.stages.relationships"),
    ]
    by_key = {each.key: each for each in found.errors}
    assert by_key["town.num_agnts"].nearest == "town.num_agents"
    assert by_key["town.grid_size"].problem == "must be a list with at most 2 items, got [3, 3, 3]"
    assert by_key["ppo.gamma"].problem == "must be less than or equal to 1, got 5"
    assert str(by_key["seed"]) == f"{found.file}:2:1: `seed`: must be greater than or equal to 0, got -1"


def test_what_nothing_acts_on_and_what_satisfies_nothing_is_a_warning_with_its_place(tmp_path: Path) -> None:
    found = problems(tmp_path, BAD)
    assert [(each.line, each.key, each.nearest) for each in found.warnings] == [
        (16, "scenario.objects[o]", None),
        (17, "telemetry", None),
        (18, "tonw", "town"),
    ]
    assert found.warnings[0].problem == "a plain object: using it satisfies nothing (type `bench`)"


def test_a_spelling_of_the_original_is_named_as_it_stands(tmp_path: Path) -> None:
    found = problems(tmp_path, "world:\n  grid_size: [1, 5]\nqueue_fairness: {cooldown_tick: 3}\n")
    assert [(each.line, each.key) for each in found.errors] == [
        (2, "world.grid_size.0"),
        (3, "queue_fairness.cooldown_tick"),
    ]
    assert found.errors[1].nearest == "queue_fairness.cooldown_ticks"


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("a: 1\na: 2\n", (2, 1), "the key 'a' twice"),
        ("town: {\n", (2, 1), "not YAML"),
        ("- 1\n", (None, None), "expected sections"),
        ("timeline: [1]\n", (None, None), "no config: expected at least one of the sections"),
        ("seed: .nan\n", (1, 7), "not finite"),
    ],
)
def test_a_file_that_is_no_config_is_one_error(
    text: str, place: tuple[int | None, int | None], problem: str, tmp_path: Path
) -> None:
    (error,) = problems(tmp_path, text).errors
    assert (error.line, error.column, error.key) == (*place, None) and problem in error.problem


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (error,) = config_problems(tmp_path / "none.yaml").errors
    assert str(error) == f"{tmp_path}/none.yaml: cannot read it: No such file or directory"


def test_nothing_is_wrong_with_an_empty_file_and_with_the_samples(tmp_path: Path) -> None:
    assert problems(tmp_path, "") == Checked(file=str(tmp_path / "town.yaml"), errors=(), warnings=())
    for path in (DATA / "scenarios").glob("*.yaml"):
        found = config_problems(path)
        assert found.errors == ()
        assert all(each.line is not None or each.file != str(path) for each in found.warnings) and found.warnings


def test_an_error_of_an_affordance_file_stands_in_that_file(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "- {type: affordance, id: eat, object_type: fridge, duration: 0, effects: {hunger: 0.1}}\n"
    )
    found = problems(tmp_path, "affordances:\n  affordances_file: own.yaml\nseed: -1\n")
    assert [(Path(each.file).name, each.line, each.column, each.key) for each in found.errors] == [
        ("own.yaml", 1, 52, "eat.duration"),
        ("town.yaml", 3, 1, "seed"),
    ]


def test_what_further_looks_find_is_told_beside_the_rest(tmp_path: Path) -> None:
    def refuse(config: Config) -> None:
        if config.preset is not None:
            raise ConfigError("no such preset", key="preset")

    path = tmp_path / "town.yaml"
    path.write_text("preset: x\nseed: -1\n")
    found = config_problems(path, refuse)
    assert [(each.line, each.key) for each in found.errors] == [(1, "preset"), (2, "seed")]


def test_so_many_errors_are_told_and_no_more(tmp_path: Path) -> None:
    agents = "".join(f"    - {{id: a{number}, wallet: -1}}\n" for number in range(MAX_PROBLEMS + 20))
    found = problems(tmp_path, f"scenario:\n  agents:\n{agents}")
    assert len(found.errors) == MAX_PROBLEMS and found.errors[-1].key == f"scenario.agents.{MAX_PROBLEMS - 1}.wallet"
