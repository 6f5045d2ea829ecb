import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

from townlet_runtime.errors import (
    ConfigError,
    MissingExtraError,
    PolicyFileError,
    RunDirectoryError,
    SimulationError,
    TownConfigError,
    TownletError,
    require_report_extra,
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


@pytest.mark.parametrize("name", ["matplotlib", "jinja2"])
def test_a_missing_extra_can_be_refused_beforehand(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in ("matplotlib", "jinja2", "markupsafe"):
        present = ModuleType(each)
        present.__spec__ = ModuleSpec(each, None)
        monkeypatch.setitem(sys.modules, each, present)
    require_report_extra()
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=rf"install `townlet-runtime\[report\]` .*; `{name}` is missing"):
        require_report_extra()
