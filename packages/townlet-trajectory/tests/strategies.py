"""A small schema, data made from a seed, and Hypothesis strategies over them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from townlet_trajectory import ArraySpec, Trajectory, TrajectoryBatch, TrajectorySchema, default_decision_columns

VOCABULARY = ('{"kind":"wait"}', '{"blocked":true,"kind":"wait"}', '{"kind":"chat","target":"bob"}')
FEATURE_NAMES = ("rivalry_max", "rivalry_avoid_count", "lateness_counter")
SCHEMA = TrajectorySchema(
    observations={
        "map": ArraySpec("float32", (2, 3, 3)),
        "features": ArraySpec("float32", (3,)),
        "action_mask": ArraySpec("bool", (3,)),
    },
    decisions=default_decision_columns(),
    vocabulary=VOCABULARY,
)

Columns = dict[str, NDArray[np.generic]]


def rows_of(specs: Mapping[str, ArraySpec], num_rows: int, rng: np.random.Generator) -> Columns:
    """Arbitrary rows; integers are small, because some are action indices."""
    columns: Columns = {}
    for name, spec in specs.items():
        shape = (num_rows, *spec.shape)
        values = rng.standard_normal(shape) if spec.dtype.startswith("float") else rng.integers(0, 3, shape)
        columns[name] = values.astype(spec.dtype)
    return columns


def make_trajectory(
    seed: int,
    num_steps: int,
    *,
    agent_id: str = "alice",
    world: int = 0,
    episode: int = 0,
    first_tick: int = 0,
    terminated: bool = False,
    truncated: bool = False,
) -> Trajectory:
    rng = np.random.default_rng(seed)
    return Trajectory(
        schema=SCHEMA,
        observations=rows_of(SCHEMA.observations, num_steps + 1, rng),
        columns=rows_of(SCHEMA.decisions, num_steps, rng),
        rewards=rng.standard_normal(num_steps).astype(np.float32),
        ticks=np.arange(first_tick, first_tick + num_steps),
        terminated=terminated,
        truncated=truncated,
        agent_id=agent_id,
        world=world,
        episode=episode,
    )


@st.composite
def trajectories(draw: st.DrawFn) -> Trajectory:
    return make_trajectory(
        draw(st.integers(0, 2**32)),
        draw(st.integers(1, 6)),
        agent_id=draw(st.text(min_size=1, max_size=6)),
        world=draw(st.integers(0, 3)),
        episode=draw(st.integers(0, 3)),
        first_tick=draw(st.integers(0, 1000)),
        terminated=draw(st.booleans()),
        truncated=draw(st.booleans()),
    )


def batches() -> st.SearchStrategy[TrajectoryBatch]:
    return st.lists(trajectories(), min_size=1, max_size=5).map(TrajectoryBatch.from_trajectories)


def assert_same_trajectory(actual: Trajectory, expected: Trajectory) -> None:
    actual.schema.require_equal(expected.schema)
    assert (actual.agent_id, actual.world, actual.episode) == (expected.agent_id, expected.world, expected.episode)
    assert (actual.terminated, actual.truncated) == (expected.terminated, expected.truncated)
    for ours, theirs in ((actual.observations, expected.observations), (actual.columns, expected.columns)):
        assert ours.keys() == theirs.keys()
        for name, array in ours.items():
            np.testing.assert_array_equal(array, theirs[name], err_msg=name, strict=True)
    np.testing.assert_array_equal(actual.rewards, expected.rewards, strict=True)
    np.testing.assert_array_equal(actual.ticks, expected.ticks, strict=True)


def assert_same_batch(actual: TrajectoryBatch, expected: TrajectoryBatch) -> None:
    assert len(actual) == len(expected)
    for index in range(len(actual)):
        assert_same_trajectory(actual.trajectory(index), expected.trajectory(index))


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip 1 to 16 bytes, cut, delete, repeat or splice."""
    changed = bytearray(data)
    kind = rng.integers(0, 8)
    at = int(rng.integers(0, len(data)))
    length = int(rng.integers(1, 64))
    if kind <= 4:
        for place in rng.integers(0, len(data), rng.integers(1, 17)).tolist():
            changed[place] ^= int(rng.integers(1, 256))
    elif kind == 5:
        del changed[at:]
    elif kind == 6:
        del changed[at : at + length]
    else:
        changed[at:at] = changed[at : at + length]
    return bytes(changed)
