from pathlib import Path

import pytest

from townlet_runtime.errors import (
    ConfigError,
    MissingExtraError,
    PolicyFileError,
    RunDirectoryError,
    SimulationError,
    TownConfigError,
    TownletError,
)


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("x"),
        TownConfigError("x"),
        PolicyFileError("p", expected="a", got="b"),
        SimulationError("x"),
        MissingExtraError("x"),
        RunDirectoryError("d", "x"),
    ],
)
def test_every_error_is_caught_by_the_root(error: TownletError) -> None:
    assert isinstance(error, TownletError)


def test_a_config_error_names_file_and_key_where_they_are_known() -> None:
    assert str(ConfigError("must be positive")) == "must be positive"
    assert str(ConfigError("must be positive", key="ppo.gamma")) == "`ppo.gamma`: must be positive"
    error = ConfigError("must be positive", file=Path("a.yaml"), key="seed")
    assert str(error) == "a.yaml: `seed`: must be positive"
    assert (error.problem, error.file, error.key) == ("must be positive", Path("a.yaml"), "seed")


def test_a_policy_file_error_says_what_was_expected_and_what_came() -> None:
    error = PolicyFileError(Path("p.onnx"), expected="version 1", got="2")
    assert str(error) == "p.onnx: expected version 1, got 2"
    assert (error.path, error.expected, error.got) == (Path("p.onnx"), "version 1", "2")


def test_a_run_directory_error_names_the_path() -> None:
    error = RunDirectoryError(Path("runs/a"), "is not empty")
    assert str(error) == "runs/a: is not empty"
    assert (error.path, error.problem) == (Path("runs/a"), "is not empty")
