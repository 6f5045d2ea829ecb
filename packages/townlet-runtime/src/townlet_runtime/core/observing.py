"""Observations of agents: completed before a decision, recorded, and found by agent id."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import PossessionError
from townlet_runtime.simulation.interface import CommitmentColumns, Observations, Observed, SimulationSpec
from townlet_trajectory import ACTION_MASK, ArraySpec, TrajectorySchema, default_decision_columns


def show_commitments(
    observations: Observations,
    columns: CommitmentColumns,
    held_action: NDArray[np.int64],
    ticks_left: NDArray[np.int32],
    *,
    num_actions: int,
) -> None:
    """Write the option in force into its observation columns, in place: one-hot of the action, then the ticks left.

    Without them a forced step would look like a free one, and its value could not be learned.

    Args:
        observations: each [N, ...]; `columns.observation` is changed.
        columns: where.
        held_action: [N]; -1 where nothing is held: all columns become 0.
        ticks_left: [N], 0 where nothing is held; shown as a share of `columns.max_ticks`.
        num_actions: A.
    """
    shown = observations[columns.observation][:, columns.start : columns.start + num_actions + 1]
    shown[...] = 0.0
    rows = (held_action >= 0).nonzero()[0]
    if rows.size:
        shown[rows, held_action[rows]] = 1.0
        np.multiply(ticks_left, 1.0 / columns.max_ticks, out=shown[:, num_actions], casting="same_kind")


def schema_of(spec: SimulationSpec, *, masked: bool) -> TrajectorySchema:
    """What a recorder of this simulation records: its observations, its mask where it has one, and every decision."""
    observations = {name: ArraySpec(dtype="float32", shape=shape) for name, shape in spec.observation_shapes.items()}
    if masked:
        observations[ACTION_MASK] = ArraySpec(dtype="bool", shape=(len(spec.vocabulary),))
    return TrajectorySchema(
        observations=observations, decisions=default_decision_columns(), vocabulary=spec.vocabulary.keys
    )


def recorded_observations(observed: Observed) -> Mapping[str, NDArray[np.float32] | NDArray[np.bool_]]:
    """The observations [N, ...] and the mask, as `schema_of` declares them."""
    if observed.action_mask is None:
        return observed.observations
    return {**observed.observations, ACTION_MASK: observed.action_mask}


def slot_of(agent_id: str, world: int, observed: Observed | None) -> int:
    """The slot of an agent that is present.

    Raises:
        PossessionError: if world `world` has no such agent now.
    """
    if observed is not None:
        here = (observed.agent_ids == agent_id) & (observed.worlds == world)
        if here.any():
            return int(observed.slots[here.argmax()])
    raise PossessionError(f"expected an agent that is present in world {world}, got {agent_id!r}")


def ids_of(slots: NDArray[np.int64], world: int, observed: Observed) -> list[str]:
    """The ids of the agents of a world that are present and in one of `slots`."""
    here = np.isin(observed.slots, slots) & (observed.worlds == world)
    return [str(agent_id) for agent_id in observed.agent_ids[here]]
