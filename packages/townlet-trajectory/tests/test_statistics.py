"""Figures by hand, and merged ones."""

from dataclasses import fields, replace
from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    NUMBERS,
    PARTS,
    SCHEMA,
    VOCABULARY,
    array_batch,
    array_schema,
    batches,
    lists_of_batches,
    make_trajectory,
)

from townlet_trajectory import ArraySpec, SchemaError, ShapeError, TrajectoryBatch, TrajectorySchema
from townlet_trajectory.data.pieces import merged
from townlet_trajectory.data.statistics import BatchStatistics, Moments, RunningMoments, returns_of


def two_trajectories() -> TrajectoryBatch:
    batch = TrajectoryBatch.from_trajectories(
        [make_trajectory(1, 3, terminated=True), make_trajectory(2, 1, agent_id="bob")]
    )
    columns = dict(batch.columns)
    columns["action"] = np.array([2, 0, 2, 2])
    columns["kind"] = np.array([0, 1, 1, 0], np.int8)
    columns["source"] = np.array([0, 0, 0, 1], np.int8)
    columns["veto_reason"] = np.array([0, 3, 0, 0], np.int8)
    columns["vetoed"] = np.array([False, True, False, False])
    columns["policy_log_prob"] = np.array([-1, -np.inf, -3, np.nan], np.float32)
    return replace(batch, columns=columns, rewards=np.array([1, 2, 4, -3], np.float32))


def test_statistics_by_hand() -> None:
    batch = two_trajectories()
    assert returns_of(batch).tolist() == [7.0, -3.0]
    found = BatchStatistics.of(batch, observations=["features"])
    assert (found.num_trajectories, found.num_steps) == (2, 4)
    assert (found.num_terminated, found.num_truncated, found.num_open) == (1, 0, 1)
    assert (found.lengths.mean, found.lengths.maximum, found.lengths.total) == (2.0, 3.0, 4.0)
    assert (found.returns.mean, found.returns.squares, found.returns.minimum) == (2.0, 50.0, -3.0)
    assert (found.rewards.total, found.rewards.count) == (4.0, 4)
    assert found.actions == {0: 1, 2: 3}
    assert found.kinds == {0: 2, 1: 2}
    assert found.sources == {0: 3, 1: 1}
    assert found.veto_reasons == {0: 3, 3: 1}
    assert found.flags["vetoed"] == 1
    assert found.flags.keys() == {"vetoed", "possessed", "demonstrated"}
    assert found.columns.keys() == {"behavior_log_prob", "policy_log_prob", "value", "ratio", "temperature"}
    assert (found.columns["policy_log_prob"].count, found.columns["policy_log_prob"].mean) == (2, -2.0)
    np.testing.assert_allclose(found.observations["features"].mean, batch.observations["features"].mean(axis=0))
    assert found.observations["features"].count == 4


def test_what_a_schema_lacks_is_empty() -> None:
    schema = TrajectorySchema(
        observations={"x": ArraySpec("float64", (2,))},
        decisions={"action": ArraySpec("float32", (2,)), "kind": ArraySpec("float32")},
        vocabulary=(),
    )
    batch = replace(
        make_trajectory(0, 3),
        schema=schema,
        observations={"x": np.zeros((4, 2))},
        columns={"action": np.array([[1, 2], [np.nan, 0], [3, 4]], np.float32), "kind": np.zeros(3, np.float32)},
    )
    found = BatchStatistics.of(TrajectoryBatch.from_trajectories([batch]))
    assert (found.actions, found.kinds, found.sources, found.flags) == ({}, {}, {}, {})
    assert (found.columns["action"].count, found.columns["action"].mean.tolist()) == (2, [2.0, 3.0])
    assert found.observations == {}


def test_statistics_that_do_not_go_together() -> None:
    batch = two_trajectories()
    with pytest.raises(SchemaError, match=r"there are no observations \['sound'\]"):
        BatchStatistics.of(batch, observations=["sound"])
    plain = BatchStatistics.of(batch)
    with pytest.raises(SchemaError, match=r"the same columns, got \[\] and \['map'\]"):
        plain.merged(BatchStatistics.of(batch, observations=["map"]))
    other = TrajectorySchema(observations=SCHEMA.observations, decisions=SCHEMA.decisions, vocabulary=VOCABULARY[::-1])
    with pytest.raises(SchemaError, match="vocabularies differ"):
        plain.merged(BatchStatistics.of(replace(batch, schema=other)))


def assert_same_statistics(actual: BatchStatistics, expected: BatchStatistics) -> None:
    actual.schema.require_equal(expected.schema)
    for field in fields(BatchStatistics):
        ours, theirs = getattr(actual, field.name), getattr(expected, field.name)
        if field.name in ("columns", "observations"):
            assert ours.keys() == theirs.keys()
            for name, moments in ours.items():
                assert_same_moments(moments, theirs[name])
        elif isinstance(ours, Moments):
            assert_same_moments(ours, theirs)
        elif field.name != "schema":
            assert ours == theirs


def assert_same_moments(actual: Moments, expected: Moments, *, scale: float = 1.0) -> None:
    """Equal to 1e-9 of `scale`, the greatest magnitude of the numbers; counts and ranges exactly."""
    assert actual.count == expected.count
    np.testing.assert_array_equal(actual.minimum, expected.minimum, strict=True)
    np.testing.assert_array_equal(actual.maximum, expected.maximum, strict=True)
    np.testing.assert_allclose(actual.mean, expected.mean, rtol=1e-9, atol=1e-9 * scale, strict=True)
    np.testing.assert_allclose(actual.squares, expected.squares, rtol=1e-9, atol=1e-9 * scale**2, strict=True)


@given(lists_of_batches(), st.data())
def test_statistics_of_a_merge_are_merged_statistics(parts: list[TrajectoryBatch], data: st.DataObject) -> None:
    whole = BatchStatistics.of(merged(parts), observations=("features",))
    order = data.draw(st.permutations(parts))
    statistics = [BatchStatistics.of(part, observations=("features",)) for part in order]
    assert_same_statistics(reduce(BatchStatistics.merged, statistics), whole)


@given(batches())
def test_merging_with_nothing_changes_nothing(batch: TrajectoryBatch) -> None:
    found, nothing = BatchStatistics.of(batch), BatchStatistics.of(TrajectoryBatch.empty(batch.schema))
    assert_same_statistics(found.merged(nothing), found)
    assert_same_statistics(nothing.merged(found), found)


FLOATS = st.lists(st.floats(-(2.0**126), 2.0**126, width=32), max_size=12)


def test_moments_by_hand() -> None:
    moments = Moments.of(np.array([1, 2, 6], np.int8))
    assert moments.count == 3
    assert (moments.mean, moments.squares, moments.total) == (3.0, 14.0, 9.0)
    assert (moments.minimum, moments.maximum) == (1.0, 6.0)
    assert moments.std == np.sqrt(14 / 3)
    assert Moments.of(np.array([True, False, True, True])).mean == 0.75


def test_each_place_of_a_row_by_itself() -> None:
    values = np.arange(12.0).reshape(3, 2, 2)
    moments = Moments.of(values)
    assert moments.mean.tolist() == values.mean(axis=0).tolist()
    assert moments.maximum.tolist() == [[8, 9], [10, 11]]
    assert moments.squares.tolist() == [[32, 32], [32, 32]]


def test_of_nothing() -> None:
    nothing = Moments.of(np.empty((0, 2)))
    assert (nothing.count, nothing.mean.tolist(), nothing.std.tolist()) == (0, [0, 0], [0, 0])
    assert nothing.minimum.tolist() == [np.inf, np.inf]
    some = Moments.of(np.array([[0.1, 3.0]]))
    assert nothing.merged(some) is some
    assert some.merged(nothing) is some
    assert nothing.merged(nothing).count == 0


def test_many_rows_are_looked_at_in_chunks() -> None:
    values = np.random.default_rng(0).standard_normal((30_000, 5)) + 1e6
    moments = Moments.of(values)
    np.testing.assert_allclose(moments.mean, values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.std, values.std(axis=0), rtol=1e-9)
    constant = Moments.of(np.full(100_000, 7, np.int64))
    assert (constant.mean, constant.squares, constant.total) == (7.0, 0.0, 700_000.0)


def test_extreme_numbers() -> None:
    most = np.finfo(np.float32).max
    moments = Moments.of(np.array([most, -most], np.float32))
    assert (moments.mean, moments.maximum) == (0.0, float(most))
    assert np.isfinite(moments.squares)
    beyond = Moments.of(np.array([1e200, -1e200])).merged(Moments.of(np.array([3.0])))
    assert beyond.squares == np.inf


def test_bad_arguments() -> None:
    with pytest.raises(ShapeError, match="moments must be of one shape"):
        Moments.of(np.zeros(3)).merged(Moments.of(np.zeros((3, 2))))
    with pytest.raises(ShapeError, match="of no less than 0 rows"):
        Moments(count=-1, mean=np.zeros(2), squares=np.zeros(2), minimum=np.zeros(2), maximum=np.zeros(2))
    with pytest.raises(ValueError, match="read-only"):
        Moments.of(np.zeros((3, 2))).mean[0] = 1


@given(FLOATS, FLOATS, FLOATS)
def test_merged_are_those_of_the_whole(one: list[float], two: list[float], three: list[float]) -> None:
    parts = [Moments.of(np.array(part, np.float32)) for part in (one, two, three)]
    whole = Moments.of(np.array([*one, *two, *three], np.float32))
    scale = max(map(abs, [*one, *two, *three]), default=0.0)
    assert_same_moments(parts[0].merged(parts[1]).merged(parts[2]), whole, scale=scale)
    assert_same_moments(parts[0].merged(parts[1].merged(parts[2])), whole, scale=scale)
    forth, back = parts[0].merged(parts[1]), parts[1].merged(parts[0])
    for name in ("mean", "squares", "minimum", "maximum"):
        np.testing.assert_array_equal(getattr(forth, name), getattr(back, name), strict=True)


@given(st.integers(0, 2**32), st.lists(st.integers(0, 300), max_size=6))
def test_rows_in_parts_have_the_moments_of_all_at_once(seed: int, sizes: list[int]) -> None:
    # 1000 numbers a row: a chunk is 65 rows.
    values = np.random.default_rng(seed).normal(1e3, 1e-3, (sum(sizes), 1000)).astype(np.float32)
    running, begin = RunningMoments((1000,)), 0
    for size in sizes:
        running.add(values[begin : begin + size])
        begin += size
    found, expected = running.moments, Moments.of(values)
    assert found.count == expected.count == len(values)
    for name in ("mean", "squares", "minimum", "maximum"):
        assert vars(found)[name].tobytes() == vars(expected)[name].tobytes()
    if len(values):
        exact = values.astype(np.float64)
        np.testing.assert_allclose(found.mean, exact.mean(axis=0), rtol=1e-14)
        np.testing.assert_allclose(found.std, exact.std(axis=0), rtol=1e-9, atol=1e-15)


def test_running_moments_can_be_asked_between_parts() -> None:
    running = RunningMoments()
    assert running.moments.count == 0
    running.add(np.array([1.0, 3.0]))
    assert (running.moments.mean, running.moments.std) == (2.0, 1.0)
    running.add(np.array([True, True]))
    assert (running.moments.count, running.moments.mean) == (4, 1.5)
    with pytest.raises(ShapeError, match=r"rows must be \(\), got \(2,\)"):
        running.add(np.zeros((1, 2)))


def test_the_statistics_of_array_actions() -> None:
    parts = array_batch(array_schema(PARTS), (2, 2), seed=1)
    executed = np.array([[0, 1], [2, 1], [2, 0], [2, 1]])
    batch = replace(parts, columns={**parts.columns, "action": executed})
    found = BatchStatistics.of(batch)
    assert (found.actions, found.parts) == ({}, {"move": {0: 1, 2: 3}, "hand": {0: 1, 1: 3}})
    assert BatchStatistics.of(batch[:1]).merged(BatchStatistics.of(batch[1:])).parts == found.parts
    assert found.columns["policy_state"].mean.shape == (4,)
    numbers = BatchStatistics.of(array_batch(array_schema(NUMBERS), (3,), seed=1))
    assert (numbers.actions, numbers.parts) == ({}, {}) and numbers.columns["action"].mean.shape == (2,)
