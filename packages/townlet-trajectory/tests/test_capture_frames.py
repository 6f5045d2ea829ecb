"""Columns become the dictionaries that readers of frames know."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from strategies import (
    FEATURE_NAMES,
    NUMBERS,
    SCHEMA,
    VOCABULARY,
    array_batch,
    array_schema,
    batches_of,
    make_trajectory,
)

from townlet_trajectory import ArraySpec, SchemaError, TrajectoryBatch, TrajectorySchema
from townlet_trajectory.formats.captures.frames import frames_of
from townlet_trajectory.formats.captures.sample import CaptureLayout

LAYOUT = CaptureLayout(feature_names=FEATURE_NAMES, map_channels=("self", "agents"), action_texts=VOCABULARY)


def two_trajectories() -> TrajectoryBatch:
    """`alice` at ticks 5 and 6, who dies, and `bob` at tick 6, who goes on."""
    alice = make_trajectory(1, 2, agent_id="alice", first_tick=5, terminated=True)
    return TrajectoryBatch.from_trajectories([alice, make_trajectory(2, 1, agent_id="bob", first_tick=6)])


def test_frames_by_hand() -> None:
    batch = two_trajectories()
    frames = frames_of(batch, layout=LAYOUT)
    assert [(frame["tick"], frame["agent_id"], frame["dones"]) for frame in frames] == [
        (5, "alice", [False]),
        (6, "alice", [True]),
        (6, "bob", [False]),
    ]
    assert [frame["rewards"] for frame in frames] == [[reward] for reward in batch.rewards.tolist()]
    first = frames[0]
    assert list(first) == [
        *("tick", "agent_id", "map", "features", "metadata", "action", "action_id"),
        *("rewards", "dones", "log_prob", "value_pred"),
    ]
    assert first["metadata"] == {
        "feature_names": [*FEATURE_NAMES],
        "map_channels": ["self", "agents"],
        "map_shape": [2, 3, 3],
    }
    assert first["action_id"] == batch.columns["action"][0]
    actions = [{"kind": "wait"}, {"blocked": True, "kind": "wait"}, {"kind": "chat", "target": "bob"}]
    assert first["action"] == actions[first["action_id"]]
    assert first["log_prob"] == batch.columns["behavior_log_prob"][0]
    assert first["value_pred"] == batch.columns["value"][0]


def test_a_frame_shows_what_was_seen_after_its_step() -> None:
    batch = two_trajectories()
    maps = [frame["map"] for frame in frames_of(batch, layout=LAYOUT)]
    np.testing.assert_array_equal(maps[0], batch.observations["map"][1])
    np.testing.assert_array_equal(maps[1], batch.final_observations["map"][0])
    np.testing.assert_array_equal(maps[2], batch.final_observations["map"][1])
    assert not maps[0].flags.writeable


def test_or_before_it() -> None:
    batch = two_trajectories()
    features = [frame["features"] for frame in frames_of(batch, layout=LAYOUT, observed="before")]
    np.testing.assert_array_equal(features, batch.observations["features"])


def test_logits_where_they_are_recorded() -> None:
    batch = two_trajectories()
    schema = TrajectorySchema(
        observations=SCHEMA.observations,
        decisions=SCHEMA.decisions | {"logits": ArraySpec("float32", (3,))},
        vocabulary=VOCABULARY,
    )
    logits = np.arange(9, dtype=np.float32).reshape(3, 3)
    with_logits = replace(batch, schema=schema, columns={**batch.columns, "logits": logits})
    assert [frame["logits"].tolist() for frame in frames_of(with_logits, layout=LAYOUT)] == logits.tolist()


def test_changing_a_frame_changes_no_other() -> None:
    one, two = frames_of(TrajectoryBatch.from_trajectories([make_trajectory(0, 2)] * 2), layout=LAYOUT)[:2]
    assert one["action_id"] == two["action_id"]
    one["action"]["kind"] = "changed"
    assert two["action"]["kind"] != "changed"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"action_texts": VOCABULARY[:2]}, r"`action_texts` must fit a shape \(3,\), got names for \(2,\)"),
        ({"feature_names": ("a",)}, r"`feature_names` must fit a shape \(3,\)"),
        ({"map_channels": ("a",)}, r"`map_channels` must fit a shape \(2, 3, 3\), got names for \(1, 3, 3\)"),
    ],
)
def test_a_layout_that_does_not_fit(changes: dict[str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        frames_of(two_trajectories(), layout=replace(LAYOUT, **changes))


def test_array_actions_have_no_frames() -> None:
    with pytest.raises(SchemaError, match=r"a frame has one action id, got actions of \['steer', 'throttle'\]"):
        frames_of(array_batch(array_schema(NUMBERS), (3,), seed=1), layout=LAYOUT)


def test_missing_columns_and_unknown_actions() -> None:
    batch = two_trajectories()
    schema = TrajectorySchema(
        observations={"map": SCHEMA.observations["map"]},
        decisions={"action": ArraySpec("int64")},
        vocabulary=VOCABULARY,
    )
    narrow = replace(
        batch,
        schema=schema,
        observations={"map": batch.observations["map"]},
        final_observations={"map": batch.final_observations["map"]},
        columns={"action": batch.columns["action"]},
    )
    with pytest.raises(SchemaError, match=r"needs the columns \['features', 'behavior_log_prob', 'value'\]"):
        frames_of(narrow, layout=LAYOUT)
    outside = replace(batch, columns={**batch.columns, "action": np.array([0, 3, -1])})
    with pytest.raises(SchemaError, match=r"`action` must be in \[0, 3\), got -1 to 3"):
        frames_of(outside, layout=LAYOUT)


@given(batches_of(SCHEMA))
def test_frames_are_the_rows_tick_by_tick(batch: TrajectoryBatch) -> None:
    frames = frames_of(batch, layout=LAYOUT)
    order = np.argsort(batch.ticks, kind="stable")
    assert [frame["tick"] for frame in frames] == batch.ticks[order].tolist()
    assert [frame["rewards"] for frame in frames] == [[reward] for reward in batch.rewards[order].tolist()]
    assert sum(frame["dones"][0] for frame in frames) == np.count_nonzero(batch.terminated | batch.truncated)
