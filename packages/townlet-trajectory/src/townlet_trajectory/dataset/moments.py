"""Moments of the observations of a source, one block in memory at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.statistics import Moments, RunningMoments
from townlet_trajectory.dataset.source import TrajectorySource, blocks_of
from townlet_trajectory.errors import DatasetError, SchemaError


def observation_moments(
    source: TrajectorySource, trajectories: NDArray[np.bool_] | None = None, *, names: Sequence[str] | None = None
) -> dict[str, Moments]:
    """Compute mean, spread and range of each place of observations, over the steps of some trajectories.

    Final observations, from which nothing was decided, do not count. The result is that of `Moments.of` all rows in the
    order of the source, to the last bit, whatever its blocks.

    Args:
        source: read once, block by block; blocks without such a trajectory are not read.
        trajectories: [B] over the source's table, true where a trajectory counts. None: all.
        names: of observations. None: all.

    Returns:
        Moments in float64 by name, each of the shape of a row.

    Raises:
        DatasetError: if the mask has another shape.
        SchemaError: if there is no such observation.
        ArtifactError: if a block cannot be read.
    """
    specs, size = source.schema.observations, len(source.table)
    chosen = np.ones(size, np.bool_) if trajectories is None else trajectories
    if chosen.dtype != np.bool_ or chosen.shape != (size,):
        raise DatasetError(f"`trajectories` must be bool [{size}], got {chosen.dtype} {chosen.shape}")
    if unknown := sorted(set(names or ()) - specs.keys()):
        raise SchemaError(f"there are no observations {unknown}, but {sorted(specs)}")
    running = {name: RunningMoments(specs[name].shape) for name in (specs if names is None else names)}
    for block, first, stop in blocks_of(source):
        if not chosen[first:stop].any():
            continue
        batch = source.load_block(block)
        rows = np.repeat(chosen[first:stop], batch.lengths)
        for name, moments in running.items():
            column = batch.observations[name]
            moments.add(column if rows.all() else column[rows])
    return {name: moments.moments for name, moments in running.items()}
