import subprocess
import sys

import pytest

import townlet_runtime


@pytest.mark.parametrize("name", townlet_runtime.__all__)
def test_every_public_name_is_found_where_it_is_defined(name: str) -> None:
    assert name in dir(townlet_runtime)
    assert getattr(townlet_runtime, name).__name__ == name


def test_the_lists_name_the_same() -> None:
    lazy = [name for names in townlet_runtime._MODULES.values() for name in names]
    assert sorted(lazy) == sorted(townlet_runtime.__all__)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'townlet_runtime' has no attribute 'Manager'"):
        assert townlet_runtime.Manager is None


def test_importing_the_package_imports_nothing_else() -> None:
    held = subprocess.run(
        [sys.executable, "-c", "import sys, townlet_runtime; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert {name for name in held if name.startswith("townlet_")} == {"townlet_runtime"}
    assert "numpy" not in held
