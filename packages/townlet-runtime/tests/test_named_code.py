import sys
from pathlib import Path

import pytest
from installed import install

from townlet_runtime.adapters.named_code import (
    blamed,
    is_reference,
    made_by,
    named_factory,
    registered_factory,
    takes_parameter,
)
from townlet_runtime.errors import ConfigError, MissingExtraError, SimulationError

MODULE = """
NUMBER = 3

def make(num_worlds, *, size=2):
    return (num_worlds, size)

def failing(spec):
    raise KeyError("nothing there")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_code.py").write_text(MODULE)
    (tmp_path / "broken_code.py").write_text("raise RuntimeError('unfinished')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_code", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("my_code:make", True),
        ("pack.age.module:Name", True),
        ("my_code", False),
        ("my_code:", False),
        (":make", False),
        ("my-code:make", False),
        ("my_code:make()", False),
        ("gymnasium:CartPole-v1", False),
        ("a:b:c", False),
    ],
)
def test_what_is_a_reference(text: str, expected: bool) -> None:
    assert is_reference(text) is expected


@pytest.mark.usefixtures("folder")
def test_a_module_of_the_working_folder_is_found() -> None:
    assert named_factory("my_code:make", label="the world")(4, size=5) == (4, 5)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        ("my_code", "^expected the world as `module:name`$"),
        ("nowhere:make", "^the world cannot be imported: ModuleNotFoundError: No module named 'nowhere'$"),
        ("my_code:nothing", "^the world cannot be imported: AttributeError: .* no attribute 'nothing'$"),
        ("broken_code:make", "^the world cannot be imported: RuntimeError: unfinished$"),
        ("my_code:NUMBER", "^the world must be a function, got 3$"),
    ],
)
def test_a_reference_that_leads_nowhere_is_named(reference: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        named_factory(reference, label="the world")


def test_registered_code_is_found_by_group_and_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(folder)
    wrong = {"number": "my_code:NUMBER", "needy": "needy_code:make", "gone": "my_code:gone"}
    (folder / "needy_code.py").write_text("import no_such_library\n")
    install(folder, {"townlet.simulations": {"mine": "my_code:make"}, "townlet.guardrails": wrong})
    factory = registered_factory("townlet.simulations", "mine")
    assert factory is not None and factory(1) == (1, 2)
    assert registered_factory("townlet.guardrails", "mine") is None
    with pytest.raises(ConfigError, match="`number` of .* `townlet.guardrails`: expected a function, got 3"):
        registered_factory("townlet.guardrails", "number")
    with pytest.raises(MissingExtraError, match="`needy` of .* not installed: No module .* 'no_such"):
        registered_factory("townlet.guardrails", "needy")
    with pytest.raises(ConfigError, match="`gone` of .*: my_code:gone cannot be imported: AttributeError"):
        registered_factory("townlet.guardrails", "gone")


def test_a_factory_is_called_with_what_it_takes_or_told_what_to_take() -> None:
    def factory(num_worlds: int, *, size: int = 2) -> tuple[int, int]:
        return num_worlds, size

    assert takes_parameter(factory, "num_worlds") and not takes_parameter(factory, "capacity")
    assert takes_parameter(print, "anything") is False and takes_parameter(min, "key")
    assert made_by(factory, settings={"num_worlds": 3, "size": 4}, label="x", takes="two") == (3, 4)
    with pytest.raises(ConfigError, match="^x must take `num_worlds`: got an unexpected keyword argument 'colour'$"):
        made_by(factory, settings={"num_worlds": 3, "colour": "red"}, label="x", takes="`num_worlds`")
    with pytest.raises(ConfigError, match="^x must take two: missing a required argument: 'num_worlds'$"):
        made_by(factory, settings={}, label="x", takes="two")


def test_exceptions_of_foreign_code_say_whose_they_are_and_ours_pass() -> None:
    def failing() -> None:
        raise KeyError("nothing there")

    with pytest.raises(ConfigError, match="^the world raised KeyError: 'nothing there'$"):
        made_by(failing, settings={}, label="the world", takes="nothing")
    with pytest.raises(SimulationError, match="^the rule raised ZeroDivisionError: division by zero$"):
        with blamed("the rule"):
            raise ZeroDivisionError("division by zero")
    with pytest.raises(ConfigError, match="^ours$"):
        with blamed("the rule"):
            raise ConfigError("ours")
