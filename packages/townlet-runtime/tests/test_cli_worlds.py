from pathlib import Path

import pytest
from config_content import config_of

from townlet_behavior import CommitmentConfig
from townlet_runtime.cli.console import CommandError, Console
from townlet_runtime.cli.worlds import Worlds, is_module, load, option, seed_of, world_options
from townlet_runtime.config import Config
from townlet_runtime.errors import ConfigError

QUIET = Console(json=False, verbose=False, quiet=False)


def test_an_option_that_was_not_given_overrides_nothing() -> None:
    assert option("a.b", None, "--x") == []
    (override,) = option("a.b", 0, "--x")
    assert (override.path, override.value, override.label) == (("a", "b"), 0, "--x 0")


def test_an_option_wins_over_a_setting_and_is_named_in_errors() -> None:
    config = load(None, ["training.num_envs=3"], option("training.num_envs", 5, "--num-envs"), QUIET).config
    assert config.training["num_envs"] == 5
    with pytest.raises(ConfigError, match=r"^--preset 3: `preset`: must be a valid string"):
        load(None, [], option("preset", 3, "--preset"), QUIET)


def test_what_has_no_effect_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    load(None, ["telemetry.diff_enabled=false"], [], QUIET)
    assert capsys.readouterr().err == "townlet: warning: (built-in config): without effect here: telemetry\n"


@pytest.mark.parametrize(
    ("content", "seed"),
    [({}, 0), ({"seed": 4}, 4), ({"seed": 4, "scenario": {"seed": 5}}, 5), ({"scenario": {"seed": 0}}, 0)],
)
def test_the_seed_of_a_file(content: dict[str, object], seed: int) -> None:
    assert seed_of(config_of(content)) == seed


def test_worlds_are_built_as_the_config_says() -> None:
    worlds = Worlds.of(config_of({"town": {"agents": 3, "local_window": 5}}))
    (spec,) = worlds.make(4).specs.values()
    assert (spec.num_worlds, spec.capacity) == (4, 12)
    assert spec.observation_shapes["map"][1:] == (5, 5)
    assert (worlds.environment, worlds.controller) == ("town", None)
    assert worlds.towns is not None and worlds.towns(1).spec.capacity == 3


def elsewhere(**more: object) -> Config:
    return config_of({"environment": {"name": "gymnasium:Walk-v0", **more}})


def test_options_bind_in_the_town_alone() -> None:
    assert Worlds.of(config_of({})).bridge.commitment.ticks != CommitmentConfig().ticks
    worlds = Worlds.of(elsewhere())
    assert worlds.bridge.commitment == CommitmentConfig()
    assert (worlds.environment, worlds.controller, worlds.towns) == ("gymnasium:Walk-v0", None, None)


def test_a_module_is_taken_from_the_command_line_and_from_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "walk_script.py").write_text("def make(spec):\n    raise NotImplementedError\n")
    monkeypatch.chdir(tmp_path)
    assert is_module("walk_script:make") and not is_module("gymnasium:LunarLander-v3") and not is_module("walk")
    assert Worlds.of(elsewhere(), "walk_script:make").controller == "walk_script:make"
    with pytest.raises(ConfigError, match=r"`environment.controller`: no controller `walk_script:make` is registered"):
        Worlds.of(elsewhere(controller="walk_script:make"))
    with pytest.raises(ConfigError, match=r"^--controller: no controller `walk` is registered \(there are: .*Lunar"):
        Worlds.of(elsewhere(), "walk")


def test_only_a_registered_controller_becomes_part_of_the_config() -> None:
    assert [override.path for override in world_options("town", "a:b")] == [("environment", "name")]
    assert [override.value for override in world_options(None, "lander")] == ["lander"]


def test_a_registered_controller_may_come_from_the_config() -> None:
    pytest.importorskip("gymnasium")
    worlds = Worlds.of(elsewhere(controller="gymnasium:LunarLander-v3"))
    assert worlds.controller == "gymnasium:LunarLander-v3"


def test_the_town_takes_no_controller() -> None:
    with pytest.raises(CommandError, match="the town has a script of its own"):
        Worlds.of(config_of({}), "a:b")
