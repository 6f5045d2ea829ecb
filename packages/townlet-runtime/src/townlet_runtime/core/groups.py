"""The runtimes of a simulation with several groups of agents: one for each, deciding at the same ticks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from townlet_behavior import BatchController, BridgeConfig, NoProposals
from townlet_runtime.core.runtime import PolicyRuntime
from townlet_runtime.errors import SimulationError
from townlet_runtime.policy.policy import Policy, SimulationActor
from townlet_runtime.simulation.interface import GroupedSimulation, SimulationSpec
from townlet_trajectory import TrajectoryService
from townlet_trajectory.evaluation.interfaces import Actor
from townlet_trajectory.evaluation.results import SCRIPTED


def script_side(simulation: GroupedSimulation) -> Mapping[str, BatchController]:
    """The scripted controllers by group; where there is no script, what proposes nothing."""
    if SCRIPTED in simulation.behaviors:
        return simulation.scripted(SCRIPTED)
    return {group: NoProposals() for group in simulation.specs}


def runtimes_of(
    simulation: GroupedSimulation,
    controllers: Mapping[str, BatchController],
    *,
    config: BridgeConfig,
    policies: Mapping[str, Policy] | None,
    services: Mapping[str, TrajectoryService] | None,
    seed: int,
    greedy: bool = False,
) -> dict[str, PolicyRuntime]:
    """One runtime for each group, under the world's own guardrails; `PolicyRuntime` says what the arguments mean.

    Raises:
        SimulationError: if a policy was made for other actions or observations.
    """
    guardrails = simulation.guardrails()
    return {
        group: PolicyRuntime(
            spec,
            controllers[group],
            config=config,
            policy=None if policies is None else policies[group],
            service=None if services is None else services[group],
            seed=seed,
            greedy=greedy,
            guardrails=guardrails[group],
        )
        for group, spec in simulation.specs.items()
    }


def policies_of(actors: Mapping[str, Actor], simulation: GroupedSimulation) -> dict[str, Policy]:
    """Make policies of actors: one that says what it was made for is held to it, another is taken to fit its group.

    Raises:
        SimulationError: unless there is one for each group, and each `Policy` among them fits.
    """
    specs = simulation.specs
    if actors.keys() != specs.keys():
        raise SimulationError(f"expected a policy for each group of {sorted(specs)}, got {sorted(actors)}")
    policies: dict[str, Policy] = {}
    for group, spec in specs.items():
        actor = actors[group]
        policies[group] = actor if isinstance(actor, Policy) else SimulationActor(actor=actor, spec=spec)
    return policies


def first_spec(simulation: GroupedSimulation) -> SimulationSpec:
    """The spec of any group, for what all groups share: worlds, episode length, events."""
    return next(iter(simulation.specs.values()))


def count_worlds(runtimes: Sequence[PolicyRuntime], specs: Sequence[SimulationSpec]) -> int:
    """In how many worlds anybody is about to act, of any group; one runtime and one spec for each."""
    inhabited = []
    for index, spec in enumerate(specs):
        observed = runtimes[index].observed
        if observed is None:
            continue
        if len(observed.slots) == spec.capacity:  # everybody is there, which is usual and costs nothing to see
            return spec.num_worlds
        inhabited.append(observed.worlds)
    return len(np.unique(np.concatenate(inhabited))) if inhabited else 0
