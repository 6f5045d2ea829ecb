"""One row per step as Parquet: what pyarrow reads is what the trajectories are; other readers agree with it."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from pyarrow import parquet
from strategies import (
    FEATURE_NAMES,
    NUMBERS,
    PARTS,
    SCHEMA,
    VOCABULARY,
    array_batch,
    array_schema,
    batches_of,
    make_trajectory,
)

from townlet_trajectory import (
    ArraySpec,
    ArtifactError,
    EpisodeLabel,
    MultiDiscrete,
    SchemaError,
    Trajectory,
    TrajectoryBatch,
    TrajectorySchema,
)
from townlet_trajectory.data.pieces import split_every
from townlet_trajectory.dataset.info import DatasetInfo
from townlet_trajectory.dataset.source import BatchSource
from townlet_trajectory.formats.captures.directory import NOTE
from townlet_trajectory.formats.convert import convert, target_names
from townlet_trajectory.formats.open import format_names, format_of
from townlet_trajectory.formats.parquet import METADATA_KEY, PARQUET_FILE, ROW_GROUP_BYTES, STEP_COLUMNS, parquet_sink

INFO = DatasetInfo(group="villagers", notes={NOTE: {"feature_names": [*FEATURE_NAMES]}})
SMALL = TrajectorySchema(
    observations={"features": ArraySpec("float32", (2,)), "hours": ArraySpec("float32")},
    decisions={"action": ArraySpec("int64"), "source": ArraySpec("int8"), "vetoed": ArraySpec("bool")},
    vocabulary=("wait", "eat"),
)


def small(
    agent_id: str,
    actions: list[int],
    *,
    first_tick: int,
    terminated: bool = False,
    sources: list[int] | None = None,
) -> Trajectory:
    """Features are (tick, -tick), rewards a half of the tick."""
    size = len(actions)
    ticks = np.arange(first_tick, first_tick + size + 1)
    return Trajectory(
        schema=SMALL,
        observations={
            "features": np.column_stack((ticks, -ticks)).astype(np.float32),
            "hours": (ticks / 4).astype(np.float32),
        },
        columns={
            "action": np.array(actions),
            "source": np.array(sources or [0] * size, np.int8),
            "vetoed": np.array([action == 0 for action in actions]),
        },
        rewards=(ticks[:-1] / 2).astype(np.float32),
        ticks=ticks[:-1],
        terminated=terminated,
        truncated=not terminated,
        agent_id=agent_id,
        world=3,
        episode=5,
    )


def rows_of(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = parquet.read_table(folder / PARQUET_FILE).to_pylist()
    return rows


def two() -> TrajectoryBatch:
    return TrajectoryBatch.from_trajectories(
        [
            small("alice", [0, 1], first_tick=4, terminated=True, sources=[0, 1]),
            small("bob", [-1, 1], first_tick=8, sources=[2, 7]),
        ]
    )


def test_the_rows_of_two_trajectories_by_hand(tmp_path: Path) -> None:
    names = DatasetInfo(group="villagers", notes={"feature_names": ["hunger", "thirst"]})
    labelled = replace(two(), episode_labels=np.array([EpisodeLabel.NONE, EpisodeLabel.DISCARD], np.int8))
    done = convert(labelled, tmp_path / "steps", to="parquet", info=names)
    assert (done.num_trajectories, done.num_steps, done.left_out) == (2, 4, ())
    assert [path.name for path in (tmp_path / "steps").iterdir()] == [PARQUET_FILE]
    rows = rows_of(tmp_path / "steps")
    alice: dict[str, object] = {"group": "villagers", "world": 3, "episode": 5, "agent_id": "alice", "trajectory": 0}
    bob = {**alice, "agent_id": "bob", "trajectory": 1}
    ends = {"terminated": False, "truncated": False}
    alice["episode_label"], bob["episode_label"] = None, "discard"
    assert rows == [
        {
            **alice,
            **{"tick": 4, "action_key": "wait", "decided_by": "scripted", "reward": 2.0},
            **ends,
            **{"action": 0, "source": 0, "vetoed": True, "features_hunger": 4.0, "features_thirst": -4.0},
            "hours": 1.0,
        },
        {
            **alice,
            **{"tick": 5, "action_key": "eat", "decided_by": "learned", "reward": 2.5},
            **ends,
            "terminated": True,
            **{"action": 1, "source": 1, "vetoed": False, "features_hunger": 5.0, "features_thirst": -5.0},
            "hours": 1.25,
        },
        {
            **bob,
            # no action of the vocabulary, and a source that has no name in the row below
            **{"tick": 8, "action_key": None, "decided_by": "external", "reward": 4.0},
            **ends,
            **{"action": -1, "source": 2, "vetoed": False, "features_hunger": 8.0, "features_thirst": -8.0},
            "hours": 2.0,
        },
        {
            **bob,
            **{"tick": 9, "action_key": "eat", "decided_by": None, "reward": 4.5},
            **ends,
            "truncated": True,
            **{"action": 1, "source": 7, "vetoed": False, "features_hunger": 9.0, "features_thirst": -9.0},
            "hours": 2.25,
        },
    ]
    assert [*rows[0]][: len(STEP_COLUMNS)] == [*STEP_COLUMNS]


def test_what_has_no_names_is_a_list_of_fixed_size_in_c_order(tmp_path: Path) -> None:
    batch = TrajectoryBatch.from_trajectories([make_trajectory(1, 3, terminated=True)])
    convert(batch, tmp_path / "steps", to="parquet", info=DatasetInfo())
    table = parquet.read_table(tmp_path / "steps" / PARQUET_FILE)
    assert str(table.schema.field("map").type) == "fixed_size_list<element: float>[18]"
    assert str(table.schema.field("features").type) == "fixed_size_list<element: float>[3]"
    assert table.column("map").to_pylist() == batch.observations["map"].reshape(3, 18).tolist()
    assert table.column("action_mask").to_pylist() == batch.observations["action_mask"].tolist()
    said = json.loads(table.schema.metadata[METADATA_KEY])
    assert said["shapes"] == {"map": [2, 3, 3], "features": [3], "action_mask": [3]}
    assert said["vocabulary"] == [*VOCABULARY]
    assert said["info"]["group"] == "agents"


@settings(max_examples=20)
@given(batches_of(SCHEMA))
def test_every_column_of_any_batch(tmp_path_factory: pytest.TempPathFactory, batch: TrajectoryBatch) -> None:
    if not len(batch):
        return
    folder = tmp_path_factory.mktemp("parquet") / "steps"
    with parquet_sink(folder, SCHEMA, info=INFO) as sink:
        sink.write(batch)
    table = parquet.read_table(folder / PARQUET_FILE)
    assert table.num_rows == batch.num_steps
    for name in SCHEMA.decisions:
        np.testing.assert_array_equal(numbers(table, name), batch.columns[name])
    for place, name in enumerate(FEATURE_NAMES):
        np.testing.assert_array_equal(numbers(table, f"features_{name}"), batch.observations["features"][:, place])
    np.testing.assert_array_equal(numbers(table, "reward"), batch.rewards)
    assert table.column("agent_id").to_pylist() == np.repeat(batch.agent_ids, batch.lengths).tolist()
    ends = np.zeros(batch.num_steps, np.bool_)
    ends[batch.row_of_last] = batch.terminated
    assert numbers(table, "terminated").tolist() == ends.tolist()


def numbers(table: Any, name: str) -> NDArray[np.generic]:
    return np.array(table.column(name).to_pylist())


def test_pieces_that_come_one_after_the_other_are_one_trajectory(tmp_path: Path) -> None:
    whole = TrajectoryBatch.from_trajectories(
        [make_trajectory(1, 5, terminated=True), make_trajectory(2, 4, agent_id="bob", first_tick=2)]
    )
    with parquet_sink(tmp_path / "steps", SCHEMA) as sink:
        for piece in split_every(whole, 2):
            sink.write(TrajectoryBatch.from_trajectories([piece]))
        # bob's last piece goes on, and this is not where it does
        sink.write(TrajectoryBatch.from_trajectories([make_trajectory(3, 2, agent_id="bob", first_tick=90)]))
    found = [(row["agent_id"], row["trajectory"]) for row in rows_of(tmp_path / "steps")]
    assert found == [("alice", 0)] * 5 + [("bob", 1)] * 4 + [("bob", 2)] * 2


def test_rows_are_written_in_groups_of_bounded_size(tmp_path: Path) -> None:
    pixels = TrajectorySchema(
        observations={"view": ArraySpec("uint8", (1 << 20,))},
        decisions={"action": ArraySpec("int64")},
        vocabulary=("wait",),
    )
    size = 40
    long = Trajectory(
        schema=pixels,
        observations={"view": np.zeros((size + 1, 1 << 20), np.uint8)},
        columns={"action": np.zeros(size, np.int64)},
        rewards=np.zeros(size, np.float32),
        ticks=np.arange(size),
        terminated=True,
        truncated=False,
        agent_id="alice",
        world=0,
        episode=0,
    )
    convert(TrajectoryBatch.from_trajectories([long]), tmp_path / "steps", to="parquet")
    found = parquet.ParquetFile(tmp_path / "steps" / PARQUET_FILE).metadata
    sizes = [found.row_group(place).num_rows for place in range(found.num_row_groups)]
    assert sizes == [15, 15, 10]
    assert 15 * (1 << 20) < ROW_GROUP_BYTES


def test_no_trajectory_is_a_table_of_no_rows(tmp_path: Path) -> None:
    convert(BatchSource(TrajectoryBatch.empty(SCHEMA)), tmp_path / "steps", to="parquet", info=INFO)
    table = parquet.read_table(tmp_path / "steps" / PARQUET_FILE)
    assert table.num_rows == 0
    assert f"features_{FEATURE_NAMES[0]}" in table.column_names


def test_nothing_is_left_of_what_was_broken_off(tmp_path: Path) -> None:
    def broken_off() -> None:
        with parquet_sink(tmp_path / "steps", SCHEMA) as sink:
            sink.write(TrajectoryBatch.from_trajectories([make_trajectory(1, 5, terminated=True)]))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        broken_off()
    assert [*tmp_path.iterdir()] == []


def test_what_is_there_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "steps").mkdir()
    with pytest.raises(ArtifactError, match="exists already"):
        convert(two(), tmp_path / "steps", to="parquet")


@pytest.mark.parametrize(
    ("name", "problem"),
    [("tick", r"\['tick'\]"), ("Reward", r"\['reward'\]")],
)
def test_a_column_of_a_name_that_is_taken_is_refused(name: str, problem: str, tmp_path: Path) -> None:
    schema = replace(SMALL, decisions={**SMALL.decisions, name: ArraySpec("float32")})
    with pytest.raises(SchemaError, match=problem):
        convert(BatchSource(TrajectoryBatch.empty(schema)), tmp_path / "steps", to="parquet")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("names", [["hunger", "Hunger"], ["hunger"], ["hunger", "thirst", "sleep"]])
def test_names_that_cannot_be_columns_leave_the_features_a_list(names: list[str], tmp_path: Path) -> None:
    convert(two(), tmp_path / "steps", to="parquet", info=DatasetInfo(notes={"feature_names": [*names]}))
    assert rows_of(tmp_path / "steps")[0]["features"] == [4.0, -4.0]


def test_a_batch_of_another_schema_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="vocabularies differ"), parquet_sink(tmp_path / "steps", SCHEMA) as sink:
        sink.write(two())


def test_it_is_written_and_not_read_back(tmp_path: Path) -> None:
    assert target_names() == (*format_names(), "parquet")
    convert(two(), tmp_path / "steps", to="parquet")
    with pytest.raises(ArtifactError, match="expected a batch"):
        format_of(tmp_path / "steps")


@pytest.mark.parametrize("library", ["duckdb", "pandas", "polars"])
def test_other_readers_say_the_same(library: str, tmp_path: Path) -> None:
    reader = pytest.importorskip(library)
    convert(two(), tmp_path / "steps", to="parquet", info=DatasetInfo(notes={"feature_names": ["hunger", "thirst"]}))
    path = str(tmp_path / "steps" / PARQUET_FILE)
    columns = ["agent_id", "action_key", "reward", "features_thirst", "terminated"]
    if library == "duckdb":
        found = reader.sql(f"select {', '.join(columns)} from '{path}' where action = 1 order by tick").fetchall()
    elif library == "pandas":
        steps = reader.read_parquet(path)
        found = [tuple(row) for row in steps[steps.action == 1][columns].itertuples(index=False)]
    else:
        found = reader.scan_parquet(path).filter(importlib.import_module("polars").col("action") == 1)
        found = found.select(columns).collect().rows()
    assert found == [("alice", "eat", 2.5, -5.0, True), ("bob", "eat", 4.5, -9.0, False)]


def test_actions_of_parts_have_a_list_and_a_text(tmp_path: Path) -> None:
    batch = array_batch(array_schema(PARTS), (3,), seed=1)
    executed = np.array([[1, 0], [0, 1], [3, 0]])  # the last is none: no dataset with a vocabulary is refused either
    batch = replace(batch, columns={**batch.columns, "action": executed})
    convert(batch, tmp_path / "steps", to="parquet")
    rows = rows_of(tmp_path / "steps")
    assert [row["action"] for row in rows] == executed.tolist()
    assert [row["action_key"] for row in rows] == ["move=north, hand=open", "move=stay, hand=closed", None]
    np.testing.assert_array_equal([row["policy_state"] for row in rows], batch.columns["policy_state"])
    said = json.loads(parquet.read_schema(tmp_path / "steps" / PARQUET_FILE).metadata[METADATA_KEY])
    assert said["actions"] == {
        "parts": [{"name": "move", "keys": ["stay", "north", "south"]}, {"name": "hand", "keys": ["open", "closed"]}]
    }
    assert said["shapes"]["action"] == [2] and said["shapes"]["policy_state"] == [4]


def test_actions_of_numbers_have_a_list_alone(tmp_path: Path) -> None:
    batch = array_batch(array_schema(NUMBERS), (3,), seed=1)
    convert(batch, tmp_path / "steps", to="parquet")
    rows = rows_of(tmp_path / "steps")
    np.testing.assert_array_equal([row["action"] for row in rows], batch.columns["action"])
    assert [row["action_key"] for row in rows] == [None] * 3
    said = json.loads(parquet.read_schema(tmp_path / "steps" / PARQUET_FILE).metadata[METADATA_KEY])
    assert said["actions"] == {"names": ["steer", "throttle"], "low": [-1.0, 0.1], "high": [1.0, 2.5]}


def test_keys_of_parts_that_are_no_text_are_refused(tmp_path: Path) -> None:
    actions = MultiDiscrete(parts={"hand": ("open", "\ud800")})
    schema = replace(array_schema(NUMBERS), decisions={"action": ArraySpec("int64", (1,))}, actions=actions)
    with pytest.raises(SchemaError, match="Arrow holds Unicode text"):
        convert(TrajectoryBatch.empty(schema), tmp_path / "steps", to="parquet")
