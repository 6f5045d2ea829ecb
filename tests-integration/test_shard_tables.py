"""What other people's programs see in recorded shards, opened as they are."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.dataset
import pytest

from townlet_trajectory import ArraySpec, TrajectoryBatch, TrajectorySchema
from townlet_trajectory.dataset.info import COMPRESSIONS
from townlet_trajectory.formats.shards.writer import write_shards

SCHEMA = TrajectorySchema(
    observations={
        "map": ArraySpec("float32", (2, 3)),
        "hunger": ArraySpec("float64"),
        "action_mask": ArraySpec("bool", (2,)),
    },
    decisions={"action": ArraySpec("int64"), "source": ArraySpec("int8"), "vetoed": ArraySpec("bool")},
    vocabulary=("wait", "eat"),
)
MAPS = np.arange(30, dtype=np.float32).reshape(5, 2, 3)
MASKS = np.array([[1, 0], [1, 1], [0, 1], [1, 1], [1, 0]], np.bool_)
BATCH = TrajectoryBatch(
    schema=SCHEMA,
    offsets=np.array([0, 3, 5]),
    observations={"map": MAPS, "hunger": np.array([0, 0.1, 0.2, 0.3, 0.4]), "action_mask": MASKS},
    final_observations={"map": MAPS[:2] + 100, "hunger": np.ones(2), "action_mask": MASKS[:2]},
    columns={
        "action": np.array([0, 1, 0, 1, 1]),
        "source": np.array([0, 1, 1, 0, 2], np.int8),
        "vetoed": np.array([False, True, False, False, False]),
    },
    rewards=np.array([1, 2, 3, 4, 5], np.float32),
    ticks=np.array([10, 11, 12, 7, 8]),
    terminated=np.array([True, False]),
    truncated=np.array([False, False]),
    agent_ids=np.array(["ann", "bø"], object),
    worlds=np.array([0, 1]),
    episodes=np.array([2, 0]),
)


@pytest.fixture(params=COMPRESSIONS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Two shards, of one trajectory each."""
    write_shards(tmp_path, BATCH, compression=request.param, rows_per_shard=3)
    return tmp_path


def test_polars(folder: Path) -> None:
    steps = pl.scan_ipc(folder / "steps-*.arrow").collect()
    assert steps.schema["observations.map"] == pl.Array(pl.Float32, shape=(2, 3))
    assert steps.schema["vetoed"] == pl.Boolean
    np.testing.assert_array_equal(steps["observations.map"].to_numpy(), MAPS)
    np.testing.assert_array_equal(steps["observations.action_mask"].to_numpy(), MASKS)
    by_agent = steps.group_by("agent_id", maintain_order=True).agg(pl.col("reward").sum(), pl.col("vetoed").any())
    assert by_agent.with_columns(pl.col("agent_id").cast(pl.String)).rows() == [("ann", 6.0, True), ("bø", 9.0, False)]
    ends = pl.read_ipc(folder / "trajectories-*.arrow")
    assert ends.select("agent_id", "first_tick", "length", "terminated").rows() == [
        ("ann", 10, 3, True),
        ("bø", 7, 2, False),
    ]


def test_pandas(folder: Path) -> None:
    steps = pd.concat([pd.read_feather(path) for path in sorted(folder.glob("steps-*.arrow"))], ignore_index=True)
    assert steps["agent_id"].tolist() == ["ann", "ann", "ann", "bø", "bø"]
    assert steps["vetoed"].dtype == np.bool_
    assert steps.loc[steps["vetoed"], "tick"].tolist() == [11]
    np.testing.assert_array_equal([np.stack(row) for row in steps["observations.map"]], MAPS)
    assert steps.groupby("source")["reward"].sum().to_dict() == {0: 5.0, 1: 5.0, 2: 5.0}


def test_duckdb(folder: Path) -> None:
    steps = pyarrow.dataset.dataset(sorted(folder.glob("steps-*.arrow")), format="ipc")  # noqa: F841 - named in the query
    rows = duckdb.sql(
        'SELECT agent_id, tick, vetoed, "observations.map"[2][3] FROM steps WHERE source = 1 ORDER BY tick'
    ).fetchall()
    assert rows == [("ann", 11, True, 11.0), ("ann", 12, False, 17.0)]
