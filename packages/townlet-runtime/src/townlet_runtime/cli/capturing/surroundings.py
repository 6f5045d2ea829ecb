"""What a replay sample of the town says beside its arrays: whom and what an agent had around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.storage.json import JsonValue

_AGENTS_PER_UNIT = 4.0
"""Agents in a cell of the map's channels `agents` and `reservations` where it is 1."""
# The original's features had slots for the others whom an agent knows best; the town's have none.
_NO_SOCIAL_SLOTS: Mapping[str, JsonValue] = {
    "configured_slots": 0,
    "slot_dim": 0,
    "aggregates": [],
    "filled_slots": 0,
    "relation_source": "none",
    "has_data": False,
}


def descriptions_of(batch: TrajectoryBatch) -> Sequence[Mapping[str, JsonValue]]:
    """Return what readers of the original's samples find in each beside the arrays, of the first observation."""
    surroundings = local_summaries(batch.observations["map"][batch.offsets[:-1]].astype(np.float32))
    numbers: dict[tuple[int, str], int] = {}
    return [
        {
            "variant": "hybrid",
            "embedding_slot": numbers.setdefault(agent, len(numbers)),
            "social_context": {**_NO_SOCIAL_SLOTS},
            "local_summary": {**surroundings[index]},
        }
        for index, agent in enumerate(zip(batch.worlds.tolist(), batch.agent_ids.tolist(), strict=True))
    ]


def local_summaries(maps: NDArray[np.float32]) -> list[dict[str, float]]:
    """Count what agents see around them.

    The distance is that to the nearest other agent in sight, in a straight line; the radius of sight where there is
    none.

    Args:
        maps: [B, 4, side, side] with the town's channels; the agent is in the middle.

    Returns:
        [B]; the keys of the original.
    """
    side = maps.shape[-1]
    radius, cells = side // 2, side * side
    agents, objects, reservations = maps[:, 1], maps[:, 2], maps[:, 3]
    offset = np.arange(side) - radius
    away = np.where(agents > 0.0, np.hypot(offset[:, None], offset), np.inf).min(axis=(1, 2))
    nearest = np.where(np.isfinite(away), away, float(radius))
    columns = {
        "agent_count": np.rint(agents.sum(axis=(1, 2)) * _AGENTS_PER_UNIT),
        "object_count": np.count_nonzero(objects, axis=(1, 2)),
        "reserved_tiles": np.count_nonzero(reservations, axis=(1, 2)),
        "radius": np.full(len(maps), radius),
    }
    columns |= {
        "agent_ratio": columns["agent_count"] / max(cells - 1, 1),
        "object_ratio": columns["object_count"] / cells,
        "reserved_ratio": columns["reserved_tiles"] / cells,
        "nearest_agent_distance": nearest,
        "nearest_agent_distance_norm": np.minimum(nearest / max(radius, 1), 1.0),
    }
    return [{name: float(column[row]) for name, column in columns.items()} for row in range(len(maps))]
