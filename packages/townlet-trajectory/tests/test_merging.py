"""The order of arrival changes nothing."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SCHEMA, assert_same_batch, batches, make_trajectory

from townlet_trajectory import SchemaError, TrajectoryBatch, TrajectorySchema
from townlet_trajectory.data.merging import agent_codes, canonical, merged


def test_order_by_hand() -> None:
    identities = [(1, 0, "a", 0), (0, 1, "a", 0), (0, 0, "b", 5), (0, 0, "b", 0), (0, 0, "B", 9), (0, 0, "a\0", 0)]
    batch = TrajectoryBatch.from_trajectories(
        [
            make_trajectory(seed, 2, world=world, episode=episode, agent_id=agent_id, first_tick=first_tick)
            for seed, (world, episode, agent_id, first_tick) in enumerate(identities)
        ]
    )
    ordered = canonical(batch)
    firsts = ordered.ticks[ordered.offsets[:-1]]
    found = [*zip(ordered.worlds, ordered.episodes, ordered.agent_ids, firsts, strict=True)]
    assert found == sorted(identities)
    assert canonical(ordered) is ordered


def test_content_decides_between_equal_identities() -> None:
    same = [make_trajectory(seed, 3) for seed in range(6)]
    same += [same[0], replace(same[1], truncated=True), make_trajectory(0, 2)]
    other = make_trajectory(9, 1, agent_id="bob")
    expected = canonical(TrajectoryBatch.from_trajectories([*same, other]))
    rng = np.random.default_rng(0)
    for _ in range(5):
        shuffled = [[*same, other][index] for index in rng.permutation(len(same) + 1)]
        assert_same_batch(canonical(TrajectoryBatch.from_trajectories(shuffled)), expected)


def test_the_order_of_columns_changes_nothing() -> None:
    trajectories = [make_trajectory(seed, 2) for seed in range(3)]
    reversed_schema = TrajectorySchema(
        observations=dict(reversed(SCHEMA.observations.items())),
        decisions=dict(reversed(SCHEMA.decisions.items())),
        vocabulary=SCHEMA.vocabulary,
    )
    other = [replace(trajectory, schema=reversed_schema) for trajectory in trajectories]
    one = canonical(TrajectoryBatch.from_trajectories(trajectories))
    assert_same_batch(canonical(TrajectoryBatch.from_trajectories(other[::-1])), one)


def test_codes_are_ranks() -> None:
    batch = TrajectoryBatch.from_trajectories([make_trajectory(0, 1, agent_id=name) for name in ("c", "a", "c", "b")])
    assert agent_codes(batch).tolist() == [2, 0, 2, 1]


def test_nothing() -> None:
    empty = TrajectoryBatch.empty(SCHEMA)
    assert_same_batch(merged([empty, empty]), empty)
    with pytest.raises(SchemaError, match="at least one batch"):
        merged([])


@pytest.mark.property
@given(st.lists(batches(), min_size=1, max_size=4), st.data())
def test_order_of_arrival_changes_nothing(parts: list[TrajectoryBatch], data: st.DataObject) -> None:
    together = merged(parts)
    assert_same_batch(merged(data.draw(st.permutations(parts))), together)
    assert len(together) == sum(map(len, parts))
    cut = data.draw(st.integers(0, len(parts)))
    halves = [merged(half) for half in (parts[:cut], parts[cut:]) if half]
    assert_same_batch(merged(halves), together)


@pytest.mark.property
@given(batches(), st.floats(0, 1), st.integers(0, 9))
def test_split_then_merge_is_the_identity(batch: TrajectoryBatch, fraction: float, seed: int) -> None:
    assert_same_batch(merged(batch.split_by_episode(fraction, seed=seed)), canonical(batch))
