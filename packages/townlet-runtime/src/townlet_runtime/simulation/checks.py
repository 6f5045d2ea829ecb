"""Does a simulation keep what `townlet_runtime.simulation.interface` promises? Every broken promise is named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import BehaviorError
from townlet_runtime.core.groups import first_spec
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.interface import GroupedSimulation, Observed, OneGroup, Simulation
from townlet_runtime.simulation.promises import check_observed, check_spec, check_stepped, check_succession, require
from townlet_runtime.simulation.saved_state import check_saved_state

Groups = Mapping[str, Observed]
Arrays = dict[str, NDArray[Any]]


def check_simulation(simulation: Simulation, *, seed: int, ticks: int, own_seeds: bool = True) -> None:
    """As `check_grouped_simulation`, for a simulation of one group."""
    check_grouped_simulation(OneGroup(simulation), seed=seed, ticks=ticks, own_seeds=own_seeds)


def check_grouped_simulation(simulation: GroupedSimulation, *, seed: int, ticks: int, own_seeds: bool = True) -> None:
    """Drive a simulation with random legal actions, again and again, and look at everything it answers.

    Args:
        simulation: any; it is reset.
        seed: of its worlds, and of the actions.
        ticks: to drive it for; more than an episode shows more.
        own_seeds: world w begins with `seed + w`. False: for worlds that share one source of chance.

    Raises:
        SimulationError: names the promise that is broken and the tick.
    """
    _check_specs(simulation)
    recorded, _ = _drive(simulation, simulation.reset(seed=seed), seed=seed, ticks=ticks, expected=None)
    _drive(simulation, simulation.reset(seed=seed), seed=seed, ticks=ticks, expected=recorded)
    _check_saving(simulation, seed=seed, ticks=ticks)
    if own_seeds and first_spec(simulation).num_worlds > 1:
        _check_world_seeds(simulation, seed=seed)
    _check_behaviors(simulation, seed=seed)


def _drive(
    simulation: GroupedSimulation, observed: Groups, *, seed: int, ticks: int, expected: list[Arrays] | None
) -> tuple[list[Arrays], Groups]:
    """Act at random for so many ticks, each of which must show what is `expected`, if anything is.

    Returns:
        what each tick showed, and what is observed at the end.
    """
    generator = np.random.default_rng(seed)
    recorded: list[Arrays] = []
    for tick in range(ticks):
        seen: Arrays = {}
        try:
            for group, one in observed.items():
                check_observed(one, simulation.specs[group])
                seen.update(_copies(group, one))
            stepped = simulation.step(_random_actions(simulation, observed, generator))
            require(stepped.keys() == observed.keys(), f"an outcome of each of {list(observed)}", list(stepped))
            for group, outcome in stepped.items():
                check_stepped(outcome, observed[group], simulation.specs[group])
                check_succession(outcome, observed[group])
                seen[f"{group}/rewards"] = outcome.rewards.copy()
        except SimulationError as error:
            raise SimulationError(f"tick {tick}: {error}") from error
        if expected is not None:
            require(_same(expected[tick], seen), f"tick {tick}: the same again from the same seed", "something else")
        recorded.append(seen)
        observed = {group: outcome.observed for group, outcome in stepped.items()}
    return recorded, observed


def _copies(group: str, observed: Observed) -> Arrays:
    """All of what is observed; copies, because a simulation may use its arrays again."""
    columns: Arrays = {
        "slots": observed.slots,
        "agent_ids": observed.agent_ids,
        "episodes": observed.episodes,
        **{f"observations/{name}": array for name, array in observed.observations.items()},
    }
    if observed.action_mask is not None:
        columns["action_mask"] = observed.action_mask
    return {f"{group}/{name}": array.copy() for name, array in columns.items()}


def _same(one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(array, other[name]) for name, array in one.items())


def _random_actions(
    simulation: GroupedSimulation, observed: Groups, generator: np.random.Generator
) -> dict[str, NDArray[np.int64]]:
    actions: dict[str, NDArray[np.int64]] = {}
    for group, one in observed.items():
        scores = generator.random((len(one.slots), len(simulation.specs[group].vocabulary)))
        if one.action_mask is not None:
            scores = np.where(one.action_mask, scores, -1.0)
        actions[group] = scores.argmax(axis=1)
    return actions


def _check_specs(simulation: GroupedSimulation) -> None:
    require(len(simulation.specs) > 0, "at least one group", simulation.specs)
    for spec in simulation.specs.values():
        check_spec(spec)
    shared = {(spec.num_worlds, spec.episode_ticks, spec.event_names) for spec in simulation.specs.values()}
    require(len(shared) == 1, "the same worlds, episode length and events for every group", shared)


def _check_saving(simulation: GroupedSimulation, *, seed: int, ticks: int) -> None:
    """What was saved is kept, and leads to the same future however much has happened since."""
    _, observed = _drive(simulation, simulation.reset(seed=seed), seed=seed, ticks=ticks // 2, expected=None)
    state = simulation.save_state()
    if state is None:
        return
    check_saved_state(state)
    kept = {key: array.copy() for key, array in state.items()}
    future, _ = _drive(simulation, observed, seed=seed, ticks=ticks, expected=None)
    require(_same(kept, state), "a saved state that later ticks leave alone", "one that changes")
    try:
        _drive(simulation, simulation.restore(kept), seed=seed, ticks=ticks, expected=future)
    except SimulationError as error:
        raise SimulationError(f"after `restore`: {error}") from error
    try:
        simulation.restore({})
    except (SimulationError, BehaviorError):
        return
    raise SimulationError("expected `restore` to refuse an empty state, got no error")


def _check_world_seeds(simulation: GroupedSimulation, *, seed: int) -> None:
    """World 1 of seed s begins as world 0 of seed s + 1."""
    beginnings = []
    for first_seed, world in ((seed, 1), (seed + 1, 0)):
        seen: Arrays = {}
        for group, observed in simulation.reset(seed=first_seed).items():
            rows = observed.worlds == world
            seen.update({f"{group}/{name}": array[rows] for name, array in observed.observations.items()})
        beginnings.append(seen)
    for name, array in beginnings[0].items():
        require(np.array_equal(array, beginnings[1][name]), f"world w to begin with seed + w (`{name}`)", "another")


def _check_behaviors(simulation: GroupedSimulation, *, seed: int) -> None:
    for name in simulation.behaviors:
        observed = simulation.reset(seed=seed)
        controllers = simulation.scripted(name)
        require(controllers.keys() == simulation.specs.keys(), f"script `{name}`: one of each group", controllers)
        for group, controller in controllers.items():
            proposed, one = controller.propose(observed[group]), observed[group]
            require(proposed.shape == one.slots.shape, f"script `{name}`: [N] proposals", proposed.shape)
            known = (proposed < len(simulation.specs[group].vocabulary)).all()
            require(bool(known), f"script `{name}`: actions of the vocabulary", proposed)
    require(simulation.guardrails().keys() == simulation.specs.keys(), "guardrails of each group", "others")
