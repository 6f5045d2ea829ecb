"""The first example in a README is short, and needs its package and what that declares alone."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import distribution, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("townlet-behavior", "townlet-trajectory", "townlet-training", "townlet-runtime")
MAX_STATEMENTS = 14
ALONE = """
import sys
finders = list(sys.meta_path)
class Alone:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in {hidden!r}:
            return None
        return next((spec for finder in finders if (spec := finder.find_spec(name, path, target))), None)
sys.meta_path[:] = [Alone]
"""
"""Hides modules from the programme after it, as if they were not installed."""


def example(package: str) -> str:
    page = (ROOT / "packages" / package / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)[0]


def installed_with(package: str) -> set[str]:
    """The distributions that `pip install PACKAGE` brings, without extras, as far as they are installed here."""
    found: set[str] = set()
    waiting = [package]
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found:
            continue
        found.add(name)
        for line in requires(name) or ():
            requirement = Requirement(line)
            wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if wanted and is_installed(requirement.name):
                waiting.append(requirement.name)
    return found


def is_installed(name: str) -> bool:
    try:
        distribution(name)
    except ModuleNotFoundError:
        return False
    return True


def modules_beside(package: str) -> set[str]:
    """The modules that are importable here and would not be with that package alone."""
    brought = installed_with(package)
    others = {
        module
        for module, owners in packages_distributions().items()
        if not any(canonicalize_name(owner) in brought for owner in owners)
    }
    # installed from their source trees they are modules of no distribution
    return others | {name.replace("-", "_") for name in PACKAGES if name not in brought}


@pytest.mark.parametrize("package", PACKAGES)
def test_it_runs_with_that_package_alone(package: str, tmp_path: Path) -> None:
    programme = ALONE.format(hidden=modules_beside(package)) + example(package)
    done = subprocess.run([sys.executable, "-c", programme], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = (ROOT / "packages" / package / "README.md").read_text(encoding="utf-8")
    assert f"```text\n{done.stdout}```" in page


def test_other_packages_are_out_of_reach() -> None:
    assert {"torch", "onnxruntime", "townlet_trajectory"} <= modules_beside("townlet-behavior")
    assert "torch" in modules_beside("townlet-runtime")
    assert not {"numpy", "townlet_behavior"} & modules_beside("townlet-runtime")
    programme = ALONE.format(hidden=modules_beside("townlet-behavior")) + "import townlet_trajectory"
    done = subprocess.run([sys.executable, "-c", programme], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "No module named 'townlet_trajectory'" in done.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_it_is_short(package: str) -> None:
    statements = [line for line in example(package).splitlines() if line and not line.startswith((" ", ")"))]
    assert len(statements) <= MAX_STATEMENTS
