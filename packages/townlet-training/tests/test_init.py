"""Importing the package loads its errors, and the other public names when they are used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import townlet_training


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_neither_torch_nor_a_learner() -> None:
    loaded = loaded_by("import townlet_training")
    assert {name for name in loaded if name.startswith("townlet_training")} == {
        "townlet_training",
        "townlet_training.errors",
    }
    assert "torch" not in loaded


def test_a_run_loads_what_clones_when_it_clones() -> None:
    loaded = loaded_by("from townlet_training import TrainingOrchestrator")
    assert "townlet_training.learning.ppo" in loaded
    assert not {"townlet_training.learning.bc", "townlet_training.run.cloning"} & loaded


def test_every_public_name_is_listed_once_and_a_type_checker_sees_it() -> None:
    names = townlet_training.__all__
    assert len(set(names)) == len(names)
    assert dir(townlet_training) == sorted(names)
    tree = ast.parse(Path(townlet_training.__file__).read_text(encoding="utf-8"))
    seen = {
        alias.name: str(node.module)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for name in sorted(set(names) - {"__version__"}):
        value = getattr(townlet_training, name)
        assert value is getattr(sys.modules[seen[name]], name)
        assert vars(townlet_training)[name] is value  # found once, and then there


def test_another_name_is_an_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="module 'townlet_training' has no attribute 'Nonsense'"):
        _ = townlet_training.Nonsense
