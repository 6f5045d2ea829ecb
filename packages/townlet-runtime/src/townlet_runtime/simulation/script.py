"""The scripted side of a world: the behavior that a policy is blended with."""

from __future__ import annotations

from collections.abc import Mapping

from townlet_behavior import BatchController, NoProposals
from townlet_runtime.simulation.interface import GroupedSimulation
from townlet_trajectory.evaluation.results import SCRIPTED


def script_side(simulation: GroupedSimulation) -> Mapping[str, BatchController]:
    """Return the scripted controllers by group; without a script, controllers that propose nothing."""
    if SCRIPTED in simulation.behaviors:
        return simulation.scripted(SCRIPTED)
    return {group: NoProposals(spec.action_spec) for group, spec in simulation.specs.items()}
