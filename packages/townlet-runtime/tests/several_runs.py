"""Directories of finished runs that differ in seed, settings and scores, for what compares them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from finished_run import town_policy
from report_samples import SAMPLE, edit, finish

from townlet_runtime.config import config_digest, dump_config, load_config, parse_override
from townlet_runtime.config.dump import noted
from townlet_runtime.runs.begun import BegunFile


def write_run(
    path: Path, *, seed: int, shift: float = 0.0, settings: Sequence[str] = (), begun: Mapping[str, Any] | None = None
) -> Path:
    """Make the directory of a run with `seed`, whose policy returned `shift` more than the sample's everywhere."""
    path.mkdir(parents=True)
    for name in ("cloning.json", "evaluation.json", "promotion.json", "summary.json"):
        shutil.copy(SAMPLE / name, path)
    overrides = [parse_override(each) for each in ("town.agents=3", f"seed={seed}", *settings)]
    (path / "config.yaml").write_text(dump_config(load_config(None, overrides).config))
    config = load_config(path / "config.yaml").config
    said = {"config_sha256": config_digest(config), "config": noted(config), "environment": "town"}
    BegunFile(**{"schema_version": 2, "threads": 1, **said, **(begun or {})}).write(path / "begun.json")
    edit(path / "summary.json", lambda content: content.update(seed=seed))

    def lift(content: Any) -> None:
        learned = content["final"]["learned"]
        learned["returns"] = [each + shift for each in learned["returns"]]
        for point in content["history"]:
            point["return_mean"] += shift
            point["return_ci"] = [end + shift for end in point["return_ci"]]

    edit(path / "evaluation.json", lift)
    finish(path, {"agents": town_policy()})
    return path


def write_runs(folder: Path, shifts: Mapping[int, float], **more: Any) -> list[Path]:
    """Make `folder/seed-N` for each seed, see `write_run`."""
    return [write_run(folder / f"seed-{seed}", seed=seed, shift=shift, **more) for seed, shift in shifts.items()]


def change(run: Path, name: str, how: Callable[[Any], object]) -> None:
    """Change a record of a finished run, and list it anew in the manifest."""
    edit(run / name, how)
    finish(run, {"agents": town_policy()})
