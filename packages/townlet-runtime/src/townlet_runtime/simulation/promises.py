"""The promises of a simulation, one group and one tick at a time; each is named when it is broken."""

from __future__ import annotations

import numpy as np

from townlet_behavior import draw_keys
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.interface import Observations, Observed, SimulationSpec, Stepped


def require(kept: bool, promise: str, got: object) -> None:
    """Raise `SimulationError` unless a promise is kept."""
    if not kept:
        raise SimulationError(f"expected {promise}, got {got}")


def check_spec(spec: SimulationSpec) -> None:
    """Does what is said of the simulation fit together?"""
    require(spec.num_worlds > 0, "at least one world", spec.num_worlds)
    require(
        spec.capacity > 0 and spec.capacity % spec.num_worlds == 0,
        f"a capacity that {spec.num_worlds} worlds share evenly",
        spec.capacity,
    )
    require(spec.episode_ticks > 0, "a positive `episode_ticks`", spec.episode_ticks)
    missing = set(spec.vocabulary.kinds) - set(spec.option_ticks)
    require(not missing, "`option_ticks` for every kind of the vocabulary", f"none for {sorted(missing)}")
    if "features" in spec.observation_shapes:
        require(
            spec.observation_shapes["features"] == (len(spec.feature_names),),
            f"a name for each feature of {spec.observation_shapes['features']}",
            f"{len(spec.feature_names)} names",
        )
    columns = spec.commitment_columns
    if columns is not None:
        (width,) = spec.observation_shapes.get(columns.observation, (0,))
        require(
            0 <= columns.start <= width - len(spec.vocabulary) - 1,
            f"{len(spec.vocabulary) + 1} commitment columns from {columns.start} in `{columns.observation}`",
            f"{width} columns",
        )


def check_observed(observed: Observed, spec: SimulationSpec) -> None:
    """Are the rows those of agents of this simulation?"""
    rows, slots = len(observed.slots), observed.slots
    require(bool((np.diff(slots) > 0).all()), "strictly ascending slots", slots)
    require(rows == 0 or (slots[0] >= 0 and slots[-1] < spec.capacity), f"slots in [0, {spec.capacity})", slots)
    worlds = slots // (spec.capacity // spec.num_worlds)
    require(np.array_equal(observed.worlds, worlds), f"worlds {worlds} of the slots", observed.worlds)
    keys = [draw_keys(int(world), agent) for world, agent in zip(worlds, observed.agent_ids, strict=True)]
    require(observed.keys.tolist() == [int(key) for key in keys], "keys of worlds and agent ids", observed.keys)
    require(observed.episodes.shape == (rows,), "an episode of each row", observed.episodes.shape)
    require(
        all(len(np.unique(observed.worlds[observed.episodes == one])) == 1 for one in np.unique(observed.episodes)),
        "episode numbers that are unique over all worlds",
        observed.episodes,
    )
    require(
        observed.option_done.shape == (rows,) and observed.option_done.dtype == np.bool_,
        f"bool [{rows}] `option_done`",
        f"{observed.option_done.dtype} {observed.option_done.shape}",
    )
    _check_observations(observed.observations, rows, spec)
    mask = observed.action_mask
    if mask is not None:
        require(
            mask.shape == (rows, len(spec.vocabulary)) and mask.dtype == np.bool_,
            f"a bool mask [{rows}, {len(spec.vocabulary)}]",
            f"{mask.dtype} {mask.shape}",
        )
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
    """Is the outcome one of the rows that were acted on?"""
    rows = len(before.slots)
    require(
        stepped.rewards.shape == (rows,) and stepped.rewards.dtype == np.float32,
        f"float32 [{rows}] rewards",
        f"{stepped.rewards.dtype} {stepped.rewards.shape}",
    )
    require(bool(np.isfinite(stepped.rewards).all()), "finite rewards", stepped.rewards)
    for name, column in (("terminated", stepped.terminated), ("truncated", stepped.truncated)):
        require(
            column.shape == (rows,) and column.dtype == np.bool_,
            f"bool [{rows}] `{name}`",
            f"{column.dtype} {column.shape}",
        )
    ended = np.flatnonzero(stepped.terminated | stepped.truncated)
    require(np.array_equal(stepped.final_rows, ended), f"`final_rows` {ended}, those that ended", stepped.final_rows)
    require(
        stepped.final_option_done.shape == ended.shape, f"[{len(ended)}] `final_option_done`", stepped.final_option_done
    )
    _check_observations(stepped.final_observations, len(ended), spec)
    shape = (spec.num_worlds, len(spec.event_names))
    require(stepped.events.shape == shape, f"{shape} events", stepped.events.shape)


def check_succession(stepped: Stepped, before: Observed) -> None:
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
            require(after.get(slot) == now, f"agent {now[0]!r} to stay in slot {slot}", after.get(slot))
