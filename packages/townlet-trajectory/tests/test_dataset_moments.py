"""Moments of a source are those of all its rows at once, to the last bit, whatever its blocks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_source import MadeSource
from strategies import SCHEMA, batch_sources, make_trajectory

from townlet_trajectory import SchemaError, TrajectoryBatch
from townlet_trajectory.data.statistics import Moments
from townlet_trajectory.dataset.moments import observation_moments
from townlet_trajectory.dataset.source import BatchSource, ChainedSource
from townlet_trajectory.errors import DatasetError


def same_bits(actual: Moments, expected: Moments) -> bool:
    arrays = ("mean", "squares", "minimum", "maximum")
    return actual.count == expected.count and all(
        vars(actual)[name].tobytes() == vars(expected)[name].tobytes() for name in arrays
    )


@pytest.mark.property
@given(batch_sources(), st.data())
def test_blocks_change_no_bit(made: tuple[list[BatchSource], TrajectoryBatch], data: st.DataObject) -> None:
    sources, whole = made
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(whole), max_size=len(whole))), np.bool_)
    found = observation_moments(ChainedSource(sources), kept)
    rows = np.repeat(kept, whole.lengths)
    assert found.keys() == SCHEMA.observations.keys()
    for name, moments in found.items():
        expected = whole.observations[name][rows].astype(np.float64)
        assert same_bits(moments, Moments.of(whole.observations[name][rows]))
        if len(expected):
            np.testing.assert_allclose(moments.mean, expected.mean(axis=0), rtol=0, atol=1e-12)
            np.testing.assert_allclose(moments.std, expected.std(axis=0), rtol=0, atol=1e-12)


def test_moments_by_hand() -> None:
    one = make_trajectory(0, 2)
    observations = {name: np.zeros_like(array) for name, array in one.observations.items()}
    observations["features"] = np.array([[1, 0, 0], [3, 0, 0], [99, 0, 0]], np.float32)  # the last is the final one
    changed = TrajectoryBatch.from_trajectories([type(one)(**{**vars(one), "observations": observations})])
    found = observation_moments(BatchSource(changed), names=["features"])
    assert found.keys() == {"features"}
    assert found["features"].mean.tolist() == [2.0, 0.0, 0.0]
    assert found["features"].std.tolist() == [1.0, 0.0, 0.0]


def test_blocks_that_are_not_chosen_are_not_read() -> None:
    source = MadeSource(5, encoded=0)
    chosen = np.zeros(20, np.bool_)
    chosen[[4, 17]] = True  # of blocks 1 and 4
    assert observation_moments(source, chosen)["features"].count == 200
    assert source.loads == [1, 4]


def test_what_does_not_fit_is_refused() -> None:
    source = BatchSource(TrajectoryBatch.from_trajectories([make_trajectory(0, 2)]))
    with pytest.raises(DatasetError, match=r"`trajectories` must be bool \[1\], got int64 \(1,\)"):
        observation_moments(source, np.zeros(1, np.int64))  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match=r"`trajectories` must be bool \[1\], got bool \(2,\)"):
        observation_moments(source, np.zeros(2, np.bool_))
    with pytest.raises(SchemaError, match=r"there are no observations \['sound'\]"):
        observation_moments(source, names=["sound"])
