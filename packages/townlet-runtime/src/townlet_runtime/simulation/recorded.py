"""What a recorder keeps of a simulation: the schema of its columns, and the observations of a tick."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

import townlet_behavior
from townlet_behavior import SCRIPT
from townlet_runtime.errors import SimulationError
from townlet_trajectory import (
    ACTION_MASK,
    REWARD_TERM,
    ArrayActions,
    ArraySpec,
    Box,
    MultiDiscrete,
    TrajectorySchema,
    TrajectoryService,
    default_decision_columns,
)
from townlet_trajectory.data.schema import FEATURES

if TYPE_CHECKING:
    from townlet_runtime.simulation.interface import Observed, SimulationSpec

POLICY_STATE = "policy_state"
"""Name of the decision column that holds the policy's memory of each agent before the tick, float32 [N, S]."""
POLICY_NUMBER = "policy_number"
"""Name of the decision column that says which of `BatchRuntime.policy_hashes` proposed in the tick, int32 [N]."""

Room: TypeAlias = Callable[[int], Mapping[str, NDArray[Any]]]
"""Lends the arrays [N, ...] of N rows, by name, with anything in them."""


@runtime_checkable
class Filling(Protocol):
    """A simulation that writes its observations where they are kept. Without: a recorder copies those of every tick.

    For every view it asks the room of the group once, writes every element of the arrays, and hands these very arrays
    out as `observations`. They hold at least until the view after the next.
    """

    def write_into(self, rooms: Mapping[str, Room]) -> None:
        """Ask `rooms`, by group, from the next view on; a group without one gets arrays of the simulation's own.

        A `Simulation` has one group, `agents`.
        """
        ...


def schema_of(
    spec: SimulationSpec,
    *,
    masked: bool,
    proposers: tuple[str, ...] = (SCRIPT,),
    veto_reasons: tuple[str, ...] = (),
    state_size: int = 0,
    numbers_policies: bool = False,
) -> TrajectorySchema:
    """Return the schema of a recorder: the observations, the mask if `masked`, every decision column, and a column
    `reward_TERM` for each named part of the reward; features have the names that the world gives them.

    Args:
        spec: of the agents that are recorded.
        masked: whether their legal actions are shown.
        proposers: names of who proposes beside the policy; see `townlet_behavior.proposers_of`.
        veto_reasons: names of the reasons of vetoes; see `townlet_behavior.veto_reasons_of`. Empty: not known.
        state_size: numbers S of the policy's memory before each tick, the column `policy_state`; 0: no such column.
        numbers_policies: whether there is a column `policy_number`, for worlds in which one policy follows another.

    Raises:
        SimulationError: if actions are numbers and `masked`: they are bounded, not masked.
    """
    observations = {name: ArraySpec(dtype="float32", shape=shape) for name, shape in spec.seen_shapes.items()}
    if masked:
        if not spec.mask_size:
            raise SimulationError(f"`{spec.name}`: expected no action mask, as its actions are numbers, got one")
        observations[ACTION_MASK] = ArraySpec(dtype="bool", shape=(spec.mask_size,))
    terms = {REWARD_TERM + term: ArraySpec(dtype="float32") for term in spec.reward_terms}
    state = {POLICY_STATE: ArraySpec(dtype="float32", shape=(state_size,))} if state_size else {}
    number = {POLICY_NUMBER: ArraySpec(dtype="int32")} if numbers_policies else {}
    actions = recorded_actions(spec)
    return TrajectorySchema(
        observations=observations,
        decisions=default_decision_columns(actions) | state | number | terms,
        vocabulary=spec.vocabulary.keys,
        proposers=proposers,
        veto_reasons=veto_reasons,
        feature_names=spec.feature_names if FEATURES in spec.observation_shapes else (),
        actions=actions,
    )


def room_of(spec: SimulationSpec, service: TrajectoryService | None) -> Room | None:
    """Return where a recorder lends the memory of observations; None where it keeps other ones, or there is none."""
    if service is None:
        return None
    seen = schema_of(spec, masked=False).observations
    return service.lend if seen.items() <= service.schema.observations.items() else None


def state_size_of(schema: TrajectorySchema) -> int:
    """Return the numbers S of the policy's memory that records of a schema have; 0: none."""
    column = schema.decisions.get(POLICY_STATE)
    return 0 if column is None else column.shape[0]


def recorded_actions(spec: SimulationSpec) -> ArrayActions | None:
    """Return the array actions of a specification as records describe them; None: actions are indices."""
    actions = spec.actions
    if actions is None:
        return None
    if isinstance(actions, townlet_behavior.MultiDiscrete):
        return MultiDiscrete(parts=actions.parts)
    return Box(names=actions.names, low=actions.low, high=actions.high)


def recorded_observations(observed: Observed) -> Mapping[str, NDArray[np.float32] | NDArray[np.bool_]]:
    """Return the observations [N, ...] and the mask, as `schema_of` declares them."""
    if observed.action_mask is None:
        return observed.observations
    return {**observed.observations, ACTION_MASK: observed.action_mask}
