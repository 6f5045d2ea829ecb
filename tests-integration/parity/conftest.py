"""The recorded calls, made through every way of starting a command, two processes at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))


@pytest.fixture(scope="session")
def calls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What every call left behind, by entry and name of the call."""
    folder = tmp_path_factory.mktemp("parity")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80"}

    def make(entry: str, *done: str) -> dict[str, Any]:
        command = [sys.executable, str(HERE / "entries.py"), entry, str(folder / entry), str(folder / f"{entry}.json")]
        subprocess.run([*command, *done], check=True, env=environment, cwd=folder)
        made: dict[str, Any] = json.loads((folder / f"{entry}.json").read_text(encoding="utf-8"))
        return made

    with ThreadPoolExecutor(2) as pool:
        complete = dict(zip(("python", "legacy"), pool.map(make, ("python", "legacy")), strict=True))
        others = pool.map(lambda entry: make(entry, str(folder / "python")), ("townlet", "module"))
        return {**complete, **dict(zip(("townlet", "module"), others, strict=True))}
