"""One real training run, as small as it can be, made once per process."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import pytest

from townlet_runtime.cli import main
from townlet_runtime.cli.views import results

SETTINGS = {
    "town.agents": "3",
    "town.episode_ticks": "40",
    "world.grid_size": "[8, 8]",
    "network.hidden_sizes": "[8]",
    "anneal.clone_ticks": "100",
    "anneal.warmup_updates": "1",
    "training.rollout_ticks": "20",
    "training.bc.epochs": "1",
    "training.anneal_accuracy_threshold": "0",
    "training.eval_episodes": "10",
    "training.final_episodes": "10",
    "promotion.num_episodes": "10",
    "gates.num_resamples": "100",
    "promotion.num_resamples": "100",
}
DRAW = results.draw_report
OPTIONS = ["--total-steps", "360", "--num-envs", "2", "--threads", "1"]


def arguments(run_dir: Path, *more: str) -> list[str]:
    """The command line of the run; `more` comes last and so wins."""
    settings = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    return ["train", "--run-dir", str(run_dir), *OPTIONS, *settings, *more]


@cache
def trained() -> tuple[Path, int]:
    """The run directory and the exit code."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    run_dir = folder / "runs" / "one"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "draw_report", DRAW)  # whoever comes first, all others have it too
        return run_dir, main(arguments(run_dir, "-q"))
