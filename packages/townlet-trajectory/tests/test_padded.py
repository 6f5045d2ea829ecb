"""Padded batches: where everything lies, and that nothing is lost."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SCHEMA, assert_same_batch, batches, make_trajectory

from townlet_trajectory import ContinuityError, SchemaError, ShapeError, TrajectoryBatch
from townlet_trajectory.data.padded import PaddedBatch


def make_batch() -> TrajectoryBatch:
    return TrajectoryBatch.from_trajectories(
        [make_trajectory(1, 1, first_tick=4), make_trajectory(2, 3, agent_id="bob", terminated=True)]
    )


def test_by_hand() -> None:
    batch = make_batch()
    padded = PaddedBatch.of(batch, num_steps=4)
    assert len(padded) == 2
    assert padded.mask.tolist() == [[True, False, False, False], [True, True, True, False]]
    assert padded.lengths.tolist() == [1, 3]
    assert padded.ticks.tolist() == [[4, 0, 0, 0], [0, 1, 2, 0]]
    features, flat = padded.observations["features"], batch.observations["features"]
    assert features.shape == (2, 5, 3)
    np.testing.assert_array_equal(features[0, 0], flat[0])
    np.testing.assert_array_equal(features[0, 1], batch.final_observations["features"][0])
    np.testing.assert_array_equal(features[1, :3], flat[1:])
    np.testing.assert_array_equal(features[1, 3], batch.final_observations["features"][1])
    assert not features[0, 2:].any()
    assert not padded.observations["action_mask"][0, 2:].any()
    np.testing.assert_array_equal(padded.columns["value"][1, :3], batch.columns["value"][1:])
    assert (padded.terminated.tolist(), padded.agent_ids.tolist()) == ([False, True], ["alice", "bob"])


@given(batches(), st.integers(0, 2))
def test_flat_inverts_of(batch: TrajectoryBatch, extra: int) -> None:
    padded = PaddedBatch.of(batch, num_steps=int(batch.lengths.max()) + extra)
    assert_same_batch(padded.flat(), batch)
    np.testing.assert_array_equal(padded.lengths, batch.lengths)


def test_nothing() -> None:
    empty = TrajectoryBatch.empty(SCHEMA)
    padded = PaddedBatch.of(empty)
    assert padded.observations["map"].shape == (0, 1, 2, 3, 3)
    assert_same_batch(padded.flat(), empty)


def test_nothing_can_be_written() -> None:
    padded = deepcopy(PaddedBatch.of(make_batch()))
    for array in (padded.mask, padded.rewards, padded.observations["map"], padded.columns["action"], padded.worlds):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"mask": np.ones((2, 3), np.int8)}, ShapeError, r"`mask` must be bool \[B, T\], got int8"),
        ({"mask": np.array([[1, 0, 1], [1, 1, 1]], bool)}, ShapeError, "true at the first places of each row"),
        ({"mask": np.array([[0, 0, 0], [1, 1, 1]], bool)}, ShapeError, "true at the first places of each row"),
        ({"mask": np.ones((2, 0), bool)}, ShapeError, "true at the first places of each row"),
        ({"rewards": np.zeros((2, 4), np.float32)}, ShapeError, r"`rewards` must be float32 \(2, 3\), got"),
        ({"ticks": np.zeros((2, 3))}, ShapeError, r"`ticks` must be int64 \(2, 3\), got float64"),
        ({"columns": {}}, SchemaError, r"columns: missing \['action'"),
        ({"worlds": np.zeros(3, np.int64)}, ShapeError, "`worlds` must have shape"),
        ({"agent_ids": np.array([1, 2], object)}, SchemaError, "`agent_ids` must be str"),
    ],
)
def test_a_padded_batch_cannot_be_wrong(changes: dict[str, np.ndarray], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        replace(PaddedBatch.of(make_batch()), **changes)


def test_steps_that_do_not_follow_are_no_trajectory() -> None:
    padded = replace(PaddedBatch.of(make_batch()), ticks=np.array([[4, 0, 0], [0, 1, 3]]))
    with pytest.raises(ContinuityError, match=r"consecutive, got \[1 3\]"):
        padded.flat()
