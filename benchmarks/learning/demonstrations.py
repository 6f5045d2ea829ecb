"""Whole episodes of a script, recorded as one npz file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from townlet_behavior import BridgeConfig
from townlet_runtime import Collector, Environment
from townlet_runtime.adapters.controllers import registered_controller
from townlet_trajectory import save_batch


def record(name: str, path: Path, *, episodes: int, seed: int) -> None:
    """Let the script that is registered for a world play the first episode of so many, and write it.

    Args:
        name: of the world.
        path: of the file.
        episodes: that are recorded, one of each world, so that short ones are not preferred.
        seed: of the worlds.
    """
    worlds = Environment(name=name, controller=registered_controller(name))(episodes)
    (group, spec), *others = worlds.specs.items()
    if others:
        raise ValueError(f"expected one group of agents in `{name}`, got {list(worlds.specs)}")
    ticks = spec.episode_ticks
    collector = Collector(worlds, config=BridgeConfig(), seed=seed, max_rows=ticks * spec.capacity)
    batch = collector.collect(None, num_ticks=ticks, ratio=0.0).batches[group]
    _, first = np.unique(batch.worlds, return_index=True)
    save_batch(path, batch.select(first))
