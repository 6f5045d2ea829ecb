import pytest

from townlet_runtime.cli.console import Console
from townlet_runtime.cli.worlds import Worlds, load, option, seed_of
from townlet_runtime.config import Config
from townlet_runtime.errors import ConfigError

QUIET = Console(json=False, verbose=False, quiet=False)


def test_an_option_that_was_not_given_overrides_nothing() -> None:
    assert option("a.b", None, "--x") == []
    (override,) = option("a.b", 0, "--x")
    assert (override.path, override.value, override.label) == (("a", "b"), 0, "--x 0")


def test_an_option_wins_over_a_setting_and_is_named_in_errors() -> None:
    config = load(None, ["training.num_envs=3"], option("training.num_envs", 5, "--num-envs"), QUIET).config
    assert config.training.num_envs == 5
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
    assert seed_of(Config.model_validate(content)) == seed


def test_worlds_are_built_as_the_config_says() -> None:
    town = Worlds.of(Config.model_validate({"town": {"agents": 3, "local_window": 5}}))(4)
    assert (town.spec.num_worlds, town.spec.capacity) == (4, 12)
    assert town.spec.observation_shapes["map"][1:] == (5, 5)
