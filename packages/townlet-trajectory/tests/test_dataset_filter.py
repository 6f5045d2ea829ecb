"""Which trajectories are kept: limits by hand, on pieces and wholes."""

from dataclasses import replace

import numpy as np
import pytest
from strategies import make_trajectory

from townlet_trajectory import ArraySpec, EpisodeLabel, Source, Trajectory, TrajectoryBatch, TrajectorySchema
from townlet_trajectory.dataset.filter import TrajectoryFilter, piece_returns
from townlet_trajectory.dataset.source import BatchSource
from townlet_trajectory.errors import DatasetError, SchemaError


def trajectory(rewards: list[float], sources: list[int], **identity: object) -> Trajectory:
    base = make_trajectory(3, len(rewards), **identity)
    columns = {**base.columns, "source": np.array(sources, np.int8)}
    return replace(base, rewards=np.array(rewards, np.float32), columns=columns)


@pytest.fixture
def source() -> BatchSource:
    """Alice in two pieces: return 6, 5 steps, 4 of them learned. Bob: return -1, 2 steps, none learned."""
    alice = trajectory([1, 1, 1, 1, 2], [1, 1, 0, 1, 1], terminated=True)
    bob = trajectory([-2, 1], [0, 2], agent_id="bob")
    return BatchSource(TrajectoryBatch.from_trajectories([alice[0:2], bob, alice[2:5]]), rows_per_block=2)


def test_returns_of_pieces(source: BatchSource) -> None:
    assert piece_returns(source).tolist() == [2.0, -1.0, 4.0]


ALICE, BOB, BOTH, NOBODY = [True, False, True], [False, True, False], [True] * 3, [False] * 3


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        (TrajectoryFilter(), BOTH),
        (TrajectoryFilter(min_length=5), ALICE),
        (TrajectoryFilter(min_length=6), NOBODY),
        (TrajectoryFilter(max_length=4), BOB),
        (TrajectoryFilter(min_return=6.0), ALICE),
        (TrajectoryFilter(min_return=6.1), NOBODY),
        (TrajectoryFilter(max_return=-1.0), BOB),
        (TrajectoryFilter(min_return=-1.0, max_return=6.0), BOTH),
        (TrajectoryFilter(min_shares={Source.LEARNED: 0.8}), ALICE),
        (TrajectoryFilter(min_shares={Source.LEARNED: 0.81}), NOBODY),
        (TrajectoryFilter(max_shares={Source.LEARNED: 0.0}), BOB),
        (TrajectoryFilter(max_shares={Source.EXTERNAL: 0.5}), BOTH),
        (TrajectoryFilter(min_shares={Source.EXTERNAL: 0.5}, max_shares={Source.SCRIPTED: 0.5}), BOB),
        (TrajectoryFilter(agent_ids=frozenset({"bob", "carol"})), BOB),
        (TrajectoryFilter(agent_ids=frozenset()), NOBODY),
        (TrajectoryFilter(worlds=frozenset({0, 7})), BOTH),
        (TrajectoryFilter(worlds=frozenset({7})), NOBODY),
        (TrajectoryFilter(episodes=frozenset({0}), agent_ids=frozenset({"alice"})), ALICE),
        (TrajectoryFilter(episodes=frozenset({1})), NOBODY),
        (TrajectoryFilter(episode_labels=(EpisodeLabel.NONE,)), BOTH),
        (TrajectoryFilter(episode_labels=(EpisodeLabel.DISCARD,)), NOBODY),
        (TrajectoryFilter(agent_ids=frozenset({"bob"}), min_length=3), NOBODY),
        (TrajectoryFilter(tags=frozenset({"idle"})), NOBODY),
    ],
)
def test_limits_are_of_wholes_and_hold_together(
    source: BatchSource, condition: TrajectoryFilter, kept: list[bool]
) -> None:
    assert condition.kept(source).tolist() == kept


def test_a_piece_is_judged_by_the_label_of_its_whole() -> None:
    alice = trajectory([1, 1, 1], [1, 1, 1], terminated=True)
    later = replace(alice[2:], episode_label=EpisodeLabel.DISCARD)
    batch = TrajectoryBatch.from_trajectories([alice[:2], trajectory([1], [1], agent_id="bob"), later])
    source = BatchSource(batch, rows_per_block=1)
    assert TrajectoryFilter(episode_labels=(EpisodeLabel.DISCARD,)).kept(source).tolist() == ALICE
    assert TrajectoryFilter(episode_labels=(EpisodeLabel.NONE, EpisodeLabel.FAILURE)).kept(source).tolist() == BOB


def test_tags_are_carried_all_of_them() -> None:
    batch = TrajectoryBatch.from_trajectories([make_trajectory(seed, 2, world=seed) for seed in range(3)])
    tagged = BatchSource(batch)
    tags = (frozenset({"idle"}), frozenset({"idle", "late"}), frozenset[str]())
    tagged.table = replace(tagged.table, tags=tags)
    assert TrajectoryFilter(tags=frozenset({"idle"})).kept(tagged).tolist() == [True, True, False]
    assert TrajectoryFilter(tags=frozenset({"idle", "late"})).kept(tagged).tolist() == [False, True, False]


def test_shares_need_to_know_who_decided() -> None:
    base = make_trajectory(1, 2)
    schema = TrajectorySchema(
        observations=base.schema.observations,
        decisions={"action": ArraySpec("int64")},
        vocabulary=base.schema.vocabulary,
    )
    bare = replace(base, schema=schema, columns={"action": base.columns["action"]})
    source = BatchSource(TrajectoryBatch.from_trajectories([bare]))
    with pytest.raises(SchemaError, match="`source` is no decision column"):
        TrajectoryFilter(min_shares={Source.LEARNED: 0.5}).kept(source)
    assert TrajectoryFilter(min_length=1).kept(source).tolist() == [True]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"min_length": 5, "max_length": 4}, "`min_length` 5 is above `max_length` 4"),
        ({"min_return": 1.0, "max_return": 0.5}, "`min_return` 1.0 is above `max_return` 0.5"),
        ({"min_return": float("nan")}, "limits of the return must be finite, got nan"),
        ({"min_shares": {Source.LEARNED: 1.5}}, "`min_shares` must be in"),
        ({"max_shares": {Source.LEARNED: -0.5}}, "`max_shares` must be in"),
    ],
)
def test_limits_that_cannot_be(limits: dict[str, object], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        TrajectoryFilter(**limits)
