"""Checks that a simulation keeps what `townlet_runtime.simulation.interface` promises; a broken promise is named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import BehaviorError, draw_keys
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.interface import (
    GroupedSimulation,
    Observations,
    Observed,
    OneGroup,
    Simulation,
    SimulationSpec,
    Stepped,
    first_spec,
)
from townlet_runtime.simulation.saved_state import check_saved_state
from townlet_trajectory.evaluation.interfaces import training_seeds

Groups = Mapping[str, Observed]
Arrays = dict[str, NDArray[Any]]
Seeds = NDArray[np.int64]


def check_simulation(simulation: Simulation, *, seed: int, ticks: int, own_seeds: bool = True) -> None:
    """Check a simulation of one group, as `check_grouped_simulation` does.

    Args:
        simulation: any; it is reset.
        seed: of its worlds, and of the actions.
        ticks: to drive it for; more than an episode shows more.
        own_seeds: a world depends on its own seed alone.

    Raises:
        SimulationError: names the promise that is broken and the tick.
    """
    check_grouped_simulation(OneGroup(simulation), seed=seed, ticks=ticks, own_seeds=own_seeds)


def check_grouped_simulation(simulation: GroupedSimulation, *, seed: int, ticks: int, own_seeds: bool = True) -> None:
    """Drive a simulation with random legal actions, several times, and look at everything it answers.

    Args:
        simulation: any; it is reset.
        seed: of its worlds, and of the actions.
        ticks: to drive it for; more than an episode shows more.
        own_seeds: a world depends on its own seed alone. False: for worlds that share one source of chance.

    Raises:
        SimulationError: names the promise that is broken and the tick.
    """
    _check_specs(simulation)
    seeds = training_seeds(seed, first_spec(simulation).num_worlds)
    recorded, _ = _drive(simulation, simulation.reset(seeds=seeds), seeds=seeds, ticks=ticks, expected=None)
    _drive(simulation, simulation.reset(seeds=seeds), seeds=seeds, ticks=ticks, expected=recorded)
    _check_saving(simulation, seeds=seeds, ticks=ticks)
    if own_seeds and len(seeds) > 1:
        _check_world_seeds(simulation, seeds=seeds)
    _check_behaviors(simulation, seeds=seeds)


def _drive(
    simulation: GroupedSimulation, observed: Groups, *, seeds: Seeds, ticks: int, expected: list[Arrays] | None
) -> tuple[list[Arrays], Groups]:
    """Act at random for `ticks` ticks, and compare each with `expected` where that is given.

    Returns:
        what each tick showed, and what is observed at the end.
    """
    generator = np.random.default_rng(seeds)
    recorded: list[Arrays] = []
    for tick in range(ticks):
        seen: Arrays = {}
        try:
            for group, one in observed.items():
                check_observed(one, simulation.specs[group], seeds)
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
    """Copy every observed array: a simulation may use its arrays again."""
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


def _check_saving(simulation: GroupedSimulation, *, seeds: Seeds, ticks: int) -> None:
    """Check that a saved state stays as it is and leads to the same future after other ticks."""
    _, observed = _drive(simulation, simulation.reset(seeds=seeds), seeds=seeds, ticks=ticks // 2, expected=None)
    state = simulation.save_state()
    if state is None:
        return
    check_saved_state(state)
    kept = {key: array.copy() for key, array in state.items()}
    future, _ = _drive(simulation, observed, seeds=seeds, ticks=ticks, expected=None)
    require(_same(kept, state), "a saved state that later ticks leave alone", "one that changes")
    try:
        _drive(simulation, simulation.restore(kept), seeds=seeds, ticks=ticks, expected=future)
    except SimulationError as error:
        raise SimulationError(f"after `restore`: {error}") from error
    try:
        simulation.restore({})
    except (SimulationError, BehaviorError):
        return
    raise SimulationError("expected `restore` to refuse an empty state, got no error")


def _check_world_seeds(simulation: GroupedSimulation, *, seeds: Seeds) -> None:
    """World 1 begins as world 0 does where it has its seed."""
    beginnings = []
    for begun, world in ((seeds, 1), (np.roll(seeds, -1), 0)):
        seen: Arrays = {}
        for group, observed in simulation.reset(seeds=begun).items():
            rows = observed.worlds == world
            seen.update({f"{group}/{name}": array[rows] for name, array in observed.observations.items()})
        beginnings.append(seen)
    for name, array in beginnings[0].items():
        require(np.array_equal(array, beginnings[1][name]), f"a world to follow from its seed alone (`{name}`)", "more")


def _check_behaviors(simulation: GroupedSimulation, *, seeds: Seeds) -> None:
    for name in simulation.behaviors:
        observed = simulation.reset(seeds=seeds)
        controllers = simulation.scripted(name)
        require(controllers.keys() == simulation.specs.keys(), f"script `{name}`: one of each group", controllers)
        for group, controller in controllers.items():
            proposed, one = controller.propose(observed[group]), observed[group]
            require(proposed.shape == one.slots.shape, f"script `{name}`: [N] proposals", proposed.shape)
            known = (proposed < len(simulation.specs[group].vocabulary)).all()
            require(bool(known), f"script `{name}`: actions of the vocabulary", proposed)
    require(simulation.guardrails().keys() == simulation.specs.keys(), "guardrails of each group", "others")


def require(kept: bool, promise: str, got: object) -> None:
    """Refuse a broken promise.

    Args:
        kept: whether the promise is kept.
        promise: what was expected, for the message.
        got: what came instead.

    Raises:
        SimulationError: unless `kept`.
    """
    if not kept:
        raise SimulationError(f"expected {promise}, got {got}")


def _require_array(array: NDArray[Any], dtype: str, shape: tuple[int, ...], promise: str) -> None:
    require(array.shape == shape and array.dtype == dtype, promise, f"{array.dtype} {array.shape}")


def check_spec(spec: SimulationSpec) -> None:
    """Check that a `SimulationSpec` is consistent."""
    require(spec.num_worlds > 0, "at least one world", spec.num_worlds)
    shared = spec.capacity > 0 and spec.capacity % spec.num_worlds == 0
    require(shared, f"a capacity that {spec.num_worlds} worlds share evenly", spec.capacity)
    require(spec.episode_ticks > 0, "a positive `episode_ticks`", spec.episode_ticks)
    missing = set(spec.vocabulary.kinds) - set(spec.option_ticks)
    require(not missing, "`option_ticks` for every kind of the vocabulary", f"none for {sorted(missing)}")
    if "features" in spec.observation_shapes:
        shape, size = spec.observation_shapes["features"], len(spec.feature_names)
        require(shape == (size,), f"a name for each feature of {shape}", f"{size} names")
    columns = spec.commitment_columns
    if columns is not None:
        (width,) = spec.observation_shapes.get(columns.observation, (0,))
        count = len(spec.vocabulary) + 1
        shown = f"{count} commitment columns from {columns.start} in `{columns.observation}`"
        require(0 <= columns.start <= width - count, shown, f"{width} columns")


def check_observed(observed: Observed, spec: SimulationSpec, seeds: Seeds) -> None:
    """Check that the rows are those of agents of a simulation.

    Args:
        observed: of one group, at one tick.
        spec: of the group.
        seeds: [W]; the worlds' own.

    Raises:
        SimulationError: names the promise that is broken.
    """
    rows, slots = len(observed.slots), observed.slots
    require(bool((np.diff(slots) > 0).all()), "strictly ascending slots", slots)
    require(rows == 0 or (slots[0] >= 0 and slots[-1] < spec.capacity), f"slots in [0, {spec.capacity})", slots)
    worlds = slots // (spec.capacity // spec.num_worlds)
    require(np.array_equal(observed.worlds, worlds), f"worlds {worlds} of the slots", observed.worlds)
    keys = [int(draw_keys(seed, one)) for seed, one in zip(seeds[worlds].tolist(), observed.agent_ids, strict=True)]
    require(observed.keys.tolist() == keys, "keys of the worlds' seeds and agent ids", observed.keys)
    require(observed.episodes.shape == (rows,), "an episode of each row", observed.episodes.shape)
    unique = all(len(np.unique(worlds[observed.episodes == one])) == 1 for one in np.unique(observed.episodes))
    require(unique, "episode numbers that are unique over all worlds", observed.episodes)
    _require_array(observed.option_done, "bool", (rows,), f"bool [{rows}] `option_done`")
    _check_observations(observed.observations, rows, spec)
    mask = observed.action_mask
    if mask is not None:
        size = len(spec.vocabulary)
        _require_array(mask, "bool", (rows, size), f"a bool mask [{rows}, {size}]")
        require(bool(mask.any(axis=1).all()), "a mask that allows every agent something", mask)


def _check_observations(observations: Observations, rows: int, spec: SimulationSpec) -> None:
    shapes = {name: array.shape for name, array in observations.items()}
    expected = {name: (rows, *shape) for name, shape in spec.observation_shapes.items()}
    require(shapes == expected, f"observations of shapes {expected}", shapes)
    for name, array in observations.items():
        require(array.dtype == np.float32, f"float32 `{name}`", array.dtype)
        require(bool(np.isfinite(array).all()), f"finite `{name}`", array)
    columns = spec.commitment_columns
    if columns is not None:
        shown = observations[columns.observation][:, columns.start : columns.start + len(spec.vocabulary) + 1]
        require(not shown.any(), "commitment columns left to the runtime", shown)


def check_stepped(stepped: Stepped, before: Observed, spec: SimulationSpec) -> None:
    """Check that the outcome is one of the rows that were acted on.

    Args:
        stepped: of one group, at one tick.
        before: the view that was acted on.
        spec: of the group.

    Raises:
        SimulationError: names the promise that is broken.
    """
    rows = len(before.slots)
    _require_array(stepped.rewards, "float32", (rows,), f"float32 [{rows}] rewards")
    require(bool(np.isfinite(stepped.rewards).all()), "finite rewards", stepped.rewards)
    for name, column in (("terminated", stepped.terminated), ("truncated", stepped.truncated)):
        _require_array(column, "bool", (rows,), f"bool [{rows}] `{name}`")
    ended = np.flatnonzero(stepped.terminated | stepped.truncated)
    require(np.array_equal(stepped.final_rows, ended), f"`final_rows` {ended}, those that ended", stepped.final_rows)
    done = stepped.final_option_done
    require(done.shape == ended.shape, f"[{len(ended)}] `final_option_done`", done)
    _check_observations(stepped.final_observations, len(ended), spec)
    shape = (spec.num_worlds, len(spec.event_names))
    require(stepped.events.shape == shape, f"{shape} events", stepped.events.shape)


def check_succession(stepped: Stepped, before: Observed) -> None:
    """Check that every agent stays in its slot until it ends."""
    ended = stepped.terminated | stepped.truncated
    now = stepped.observed
    after = dict(zip(now.slots.tolist(), zip(now.agent_ids, now.episodes.tolist(), strict=True), strict=True))
    for row, slot in enumerate(before.slots.tolist()):
        was = (before.agent_ids[row], int(before.episodes[row]))
        if not ended[row]:
            require(after.get(slot) == was, f"agent {was[0]!r} to stay in slot {slot}", after.get(slot))
