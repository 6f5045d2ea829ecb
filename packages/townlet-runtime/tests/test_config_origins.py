"""Where each value of a config comes from."""

from pathlib import Path

import pytest

from townlet_runtime.config import parse_override
from townlet_runtime.config.origins import Value, preset_of_world, values_of
from townlet_runtime.errors import ConfigError

TEXT = """\
config_id: mine
preset: town
world: {grid_size: [20, 21]}
scenario: {ticks: 77, seed: 5}
ppo:
  gamma: 0.9
rewards:
  decay_rates: {hunger: 0.02}
jobs:
  cook: {start_tick: 5}
conflict:
  rivalry: {max_edges: 3, min_value: 0.05}
"""


def found(path: Path | None, *settings: str) -> dict[str, Value]:
    return {value.key: value for value in values_of(path, list(map(parse_override, settings)))[1]}


@pytest.fixture
def town(tmp_path: Path) -> Path:
    path = tmp_path / "t.yaml"
    path.write_text(TEXT)
    return path


@pytest.mark.parametrize(
    ("key", "value", "source", "where"),
    [
        ("config_id", "mine", "file", "t.yaml:1"),
        ("town.grid_size", [20, 21], "file", "t.yaml:3"),
        ("town.episode_ticks", 77, "scenario", "t.yaml:4"),
        ("seed", 5, "scenario", "t.yaml:4"),
        ("scenario.seed", 5, "file", "t.yaml:4"),
        ("ppo.discount", 0.9, "file", "t.yaml:6"),
        ("ppo.learning_rate", 0.0015, "preset", "preset town"),
        ("ppo.gae_lambda", 0.5, "option", "--set ppo.gae_lambda=0.5"),
        ("ppo.clip_range", 0.2, "default", "default"),
        ("town.needs_decay.hunger", 0.02, "file", "t.yaml:8"),
        ("town.needs_decay.energy", 0.008, "default", "default"),
        ("jobs.cook.start_tick", 5, "file", "t.yaml:10"),
        ("rivalry.max_edges", 3, "file", "t.yaml:12"),
        ("rivalry.min_value", 0.1, "option", "--set conflict.rivalry.min_value=0.1"),
        ("training.num_envs", 32, "preset", "preset town"),
        ("promotion.num_episodes", 100, "default", "default"),
    ],
)
def test_a_value_comes_from_where_it_was_said_last(
    key: str, value: object, source: str, where: str, town: Path
) -> None:
    one = found(town, "ppo.gae_lambda=0.5", "conflict.rivalry.min_value=0.1")[key]
    assert (one.value, one.source, one.where.removeprefix(f"{town.parent}/")) == (value, source, where)


def test_what_differs_from_silence_is_told_apart(town: Path, tmp_path: Path) -> None:
    values = found(town)
    assert values["ppo.discount"].is_changed and values["ppo.discount"].default == 0.99
    assert not values["ppo.clip_range"].is_changed and not values["jobs.cook.end_tick"].is_changed
    path = tmp_path / "same.yaml"
    path.write_text("town: {grid_size: [48, 48]}\nppo: {gamma: 0.99}\n")
    assert not any(value.is_changed for value in found(path).values())


def test_without_a_file_the_built_in_config_speaks() -> None:
    values = found(None)
    assert (values["training.total_env_steps"].value, values["training.total_env_steps"].source) == (190_000, "file")
    assert values["training.total_env_steps"].where == "(built-in config)"
    assert values["ppo.learning_rate"].where == "preset town"


def test_another_world_has_its_own_preset_and_no_keys_of_the_town() -> None:
    values = found(None, "environment.name=gymnasium:CartPole-v1")
    assert values["training.num_envs"].value == 8 and values["training.num_envs"].source == "preset"
    assert not any(key.startswith(("town.", "jobs.", "behavior.")) for key in values)
    assert [preset_of_world(world) for world in ("town", "gymnasium:CartPole-v1", "orchard")] == [
        "contract",
        "gymnasium:CartPole-v1",
        "default",
    ]


def test_what_an_affordance_file_says_has_its_name(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "- {type: affordance, id: eat, object_type: fridge, duration: 3, effects: {hunger: 0.1}}\n"
    )
    path = tmp_path / "t.yaml"
    path.write_text("affordances: {affordances_file: own.yaml}\ntown: {affordances: {fridge: {cost: 2.0}}}\n")
    values = found(path)
    assert (values["town.affordances.fridge.duration"].value, values["town.affordances.fridge.duration"].where) == (
        3,
        "own.yaml",
    )
    assert values["town.affordances.fridge.cost"].where == f"{path}:2"


def test_a_preset_that_there_is_not_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text("preset: twon\n")
    with pytest.raises(ConfigError, match="no preset `twon`; the nearest is `town`"):
        values_of(path)
