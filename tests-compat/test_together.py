"""Packages of different releases together: everything imports, and one policy goes the whole way.

Only the command line is used, and no name of a package: this file has to suit releases that its own names do not.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from pathlib import Path

import pytest

PACKAGES = ("townlet_behavior", "townlet_trajectory", "townlet_training", "townlet_runtime")
SETTINGS = {
    "town.agents": 4,
    "town.episode_ticks": 30,
    "anneal.clone_ticks": 60,
    "training.bc.epochs": 1,
    "training.anneal_accuracy_threshold": 0,
    "training.final_episodes": 10,
    "gates.num_resamples": 100,
    "network.hidden_sizes": "[8]",
}
SMALL = ["--mode", "bc", "--num-envs", "2", "--threads", "1", "--seed", "1"]
SMALL += [argument for key, value in SETTINGS.items() for argument in ("--set", f"{key}={value}")]


def townlet(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """The exit code of the command, run in this process: torch is imported once."""
    monkeypatch.setattr(sys, "argv", ["townlet", *map(str, arguments)])
    code = importlib.import_module("townlet_runtime.cli").main()
    return int(code or 0)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_imports(package: str) -> None:
    """A name that a package uses and the installed release of another does not have fails here."""
    walked = pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}.")
    names = [module.name for module in walked if not module.name.endswith(".__main__")]
    assert len(names) > 10
    for name in names:
        importlib.import_module(name)


def test_a_policy_is_cloned_compared_and_acts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    code = townlet(monkeypatch, "train", "--run-dir", run, *SMALL, "--json")
    printed = capsys.readouterr()
    assert code in (0, 1), printed.err  # so small a run need not beat the script
    summary = json.loads(printed.out)
    assert summary["policy_sha256"]

    assert townlet(monkeypatch, "evaluate", run, "--episodes", "4", "--json") in (0, 1)
    assert json.loads(capsys.readouterr().out)

    steps = tmp_path / "steps"
    assert townlet(monkeypatch, "run", "--policy", run, "--ticks", "20", "--record", steps, "--json") == 0
    assert any(steps.iterdir())
