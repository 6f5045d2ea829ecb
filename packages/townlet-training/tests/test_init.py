"""The public names."""

import subprocess
import sys

import pytest

import townlet_training


def test_every_public_name_is_there_and_listed_once() -> None:
    lazy = [name for names in townlet_training._MODULES.values() for name in names]
    assert sorted([*lazy, "__version__"]) == sorted(townlet_training.__all__) == dir(townlet_training)
    for name in lazy:
        assert getattr(townlet_training, name) is not None


def test_another_name_is_an_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="module 'townlet_training' has no attribute 'Harness'"):
        _ = townlet_training.Harness


def test_importing_the_package_imports_nothing_else() -> None:
    held = subprocess.run(
        [sys.executable, "-c", "import sys, townlet_training; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert {name for name in held if name.startswith("townlet_")} == {"townlet_training"}
    assert "torch" not in held
