"""What several of these tests need: a policy exported for the town, and the command in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_configure() -> None:
    # two cores: threads of parallel libraries would only wait for each other, in every process started here too
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def townlet() -> Run:
    """Runs `townlet ARGUMENTS` with the interpreter of the tests."""

    def run(*arguments: str | Path | int, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "townlet_runtime", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)

    return run


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `policy.onnx`, for the town, and `expected.npz`: what its network says of real observations."""
    folder = tmp_path_factory.mktemp("exported") / "town"
    script = HERE / "without_torch" / "export_policy.py"
    subprocess.run([sys.executable, str(script), str(folder)], check=True, capture_output=True)
    return folder
