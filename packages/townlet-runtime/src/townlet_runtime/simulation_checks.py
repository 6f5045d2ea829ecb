"""Does a simulation keep what `townlet_runtime.simulation` promises? Every broken promise is named."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import draw_keys
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation import Observations, Observed, Simulation, SimulationSpec, Stepped


def check_simulation(simulation: Simulation, *, seed: int, ticks: int) -> None:
    """Drive a simulation with random legal actions, twice, and look at everything it answers.

    Raises:
        SimulationError: names the promise that is broken and the tick.
    """
    spec = simulation.spec
    _check_spec(spec)
    recorded = _drive(simulation, seed=seed, ticks=ticks, expected=None)
    _drive(simulation, seed=seed, ticks=ticks, expected=recorded)
    if spec.num_worlds > 1:
        _check_world_seeds(simulation, seed=seed)
    for name in ("scripted", "nearest", "idle"):
        observed = simulation.reset(seed=seed)
        proposed = simulation.scripted(name).propose(observed)
        _require(proposed.shape == observed.slots.shape, f"script `{name}`: [N] proposals", proposed.shape)
        _require(bool((proposed < len(spec.vocabulary)).all()), f"script `{name}`: actions of the vocabulary", proposed)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seen:
    """What one tick must show again when it is run again."""

    agent_ids: NDArray[np.object_]
    observations: Observations
    rewards: NDArray[np.float32]


def _require(kept: bool, promise: str, got: object) -> None:
    if not kept:
        raise SimulationError(f"expected {promise}, got {got}")


def _drive(simulation: Simulation, *, seed: int, ticks: int, expected: list[_Seen] | None) -> list[_Seen]:
    generator = np.random.default_rng(seed)
    observed = simulation.reset(seed=seed)
    recorded: list[_Seen] = []
    for tick in range(ticks):
        try:
            _check_observed(observed, simulation.spec)
            stepped = simulation.step(_random_actions(observed, len(simulation.spec.vocabulary), generator))
            _check_stepped(stepped, observed, simulation.spec)
            _check_succession(stepped, observed)
        except SimulationError as error:
            raise SimulationError(f"tick {tick}: {error}") from error
        seen = _Seen(agent_ids=observed.agent_ids, observations=observed.observations, rewards=stepped.rewards)
        if expected is not None:
            _require(_same(expected[tick], seen), f"tick {tick}: the same again from the same seed", "something else")
        recorded.append(
            _Seen(
                agent_ids=seen.agent_ids.copy(),
                observations={name: array.copy() for name, array in seen.observations.items()},
                rewards=seen.rewards.copy(),
            )
        )
        observed = stepped.observed
    return recorded


def _same(one: _Seen, other: _Seen) -> bool:
    return (
        np.array_equal(one.agent_ids, other.agent_ids)
        and np.array_equal(one.rewards, other.rewards)
        and all(np.array_equal(array, other.observations[name]) for name, array in one.observations.items())
    )


def _random_actions(observed: Observed, num_actions: int, generator: np.random.Generator) -> NDArray[np.int64]:
    scores = generator.random((len(observed.slots), num_actions))
    if observed.action_mask is not None:
        scores = np.where(observed.action_mask, scores, -1.0)
    drawn: NDArray[np.int64] = scores.argmax(axis=1)
    return drawn


def _check_spec(spec: SimulationSpec) -> None:
    _require(spec.num_worlds > 0, "at least one world", spec.num_worlds)
    _require(
        spec.capacity > 0 and spec.capacity % spec.num_worlds == 0,
        f"a capacity that {spec.num_worlds} worlds share evenly",
        spec.capacity,
    )
    _require(spec.episode_ticks > 0, "a positive `episode_ticks`", spec.episode_ticks)
    missing = set(spec.vocabulary.kinds) - set(spec.option_ticks)
    _require(not missing, "`option_ticks` for every kind of the vocabulary", f"none for {sorted(missing)}")
    if "features" in spec.observation_shapes:
        _require(
            spec.observation_shapes["features"] == (len(spec.feature_names),),
            f"a name for each feature of {spec.observation_shapes['features']}",
            f"{len(spec.feature_names)} names",
        )
    columns = spec.commitment_columns
    if columns is not None:
        (width,) = spec.observation_shapes.get(columns.observation, (0,))
        _require(
            0 <= columns.start <= width - len(spec.vocabulary) - 1,
            f"{len(spec.vocabulary) + 1} commitment columns from {columns.start} in `{columns.observation}`",
            f"{width} columns",
        )


def _check_observed(observed: Observed, spec: SimulationSpec) -> None:
    rows, slots = len(observed.slots), observed.slots
    _require(bool((np.diff(slots) > 0).all()), "strictly ascending slots", slots)
    _require(rows == 0 or (slots[0] >= 0 and slots[-1] < spec.capacity), f"slots in [0, {spec.capacity})", slots)
    worlds = slots // (spec.capacity // spec.num_worlds)
    _require(np.array_equal(observed.worlds, worlds), f"worlds {worlds} of the slots", observed.worlds)
    keys = [draw_keys(int(world), agent) for world, agent in zip(worlds, observed.agent_ids, strict=True)]
    _require(observed.keys.tolist() == [int(key) for key in keys], "keys of worlds and agent ids", observed.keys)
    _require(observed.episodes.shape == (rows,), "an episode of each row", observed.episodes.shape)
    _require(
        all(len(np.unique(observed.worlds[observed.episodes == one])) == 1 for one in np.unique(observed.episodes)),
        "episode numbers that are unique over all worlds",
        observed.episodes,
    )
    _require(
        observed.option_done.shape == (rows,) and observed.option_done.dtype == np.bool_,
        f"bool [{rows}] `option_done`",
        f"{observed.option_done.dtype} {observed.option_done.shape}",
    )
    _check_observations(observed.observations, rows, spec)
    mask = observed.action_mask
    if mask is not None:
        _require(
            mask.shape == (rows, len(spec.vocabulary)) and mask.dtype == np.bool_,
            f"a bool mask [{rows}, {len(spec.vocabulary)}]",
            f"{mask.dtype} {mask.shape}",
        )
        _require(bool(mask[:, spec.vocabulary.wait].all()), "a mask that allows to wait", mask)


def _check_observations(observations: Observations, rows: int, spec: SimulationSpec) -> None:
    shapes = {name: array.shape for name, array in observations.items()}
    expected = {name: (rows, *shape) for name, shape in spec.observation_shapes.items()}
    _require(shapes == expected, f"observations of shapes {expected}", shapes)
    for name, array in observations.items():
        _require(array.dtype == np.float32, f"float32 `{name}`", array.dtype)
        _require(bool(np.isfinite(array).all()), f"finite `{name}`", array)
    columns = spec.commitment_columns
    if columns is not None:
        shown = observations[columns.observation][:, columns.start : columns.start + len(spec.vocabulary) + 1]
        _require(not shown.any(), "commitment columns left to the runtime", shown)


def _check_stepped(stepped: Stepped, before: Observed, spec: SimulationSpec) -> None:
    rows = len(before.slots)
    _require(
        stepped.rewards.shape == (rows,) and stepped.rewards.dtype == np.float32,
        f"float32 [{rows}] rewards",
        f"{stepped.rewards.dtype} {stepped.rewards.shape}",
    )
    _require(bool(np.isfinite(stepped.rewards).all()), "finite rewards", stepped.rewards)
    for name, column in (("terminated", stepped.terminated), ("truncated", stepped.truncated)):
        _require(
            column.shape == (rows,) and column.dtype == np.bool_,
            f"bool [{rows}] `{name}`",
            f"{column.dtype} {column.shape}",
        )
    ended = np.flatnonzero(stepped.terminated | stepped.truncated)
    _require(np.array_equal(stepped.final_rows, ended), f"`final_rows` {ended}, those that ended", stepped.final_rows)
    _require(
        stepped.final_option_done.shape == ended.shape, f"[{len(ended)}] `final_option_done`", stepped.final_option_done
    )
    _check_observations(stepped.final_observations, len(ended), spec)
    shape = (spec.num_worlds, len(spec.event_names))
    _require(stepped.events.shape == shape, f"{shape} events", stepped.events.shape)


def _check_succession(stepped: Stepped, before: Observed) -> None:
    """Who did not end is still there, in the same slot; who ended is not, or has begun another episode."""
    ended = stepped.terminated | stepped.truncated
    after = {
        slot: (agent, episode)
        for slot, agent, episode in zip(
            stepped.observed.slots.tolist(),
            stepped.observed.agent_ids,
            stepped.observed.episodes.tolist(),
            strict=True,
        )
    }
    for row, slot in enumerate(before.slots.tolist()):
        now = (before.agent_ids[row], int(before.episodes[row]))
        if not ended[row]:
            _require(after.get(slot) == now, f"agent {now[0]!r} to stay in slot {slot}", after.get(slot))


def _check_world_seeds(simulation: Simulation, *, seed: int) -> None:
    """World 1 of seed s begins as world 0 of seed s + 1."""
    beginnings = []
    for first_seed, world in ((seed, 1), (seed + 1, 0)):
        observed = simulation.reset(seed=first_seed)
        rows = observed.worlds == world
        beginnings.append({name: array[rows] for name, array in observed.observations.items()})
    for name, array in beginnings[0].items():
        _require(np.array_equal(array, beginnings[1][name]), f"world w to begin with seed + w (`{name}`)", "another")
