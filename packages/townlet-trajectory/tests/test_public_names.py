"""Importing the package loads what recording needs, and the other public names when they are used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import townlet_trajectory

RECORDING = {
    "townlet_trajectory",
    *(f"townlet_trajectory.{name}" for name in ("data", "errors", "recording", "storage", "storage.json")),
    *(
        f"townlet_trajectory.data.{name}"
        for name in ("actions", "batch", "checks", "labels", "ragged", "schema", "split", "trajectory")
    ),
    *(
        f"townlet_trajectory.recording.{name}"
        for name in ("buffer", "grouping", "labels", "recorder", "roster", "segment")
    ),
}


def loaded_by(statement: str) -> set[str]:
    """The modules of the package that a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport sys\nprint(*(name for name in sys.modules if name.startswith('townlet_trajectory')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement", ["import townlet_trajectory", "from townlet_trajectory import TrajectoryService, TrajectoryBatch"]
)
def test_recording_loads_no_dataset_and_no_format(statement: str) -> None:
    assert loaded_by(statement) == RECORDING


def test_a_name_loads_its_module_when_it_is_used() -> None:
    loaded = loaded_by("from townlet_trajectory import PaddedBatch")
    assert loaded == {*RECORDING, "townlet_trajectory.data.padded"}


def test_every_public_name_is_there_and_a_type_checker_sees_it() -> None:
    for name in townlet_trajectory.__all__:
        assert getattr(townlet_trajectory, name) is not None
    assert dir(townlet_trajectory) == sorted(townlet_trajectory.__all__)
    tree = ast.parse(Path(townlet_trajectory.__file__).read_text(encoding="utf-8"))
    seen = {
        (alias.name, node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    for name in sorted(set(townlet_trajectory.__all__) - {"__version__"}):
        module = next(module for seen_name, module in seen if seen_name == name)
        assert getattr(sys.modules[str(module)], name) is getattr(townlet_trajectory, name)


def test_another_name_is_an_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="module 'townlet_trajectory' has no attribute 'Nonsense'"):
        _ = townlet_trajectory.Nonsense
