"""Batches of mixed steps."""

from dataclasses import replace

import numpy as np
import pytest
from strategies import SCHEMA, make_trajectory

from townlet_trajectory import SchemaError, ShapeError, TrajectoryBatch
from townlet_trajectory.data.steps import StepBatch
from townlet_trajectory.dataset.memory import LoadedBlock, LoadedBlocks


def make_steps(rows: list[int], *, with_next: bool = True) -> StepBatch:
    batch = TrajectoryBatch.from_trajectories([make_trajectory(1, 3), make_trajectory(2, 4, terminated=True)])
    return LoadedBlocks([LoadedBlock(batch=batch, first_step=10, first_trajectory=5)]).steps(
        np.array(rows), with_next=with_next
    )


def test_take_picks_and_concatenate_joins() -> None:
    steps = make_steps([6, 0, 3])
    picked = StepBatch.concatenate([steps.take(np.array([2, 0])), steps.take(np.array([1]))])
    assert picked.steps.tolist() == [13, 16, 10]
    assert picked.terminated.tolist() == [False, True, False]
    for name in SCHEMA.observations:
        np.testing.assert_array_equal(picked.observations[name], make_steps([3, 6, 0]).observations[name])
        np.testing.assert_array_equal(picked.next_observations[name], make_steps([3, 6, 0]).next_observations[name])
    np.testing.assert_array_equal(picked.columns["action"], make_steps([3, 6, 0]).columns["action"])


def test_it_is_checked() -> None:
    steps = make_steps([0, 1], with_next=False)
    assert (len(steps), steps.next_observations) == (2, {})
    with pytest.raises(ShapeError, match=r"`rewards` must have shape \(2,\), got \(3,\)"):
        replace(steps, rewards=np.zeros(3, np.float32))
    with pytest.raises(SchemaError, match="next_observations: missing"):
        replace(steps, next_observations={"map": steps.observations["map"]})
    with pytest.raises(SchemaError, match="`terminated` must have dtype bool"):
        replace(steps, terminated=np.zeros(2))
    with pytest.raises(ShapeError, match="at least one batch"):
        StepBatch.concatenate([])
