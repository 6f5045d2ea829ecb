"""Cutting and joining: by hand, and that each undoes the other."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    SCHEMA,
    assert_same_batch,
    assert_same_trajectory,
    batches,
    lists_of_batches,
    make_trajectory,
    rows_of,
)

from townlet_trajectory import SchemaError, ShapeError, TrajectoryBatch, TrajectorySchema, TrajectoryService
from townlet_trajectory.data.pieces import (
    agent_codes,
    canonical,
    joined,
    keep_steps,
    merged,
    split_at_changes,
    split_at_policy_swap,
    split_at_possession,
    split_by_world_episode,
    split_every,
    split_where,
)


def make_batch() -> TrajectoryBatch:
    return TrajectoryBatch.from_trajectories(
        [
            make_trajectory(1, 4, first_tick=3, terminated=True),
            make_trajectory(2, 1, agent_id="bob", truncated=True),
            make_trajectory(3, 3, agent_id="carol", episode=1),
        ]
    )


def with_column(batch: TrajectoryBatch, name: str, values: list[int]) -> TrajectoryBatch:
    column = np.array(values, batch.columns[name].dtype)
    return replace(batch, columns={**batch.columns, name: column})


def cuts(batch: TrajectoryBatch) -> st.SearchStrategy[np.ndarray]:
    rows = batch.num_steps
    return st.lists(st.booleans(), min_size=rows, max_size=rows).map(lambda marks: np.array(marks, np.bool_))


def test_split_by_hand() -> None:
    batch = make_batch()
    pieces = split_where(batch, np.array([0, 0, 1, 0, 0, 1, 0, 1], bool))  # row 5 is a first row anyway
    assert pieces.offsets.tolist() == [0, 2, 4, 5, 7, 8]
    assert pieces.ticks.tolist() == batch.ticks.tolist()
    assert pieces.agent_ids.tolist() == ["alice", "alice", "bob", "carol", "carol"]
    assert pieces.episodes.tolist() == [0, 0, 0, 1, 1]
    assert pieces.terminated.tolist() == [False, True, False, False, False]
    assert pieces.truncated.tolist() == [False, False, True, False, False]
    finals, rows = pieces.final_observations["features"], batch.observations["features"]
    np.testing.assert_array_equal(finals[[0, 3]], rows[[2, 7]])
    np.testing.assert_array_equal(finals[[1, 2, 4]], batch.final_observations["features"])
    assert np.shares_memory(pieces.observations["map"], batch.observations["map"])


def test_split_every_by_hand() -> None:
    pieces = split_every(make_batch(), 2)
    assert pieces.lengths.tolist() == [2, 2, 1, 2, 1]
    assert_same_batch(split_every(make_batch(), 4), make_batch())
    with pytest.raises(ShapeError, match="`num_steps` must be at least 1, got 0"):
        split_every(make_batch(), 0)


def test_split_at_possession_by_hand() -> None:
    batch = with_column(make_batch(), "possessed", [0, 1, 1, 0, 1, 0, 0, 0])
    pieces = split_at_possession(batch)
    assert pieces.offsets.tolist() == [0, 1, 3, 4, 5, 8]
    assert pieces.columns["possessed"][pieces.offsets[:-1]].tolist() == [False, True, False, True, False]


def test_split_at_policy_swap_by_hand() -> None:
    batch = with_column(make_batch(), "veto_reason", [7, 7, 8, 8, 9, 9, 9, 7])  # stands for the policy's number
    assert split_at_policy_swap(batch, "veto_reason").offsets.tolist() == [0, 2, 4, 5, 7, 8]
    at_ticks = split_at_policy_swap(batch, np.isin(batch.ticks, [5, 1]))
    assert at_ticks.offsets.tolist() == [0, 2, 4, 5, 6, 8]


def test_split_at_changes_of_rows() -> None:
    values = np.zeros((8, 2))
    values[2:, 1] = 1
    assert split_at_changes(make_batch(), values).offsets.tolist() == [0, 2, 4, 5, 8]


def test_split_by_world_episode_by_hand() -> None:
    batch = TrajectoryBatch.from_trajectories(
        [
            make_trajectory(seed, 1, agent_id=str(seed), world=world, episode=episode)
            for seed, (world, episode) in enumerate([(1, 0), (0, 2), (1, 0), (0, 0), (0, 2)])
        ]
    )
    episodes = split_by_world_episode(batch)
    assert [part.agent_ids.tolist() for part in episodes] == [["3"], ["1", "4"], ["0", "2"]]
    assert split_by_world_episode(TrajectoryBatch.empty(SCHEMA)) == []


def test_keep_steps_by_hand() -> None:
    kept = keep_steps(make_batch(), np.array([0, 1, 1, 0, 1, 1, 0, 1], bool))
    assert kept.ticks.tolist() == [4, 5, 0, 0, 2]
    assert kept.offsets.tolist() == [0, 2, 3, 4, 5]
    assert kept.truncated.tolist() == [False, True, False, False]
    assert len(keep_steps(make_batch(), np.zeros(8, bool))) == 0


def test_joined_by_hand() -> None:
    alice = make_trajectory(1, 6, first_tick=3, terminated=True)
    bob = make_trajectory(2, 3, agent_id="bob")
    pieces = [alice[4:], bob[1:], alice[2:4], bob[:1], alice[:2]]
    whole = joined(TrajectoryBatch.from_trajectories(pieces))
    assert len(whole) == 2
    assert_same_trajectory(whole[0], bob)  # its first piece is before alice's
    assert_same_trajectory(whole[1], alice)


def test_what_is_not_joined() -> None:
    alice = make_trajectory(1, 4)
    first, second = alice[:2], alice[2:]
    seen = {name: array.copy() for name, array in second.observations.items()}
    seen["features"][0, 0] += 1
    for one, other in (
        (first, replace(second, agent_id="bob")),
        (first, replace(second, world=1)),
        (first, replace(second, episode=1)),
        (first, replace(second, ticks=second.ticks + 1)),
        (first, replace(second, observations=seen)),
        (replace(first, terminated=True), second),
        (replace(first, truncated=True), second),
    ):
        batch = TrajectoryBatch.from_trajectories([one, other])
        assert joined(batch) is batch


def test_a_recording_merged_with_itself_is_joined_twice() -> None:
    alice = make_trajectory(1, 4)
    pieces = [alice[2:], alice[:2], alice[:2], alice[2:], alice[:2]]
    whole = joined(TrajectoryBatch.from_trajectories(pieces))
    assert whole.lengths.tolist() == [4, 4, 2]
    assert_same_trajectory(whole[1], alice)


def test_two_runs_of_one_town_are_not_mixed_up() -> None:
    one, other = make_trajectory(1, 4), make_trajectory(2, 4)
    pieces = [one[:2], other[:2], other[2:], one[2:]]
    whole = joined(TrajectoryBatch.from_trajectories(pieces))
    assert_same_trajectory(whole[0], one)
    assert_same_trajectory(whole[1], other)


def test_no_trajectories() -> None:
    empty, no_rows = TrajectoryBatch.empty(SCHEMA), np.empty(0, np.bool_)
    for pieces in (
        split_where(empty, no_rows),
        split_every(empty, 3),
        split_at_possession(empty),
        keep_steps(empty, no_rows),
        joined(empty),
    ):
        assert_same_batch(pieces, empty)


def test_bad_arguments() -> None:
    batch = make_batch()
    with pytest.raises(ShapeError, match=r"`cut_before_rows` must have shape \(8,\), got \(3,\)"):
        split_where(batch, np.zeros(3, bool))
    with pytest.raises(SchemaError, match="`cut_before_rows` must have dtype bool, got int64"):
        split_where(batch, np.zeros(8, int))
    with pytest.raises(SchemaError, match="there is no decision column `policy`"):
        split_at_policy_swap(batch, "policy")
    with pytest.raises(ShapeError, match="`values` must have 8 rows, got 1"):
        split_at_changes(batch, np.zeros(1))
    with pytest.raises(ShapeError, match="`keep` must have shape"):
        keep_steps(batch, np.zeros(3, bool))


@given(batches(), st.data())
def test_joined_undoes_every_cut(batch: TrajectoryBatch, data: st.DataObject) -> None:
    pieces = split_where(batch, data.draw(cuts(batch)))
    assert_same_batch(joined(pieces), batch)


@given(batches(), st.data())
def test_cut_shuffled_merged_and_joined_is_the_identity(batch: TrajectoryBatch, data: st.DataObject) -> None:
    pieces = split_where(batch, data.draw(cuts(batch)))
    parts = [pieces[index : index + 1] for index in data.draw(st.permutations(range(len(pieces))))]
    assert_same_batch(canonical(joined(merged(parts))), canonical(batch))


@given(batches(), st.data())
def test_cuts_are_where_they_were_asked_for(batch: TrajectoryBatch, data: st.DataObject) -> None:
    marks = data.draw(cuts(batch))
    pieces = split_where(batch, marks)
    assert set(pieces.offsets) == {*batch.offsets, *np.flatnonzero(marks)}
    # Splitting again where it is split already changes nothing.
    assert_same_batch(split_where(pieces, marks), pieces)


@given(batches())
def test_each_piece_is_possessed_or_not(batch: TrajectoryBatch) -> None:
    pieces = split_at_possession(batch)
    for piece in pieces:
        assert len(set(piece.columns["possessed"].tolist())) == 1
    assert_same_batch(joined(pieces), batch)


@given(batches(), st.data())
def test_kept_steps_are_those_asked_for(batch: TrajectoryBatch, data: st.DataObject) -> None:
    keep = data.draw(cuts(batch))
    kept, dropped = keep_steps(batch, keep), keep_steps(batch, ~keep)
    np.testing.assert_array_equal(kept.observations["features"], batch.observations["features"][keep])
    assert_same_batch(canonical(joined(merged([kept, dropped]))), canonical(batch))


@given(batches())
def test_episodes_merged_are_the_batch(batch: TrajectoryBatch) -> None:
    episodes = split_by_world_episode(batch)
    for part in episodes:
        assert len({*zip(part.worlds, part.episodes, strict=True)}) == 1
    assert_same_batch(merged(episodes), canonical(batch))


def recorded(collect_at: set[int]) -> TrajectoryBatch:
    """Nine ticks of two agents, of which the second dies at tick 4 and returns, collected at some ticks."""
    service, rng, parts = TrajectoryService(SCHEMA, max_rows=100), np.random.default_rng(7), []
    names = np.array(["alice", "bob"], object)
    for tick in range(9):
        seen, decided = rows_of(SCHEMA.observations, 2, rng), rows_of(SCHEMA.decisions, 2, rng)
        where = {"agent_ids": names, "worlds": np.zeros(2, np.int64), "episodes": np.zeros(2, np.int64)}
        service.begin_tick(tick, np.arange(2), seen, **where)
        if tick in collect_at:
            parts.append(service.collect())
        service.record_decisions(decided)
        over = np.array([tick == 8, tick in (4, 8)])
        service.record_outcome(
            rng.standard_normal(2).astype(np.float32),
            over,
            np.zeros(2, np.bool_),
            final_rows=np.flatnonzero(over),
            final_observations=rows_of(SCHEMA.observations, int(over.sum()), rng),
        )
    return canonical(joined(merged([*parts, service.collect()])))


@given(st.sets(st.integers(0, 8)))
def test_when_a_recorder_is_collected_from_changes_nothing(collect_at: set[int]) -> None:
    assert_same_batch(recorded(collect_at), recorded(set()))


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


@given(lists_of_batches(), st.data())
def test_order_of_arrival_changes_nothing(parts: list[TrajectoryBatch], data: st.DataObject) -> None:
    together = merged(parts)
    assert_same_batch(merged(data.draw(st.permutations(parts))), together)
    assert len(together) == sum(map(len, parts))
    cut = data.draw(st.integers(0, len(parts)))
    halves = [merged(half) for half in (parts[:cut], parts[cut:]) if half]
    assert_same_batch(merged(halves), together)


@given(batches(), st.floats(0, 1), st.integers(0, 9))
def test_split_then_merge_is_the_identity(batch: TrajectoryBatch, fraction: float, seed: int) -> None:
    assert_same_batch(merged(batch.split_by_episode(fraction, seed=seed)), canonical(batch))
