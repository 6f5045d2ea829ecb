"""A small dataset of seven lives with numbers to work with by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from townlet_runtime.cli import main
from townlet_trajectory import ArraySpec, Trajectory, TrajectoryBatch, TrajectorySchema, save_batch

KITCHEN = Path(__file__).parent / "data" / "captures" / "kitchen_capture"
Run = Callable[..., tuple[int, str, str]]
"""Runs `townlet dataset`, and returns its exit code and what it printed."""

SCHEMA = TrajectorySchema(
    observations={"features": ArraySpec("float32", (2,))},
    decisions={"action": ArraySpec("int64"), "source": ArraySpec("int8")},
    vocabulary=("wait", "eat"),
)
RETURNS = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "e": 5.0, "f": 6.0, "g": 100.0}
"""Of the agents, each alone in an episode of 4 steps."""


def town() -> TrajectoryBatch:
    """Each waits and eats by turns, and earns all at its first step; `a` to `c` are decided by a policy, half the time.

    `g` terminates, the others are cut.
    """
    lives = [
        Trajectory(
            schema=SCHEMA,
            observations={"features": np.zeros((5, 2), np.float32)},
            columns={
                "action": np.array([0, 1, 0, 1]),
                "source": np.array([0, 0, 1, 1] if name in "abc" else [0] * 4, np.int8),
            },
            rewards=np.array([total, 0.0, 0.0, 0.0], np.float32),
            ticks=np.arange(4),
            terminated=name == "g",
            truncated=name != "g",
            agent_id=name,
            world=0,
            episode=episode,
        )
        for episode, (name, total) in enumerate(RETURNS.items())
    ]
    return TrajectoryBatch.from_trajectories(lives)


def save_town(path: Path) -> None:
    """Write the lives as npz."""
    save_batch(path, town())


def dataset_caller(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs `townlet dataset` within a test."""

    def run(*words: object) -> tuple[int, str, str]:
        code = main(["dataset", *map(str, words)])
        out, err = capsys.readouterr()
        return code, out, err

    return run
