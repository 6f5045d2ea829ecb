"""What importing a package brings along: nothing that it does not need."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "scipy", "onnx", "onnxruntime", "pydantic", "yaml", "matplotlib", "rich", "typer")


def imported_by(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("package", ["townlet_behavior", "townlet_trajectory"])
def test_a_foundation_adds_itself_to_numpy(package: str) -> None:
    added = imported_by(f"import {package}") - imported_by("import numpy")
    third_party = added - set(sys.stdlib_module_names)
    assert third_party == {package}


def test_the_runtime_does_not_import_training() -> None:
    assert imported_by("import townlet_runtime").isdisjoint({"torch", "townlet_training", "matplotlib", "scipy"})


def test_the_command_line_starts_light() -> None:
    held = imported_by("import townlet_runtime.cli")
    assert held.isdisjoint({*HEAVY, "numpy"} - {"typer", "rich"})


def test_running_a_script_does_not_import_torch() -> None:
    held = imported_by(
        "import sys\n"
        "from townlet_runtime.cli import main\n"
        "sys.argv = ['townlet', 'run', '--ticks', '3', '--json']\n"
        "try:\n    main()\n"
        "except SystemExit as ended:\n    assert not ended.code, ended.code\n"
        "print()"
    )
    assert held.isdisjoint({"torch", "townlet_training", "scipy", "matplotlib", "onnx"})
