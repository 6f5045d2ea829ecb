"""Counts of what happened, added up by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from townlet_runtime.simulation.interface import SimulationSpec
from townlet_trajectory import TrajectoryBatch

_N = TypeVar("_N", int, float)

CONFLICT_FEATURES = ("rivalry_max", "rivalry_avoid_count")
"""Features that are logged as `conflict.NAME_mean_avg` and `conflict.NAME_max_avg`; neither is negative."""


def summed(counts: Sequence[Mapping[str, _N]], *, less: Sequence[Mapping[str, _N]] = ()) -> dict[str, _N]:
    """Add up counts by name.

    Args:
        counts: at least one; all have the names of the first.
        less: counts to subtract.
    """
    return {name: sum(one[name] for one in counts) - sum(one[name] for one in less) for name in counts[0]}


def conflict_events(batches: Mapping[str, TrajectoryBatch], specs: Mapping[str, SimulationSpec]) -> dict[str, float]:
    """Mean and maximum over all rows of the features that say how agents get on, where a world shows them.

    Args:
        batches: by recorded group.
        specs: of all groups.
    """
    found: dict[str, float] = {}
    for name in CONFLICT_FEATURES:
        columns = [
            batch.observations["features"][:, specs[group].feature_names.index(name)]
            for group, batch in batches.items()
            if name in specs[group].feature_names
        ]
        if columns:
            column = np.concatenate(columns)
            found[f"conflict.{name}_mean_avg"] = float(column.mean(dtype=np.float64)) if len(column) else 0.0
            found[f"conflict.{name}_max_avg"] = float(column.max(initial=0.0))
    return found
