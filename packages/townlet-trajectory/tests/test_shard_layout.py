"""The tables of a shard."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from strategies import SCHEMA, assert_identical_batch, make_trajectory

from townlet_trajectory import ArraySpec, ArtifactError, SchemaError, TrajectoryBatch, TrajectorySchema
from townlet_trajectory.formats.shards.layout import (
    SHARD_BYTES,
    check_shard_schema,
    decode_shard,
    decode_table,
    encode_shard,
    step_bytes,
)

BATCH = TrajectoryBatch.from_trajectories(
    [
        make_trajectory(1, 2, agent_id="ann", world=3, episode=1, first_tick=10, terminated=True),
        make_trajectory(2, 1, agent_id="bob", world=4, first_tick=7, truncated=True),
        make_trajectory(3, 1, agent_id="ann", world=3, episode=1, first_tick=20),
    ]
)
STEPS, TRAJECTORIES = Path("steps"), Path("trajectories")


def table(data: bytes) -> pa.Table:
    return pa.ipc.open_file(pa.py_buffer(data)).read_all()


def encoded(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_batch(rows.combine_chunks().to_batches()[0])
    return sink.getvalue().to_pybytes()


def changed(data: bytes, name: str, values: list[object]) -> bytes:
    rows = table(data)
    field = rows.schema.get_field_index(name)
    return encoded(rows.set_column(field, name, pa.array(values, rows.schema.field(field).type)))


def decode(steps: bytes, trajectories: bytes) -> TrajectoryBatch:
    return decode_shard((STEPS, steps), (TRAJECTORIES, trajectories), SCHEMA, num_steps=4, num_trajectories=3)


def test_tables_by_hand() -> None:
    steps, trajectories = map(table, encode_shard(BATCH, compression="lz4"))
    assert steps.column_names[:6] == ["trajectory", "tick", "agent_id", "world", "episode", "reward"]
    assert steps["trajectory"].to_pylist() == [0, 0, 1, 2]
    assert steps["tick"].to_pylist() == [10, 11, 7, 20]
    assert steps["agent_id"].to_pylist() == ["ann", "ann", "bob", "ann"]
    assert steps["world"].to_pylist() == [3, 3, 4, 3]
    assert steps["episode"].to_pylist() == [1, 1, 0, 1]
    assert steps["vetoed"].type == pa.bool_()
    assert steps["observations.map"].to_pylist()[2] == BATCH.observations["map"][2].tolist()
    assert trajectories.drop_columns(["final.map", "final.features", "final.action_mask"]).to_pylist() == [
        dict(agent_id="ann", world=3, episode=1, first_tick=10, length=2, terminated=True, truncated=False),
        dict(agent_id="bob", world=4, episode=0, first_tick=7, length=1, terminated=False, truncated=True),
        dict(agent_id="ann", world=3, episode=1, first_tick=20, length=1, terminated=False, truncated=False),
    ]
    assert trajectories["final.features"].to_pylist()[1] == BATCH.final_observations["features"][1].tolist()


def test_decode_inverts_encode() -> None:
    steps, trajectories = encode_shard(BATCH, compression="zstd")
    assert_identical_batch(decode(steps, trajectories), BATCH)
    read = decode_table(trajectories, TRAJECTORIES, num_steps=4, num_trajectories=3)
    assert (read.lengths.tolist(), read.first_ticks.tolist()) == ([2, 1, 1], [10, 7, 20])


def test_rows_of_a_shard() -> None:
    # trajectory, tick, world, episode 8 each; agent_id (an index) and reward 4 each
    schema = TrajectorySchema(
        observations={"x": ArraySpec("float32", (5,))}, decisions={"a": ArraySpec("int8")}, vocabulary=()
    )
    assert step_bytes(schema) == 40 + 20 + 1
    assert check_shard_schema(schema, None) == SHARD_BYTES // 61
    assert check_shard_schema(schema, 7) == 7
    assert check_shard_schema(schema, (1 << 30) // 61) == (1 << 30) // 61
    for rows in (0, -1, (1 << 30) // 61 + 1):
        with pytest.raises(
            SchemaError, match=f"at least one row, and at most 1073741824 bytes, got {rows} of 61 bytes"
        ):
            check_shard_schema(schema, rows)


def test_rows_that_are_longer_than_a_shard() -> None:
    large = TrajectorySchema(
        observations={"x": ArraySpec("uint8", (1 << 25,))}, decisions={"a": ArraySpec("int8")}, vocabulary=()
    )
    assert check_shard_schema(large, None) == 1
    larger = TrajectorySchema(
        observations={"x": ArraySpec("uint8", (1 << 30,))}, decisions=large.decisions, vocabulary=()
    )
    with pytest.raises(SchemaError, match="got 1 of"):
        check_shard_schema(larger, None)


@pytest.mark.parametrize("name", ["trajectory", "tick", "agent_id", "world", "episode", "reward"])
def test_names_that_are_taken(name: str) -> None:
    schema = TrajectorySchema(
        observations={"x": ArraySpec("int8")},
        decisions={name: ArraySpec("int8"), "b": ArraySpec("int8")},
        vocabulary=(),
    )
    with pytest.raises(SchemaError, match=rf"columns of its own named \['{name}'\]: rename these decision columns"):
        check_shard_schema(schema, None)


@pytest.mark.parametrize(
    ("which", "name", "values", "reason"),
    [
        (0, "trajectory", [0, 1, 1, 2], "steps: parse: `trajectory` contradicts the lengths"),
        (0, "tick", [11, 12, 7, 20], "steps: parse: `tick` contradicts `first_tick`"),
        (0, "tick", [10, 12, 7, 20], "`ticks` of a trajectory must be consecutive"),
        (0, "reward", [1.0, 2.0, float("inf"), 0.0], "`rewards` must be finite, got inf at tick 7"),
        (1, "length", [2, 1, 0], "trajectories: parse: `length` must be positive and 4 together"),
        (1, "length", [2, 1, 2], "`length` must be positive and 4 together"),
        (1, "length", [1 << 62, 1 << 62, (1 << 63) - 4 + 4 - 1], "`length` must be positive and 4 together"),
        (1, "first_tick", [10, 8, 20], "steps: parse: `tick` contradicts `first_tick`"),
        (1, "terminated", [True, None, False], "trajectories:terminated: parse: 1 values are missing"),
    ],
)
def test_contradictions(which: int, name: str, values: list[object], reason: str) -> None:
    files = [*encode_shard(BATCH, compression="none")]
    files[which] = changed(files[which], name, values)
    with pytest.raises(ArtifactError, match=reason):
        decode(*files)


def test_labels_have_a_column_where_there_are_any() -> None:
    labelled = replace(BATCH, episode_labels=np.array([0, 3, 1], np.int8))
    steps, trajectories = encode_shard(labelled, compression="none")
    assert table(trajectories)["episode_label"].to_pylist() == [0, 3, 1]
    assert decode(steps, trajectories).episode_labels.tolist() == [0, 3, 1]
    assert steps == encode_shard(BATCH, compression="none")[0]
    assert "episode_label" not in table(encode_shard(BATCH, compression="none")[1]).column_names
    for values, reason in (
        ([0, 4, 1], r"`episode_labels` must be in \[0, 4\), got 0 ... 4"),
        ([0, None, 1], "missing"),
    ):
        with pytest.raises(ArtifactError, match=reason):
            decode(steps, changed(trajectories, "episode_label", values))


def test_files_of_another_shard() -> None:
    steps, trajectories = encode_shard(BATCH, compression="none")
    other = encode_shard(BATCH.select(np.array([0, 1])), compression="none")
    with pytest.raises(ArtifactError, match="trajectories: parse: expected 3 rows, got 2"):
        decode(steps, other[1])
    with pytest.raises(ArtifactError, match="steps: parse: expected 4 rows, got 3"):
        decode(other[0], trajectories)
