"""The last decision of a running runtime, explained as a recorded step is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import BehaviorBridge
from townlet_runtime.simulation.interface import SimulationSpec
from townlet_runtime.simulation.recorded import recorded_actions, recorded_observations
from townlet_trajectory.audit.explain import RecordedStep, arrays_of, explain_step, numbers_of
from townlet_trajectory.audit.explanation import StepExplanation, StepNames

if TYPE_CHECKING:
    from townlet_runtime.core.telemetry import Decided


def names_of(spec: SimulationSpec, bridge: BehaviorBridge) -> StepNames:
    """Return what the codes in the decisions of a bridge mean."""
    return StepNames(
        vocabulary=spec.vocabulary.keys,
        proposers=bridge.proposers,
        veto_reasons=bridge.veto_reasons,
        feature_names=spec.feature_names,
        reward_terms=spec.reward_terms,
        actions=recorded_actions(spec),
    )


def explain_decided(
    decided: Decided, names: StepNames, *, world: int, option_ticks: NDArray[np.int64]
) -> dict[str, StepExplanation]:
    """Explain the decisions of all agents of a world.

    Args:
        decided: the tick.
        names: of actions, features, proposers and veto reasons.
        world: index of the world.
        option_ticks: [A]; ticks for which each action is held.

    Returns:
        By agent id; what came of a decision is not known yet.
    """
    observed, log_probs = decided.observed, None if decided.proposals is None else decided.proposals.log_probs
    columns, seen = decided.decisions.columns(), recorded_observations(observed)
    held, left = decided.decisions.held_action, decided.decisions.ticks_left
    explained = {}
    for row in np.flatnonzero(observed.worlds == world).tolist():
        agent_id = str(observed.agent_ids[row])
        step = RecordedStep(
            agent_id=agent_id,
            world=world,
            episode=int(observed.episodes[row]),
            tick=decided.tick,
            observations={name: np.asarray(array[row]) for name, array in seen.items()},
            columns={name: np.asarray(column[row]) for name, column in columns.items()},
            option_since=decided.tick + int(left[row] - option_ticks[held[row]]) if held[row] >= 0 else None,
            log_probs=None if log_probs is None else log_probs[row],
        )
        explained[agent_id] = explain_step(names, step)
    return explained


def with_seen(
    explained: StepExplanation, observations: Mapping[str, NDArray[np.float32]], names: StepNames
) -> StepExplanation:
    """Add what an agent saw, where the view of the decision does not have it.

    Args:
        explained: the decision.
        observations: of the agent, each [...].
        names: of the features.
    """
    numbers = numbers_of(names, observations, {})
    return replace(explained, numbers=numbers, arrays=arrays_of(observations))
