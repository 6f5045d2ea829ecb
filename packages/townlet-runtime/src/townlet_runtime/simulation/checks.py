"""Checks that a simulation keeps what `townlet_runtime.simulation.interface` promises; a broken promise is named."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import BehaviorError
from townlet_behavior.forms import form_of
from townlet_behavior.testing import check_controller
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.chance import random_actions
from townlet_runtime.simulation.intake import Intake
from townlet_runtime.simulation.interface import (
    GroupedSimulation,
    Observations,
    Observed,
    Picture,
    Rendered,
    Saved,
    Simulation,
    SimulationSpec,
    first_spec,
)
from townlet_runtime.simulation.kits import check_rules, copied, differing, require
from townlet_runtime.simulation.one_group import OneGroup
from townlet_runtime.simulation.recorded import Filling, Room
from townlet_runtime.simulation.saved_state import check_saved_state
from townlet_trajectory.evaluation.interfaces import training_seeds

Groups = Mapping[str, Observed]
Arrays = dict[str, NDArray[Any]]
Seeds = NDArray[np.int64]


def check_simulation(simulation: Simulation, *, seed: int, ticks: int, own_seeds: bool = True) -> None:
    """Check a simulation of one group as `check_grouped_simulation` does, and its behaviors and guardrails over time.

    Args:
        simulation: any; it is reset.
        seed: of its worlds, and of the actions.
        ticks: to drive it for; more than an episode shows more.
        own_seeds: a world depends on its own seed alone.

    Raises:
        SimulationError: names the promise that is broken and the tick.
    """
    check_grouped_simulation(OneGroup(simulation), seed=seed, ticks=ticks, own_seeds=own_seeds)
    if isinstance(simulation, Saved) and simulation.save_state() is not None:
        _check_refusal(simulation)
    check_rules(simulation, seed=seed, ticks=ticks)
    if isinstance(simulation, Rendered):
        _check_picture(simulation.render())


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
    if isinstance(simulation, Filling):
        _check_filling(simulation, seeds=seeds, ticks=ticks, expected=recorded)
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
    intakes = {group: Intake(spec) for group, spec in simulation.specs.items()}
    ages, recorded = _Ages(first_spec(simulation)), list[Arrays]()
    for group, one in observed.items():
        _require_exact(intakes[group].begin(one, seeds=seeds) is one, group)
    for tick in range(ticks):
        seen: Arrays = {}
        try:
            ages.check(observed.values())
            for group, one in observed.items():
                _check_observed(one, simulation.specs[group])
                seen.update(_copies(group, one))
            specs = simulation.specs
            stepped = simulation.step(
                {group: random_actions(specs[group], one, generator) for group, one in observed.items()}
            )
            require(stepped.keys() == observed.keys(), f"an outcome of each of {list(observed)}", list(stepped))
            for group, outcome in stepped.items():
                _require_exact(intakes[group].step(outcome) is outcome, group)
                _check_observations(outcome.final_observations, simulation.specs[group])
                terms = {f"{group}/reward_terms/{name}": term.copy() for name, term in outcome.reward_terms.items()}
                seen |= {f"{group}/rewards": outcome.rewards.copy(), f"{group}/events": outcome.events.copy(), **terms}
        except SimulationError as error:
            raise SimulationError(f"tick {tick}: {error}") from error
        if expected is not None:
            require(
                not differing(expected[tick], seen), f"tick {tick}: the same again from the same seed", "something else"
            )
        recorded.append(seen)
        observed = {group: outcome.observed for group, outcome in stepped.items()}
    return recorded, observed


class _FillingGroups(Filling, GroupedSimulation, Protocol):
    """Both."""


def _check_filling(simulation: _FillingGroups, *, seeds: Seeds, ticks: int, expected: list[Arrays]) -> None:
    """Check that memory that was asked for is filled and handed out, and that the same is seen in it."""
    lent: dict[str, Arrays] = {}

    def room_of(group: str, spec: SimulationSpec) -> Room:
        def room(num_rows: int) -> Arrays:
            lent[group] = {
                name: np.full((num_rows, *shape), np.nan, np.float32) for name, shape in spec.seen_shapes.items()
            }
            return lent[group]

        return room

    simulation.write_into({group: room_of(group, spec) for group, spec in simulation.specs.items()})
    begun = simulation.reset(seeds=seeds)
    asked = [dict(lent)]
    _, after = _drive(simulation, begun, seeds=seeds, ticks=ticks, expected=expected)
    asked.append(lent)
    for views, rooms in zip((begun, after), asked, strict=True):
        for group, arrays in rooms.items():
            same = all(views[group].observations[name] is array for name, array in arrays.items())
            require(same, f"the arrays of group `{group}` that were lent, as `observations`", "others")
    simulation.write_into({})


class _Ages:
    """Count the ticks of the present episode of each world, by its agents."""

    def __init__(self, spec: SimulationSpec) -> None:
        self._limit = spec.episode_ticks
        self._episodes: NDArray[np.int64] = np.full(spec.num_worlds, -1)
        self._ticks: NDArray[np.int64] = np.zeros(spec.num_worlds, np.int64)

    def check(self, observed: Collection[Observed]) -> None:
        """Count a tick, and require that no episode is longer than `episode_ticks`."""
        episodes = self._episodes.copy()
        for one in observed:
            episodes[one.worlds] = one.episodes
        self._ticks = np.where(episodes == self._episodes, self._ticks + 1, 0)
        self._episodes = episodes
        for one in observed:
            late = self._ticks[one.worlds] >= self._limit
            require(not late.any(), f"an episode to be over after `episode_ticks` {self._limit} ticks", "a longer one")


def _require_exact(kept: bool, group: str) -> None:
    """Only `OneGroup` completes and casts; a grouped simulation answers as it is stated."""
    require(kept, f"arrays of group `{group}` that are complete and of the stated dtypes", "others")


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


def _check_specs(simulation: GroupedSimulation) -> None:
    require(len(simulation.specs) > 0, "at least one group", simulation.specs)
    shared = {(spec.num_worlds, spec.episode_ticks, spec.event_names) for spec in simulation.specs.values()}
    require(len(shared) == 1, "the same worlds, episode length and events for every group", shared)


def _check_saving(simulation: GroupedSimulation, *, seeds: Seeds, ticks: int) -> None:
    """Check that a saved state stays as it is and leads to the same future after other ticks."""
    _, observed = _drive(simulation, simulation.reset(seeds=seeds), seeds=seeds, ticks=ticks // 2, expected=None)
    state = simulation.save_state()
    if state is None:
        return
    check_saved_state(state)
    kept = copied(state)
    future, _ = _drive(simulation, observed, seeds=seeds, ticks=ticks, expected=None)
    require(not differing(kept, state), "a saved state that later ticks leave alone", "one that changes")
    try:
        _drive(simulation, simulation.restore(kept), seeds=seeds, ticks=ticks, expected=future)
    except SimulationError as error:
        raise SimulationError(f"after `restore`: {error}") from error
    _check_refusal(simulation)


def _check_refusal(simulation: Saved | GroupedSimulation) -> None:
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
            try:
                check_controller(controller, observed[group], simulation.specs[group].action_spec)
            except BehaviorError as error:
                raise SimulationError(f"script `{name}` of group `{group}`: {error}") from error
    require(simulation.guardrails().keys() == simulation.specs.keys(), "guardrails of each group", "others")


def _check_observed(observed: Observed, spec: SimulationSpec) -> None:
    """Check what an `Intake` does not look at."""
    require(
        all(len(np.unique(observed.worlds[observed.episodes == one])) == 1 for one in np.unique(observed.episodes)),
        "episode numbers that are unique over all worlds",
        observed.episodes,
    )
    _check_observations(observed.observations, spec)
    mask = observed.action_mask
    if mask is not None:
        stuck = form_of(spec.action_spec).stuck(mask)
        require(not stuck.any(), "a mask that allows every agent something, in every part of its action", mask)


def _check_observations(observations: Observations, spec: SimulationSpec) -> None:
    for name, array in observations.items():
        require(bool(np.isfinite(array).all()), f"finite `{name}`", array)
    for name, kind in spec.observation_kinds.items():
        if kind == "entities":
            mask = observations[f"{name}_mask"]
            require(bool(np.isin(mask, (0.0, 1.0)).all()), f"`{name}_mask` of zeros and ones", mask)
    columns = spec.commitment_columns
    if columns is not None:
        shown = observations[columns.observation][:, columns.start : columns.start + len(spec.vocabulary) + 1]
        require(not shown.any(), "commitment columns left to the runtime", shown)


def _check_picture(picture: Picture | None) -> None:
    if picture is not None and not isinstance(picture, str):
        drawn = picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
        require(drawn, "a picture uint8 [H, W, 3], or text", f"{picture.dtype} {picture.shape}")
