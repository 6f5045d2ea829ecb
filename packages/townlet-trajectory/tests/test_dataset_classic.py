"""The same steps from captures, shards, Minari and npz are the same batches, bit for bit."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from forms import in_all_forms
from hypothesis import given, settings
from hypothesis import strategies as st
from made_source import least_budget
from numpy.typing import NDArray
from strategies import (
    NUMBERS,
    PARTS,
    SCHEMA,
    VOCABULARY,
    array_batch,
    array_schema,
    assert_identical_batch,
    assert_same_batch,
    make_trajectory,
    told_apart_batches,
)

from townlet_trajectory import ArraySpec, Box, MultiDiscrete, SchemaError, Trajectory, TrajectoryBatch, TrajectorySchema
from townlet_trajectory.data.actions import ArrayActions
from townlet_trajectory.data.pieces import canonical, split_every
from townlet_trajectory.data.split import episode_hash
from townlet_trajectory.data.statistics import Moments
from townlet_trajectory.data.steps import StepBatch
from townlet_trajectory.data.table import TrajectoryTable, trajectory_hash
from townlet_trajectory.dataset.classic import ClassicColumns, classic_view
from townlet_trajectory.dataset.dataset import TrajectoryDataset
from townlet_trajectory.dataset.memory import step_bytes
from townlet_trajectory.dataset.source import BatchSource, TrajectorySource, arrays_digest, arrays_of
from townlet_trajectory.errors import DatasetError, NonFiniteError
from townlet_trajectory.formats.minari.reader import MinariReader
from townlet_trajectory.formats.minari.writer import to_minari

CLASSIC = TrajectorySchema(
    observations={"features": ArraySpec("float32", (3,)), "map": ArraySpec("float32", (2, 3, 3))},
    decisions={"action": ArraySpec("int64")},
    vocabulary=VOCABULARY,
)


def whole_of(source: TrajectorySource) -> TrajectoryBatch:
    blocks = [source.load_block(block) for block in range(len(source.block_offsets) - 1)]
    return TrajectoryBatch.concatenate(blocks)


def digest_of(batch: StepBatch | TrajectoryBatch) -> str:
    """Of every bit, name, dtype and shape that a batch hands out."""
    if isinstance(batch, TrajectoryBatch):
        return arrays_digest(batch.schema.vocabulary_digest.encode(), {**arrays_of(batch), "offsets": batch.offsets})
    parts = {"observations": batch.observations, "next": batch.next_observations, "columns": batch.columns}
    arrays = {f"{part}.{name}": array for part, columns in parts.items() for name, array in columns.items()}
    return arrays_digest(",".join(batch.observations).encode(), {**arrays, **batch.rows()})


@settings(max_examples=25)
@given(
    told_apart_batches(),
    st.sampled_from(["steps", "trajectories"]),
    st.integers(1, 7),
    st.integers(0, 2**32),
    st.integers(1, 2000),
    st.integers(1, 8),
)
def test_every_form_gives_the_same_batches(
    tmp_path_factory: pytest.TempPathFactory,
    batch: TrajectoryBatch,
    unit: str,
    batch_size: int,
    seed: int,
    block_bytes: int,
    rows_per_shard: int,
) -> None:
    found: dict[str, list[str]] = {}
    moments: dict[str, list[bytes]] = {}
    with in_all_forms(batch, tmp_path_factory.mktemp("forms"), rows_per_shard=rows_per_shard) as sources:
        for name, source in sources.items():
            view = classic_view(source, block_bytes=block_bytes)
            view.schema.require_equal(CLASSIC)
            dataset: TrajectoryDataset[StepBatch | TrajectoryBatch] = TrajectoryDataset(
                view, batch_size=batch_size, seed=seed, unit=unit
            )
            found[name] = [digest_of(handed_out) for epoch in range(2) for handed_out in dataset.epoch(epoch)]
            assert len(found[name]) == 2 * len(dataset) > 0
            moments[name] = [Moments.of(column).mean.tobytes() for column in whole_of(view).observations.values()]
    assert found["captures"] == found["shards"] == found["minari"] == found["npz"]
    assert moments["captures"] == moments["shards"] == moments["minari"] == moments["npz"]


@settings(max_examples=15)
@given(told_apart_batches(), st.integers(0, 2**32))
def test_every_form_gives_the_same_split(
    tmp_path_factory: pytest.TempPathFactory, batch: TrajectoryBatch, seed: int
) -> None:
    with in_all_forms(batch, tmp_path_factory.mktemp("forms")) as sources:
        hashes_by_unit: tuple[Callable[[TrajectoryTable], NDArray[np.float64]], ...] = (
            lambda table: episode_hash(seed, table.worlds, table.episodes),
            lambda table: trajectory_hash(seed, table),
        )
        for hashes_of in hashes_by_unit:
            judged = []
            for source in sources.values():
                view = classic_view(source)
                dataset = TrajectoryDataset(view, batch_size=3, seed=seed).restricted(hashes_of(view.table) < 0.5)
                judged.append([digest_of(handed_out) for handed_out in dataset])
            assert judged[0] == judged[1] == judged[2] == judged[3]


def test_the_view_by_hand() -> None:
    made = [
        make_trajectory(0, 2, world=1),
        make_trajectory(1, 3, agent_id="ben", first_tick=1, truncated=True),
        make_trajectory(2, 1, terminated=True),
    ]
    view = classic_view(BatchSource(TrajectoryBatch.from_trajectories(made)))
    expected = [classic(made[n]) for n in (2, 1, 0)]
    assert_same_batch(whole_of(view), TrajectoryBatch.from_trajectories(expected))
    assert list(view.schema.observations) == ["features", "map"]
    assert view.decision_column(0, "action").tolist() == whole_of(view).columns["action"].tolist()
    with pytest.raises(SchemaError, match="`expert_action` is no decision column"):
        view.decision_column(0, "expert_action")


def classic(trajectory: Trajectory) -> Trajectory:
    return replace(
        trajectory,
        schema=CLASSIC,
        observations={name: trajectory.observations[name] for name in ("features", "map")},
        columns={"action": trajectory.columns["action"]},
    )


def typed(dtype: str, action: str, values: list[float]) -> BatchSource:
    schema = TrajectorySchema(
        observations={"x": ArraySpec(dtype)}, decisions={"action": ArraySpec(action)}, vocabulary=("a", "b")
    )
    trajectory = Trajectory(
        schema=schema,
        observations={"x": np.array(values, dtype)},
        columns={"action": np.array([1], action)},
        rewards=np.zeros(1, np.float32),
        ticks=np.array([0]),
        terminated=True,
        truncated=False,
        agent_id="ann",
        world=0,
        episode=0,
    )
    return BatchSource(TrajectoryBatch.from_trajectories([trajectory]))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "float32", "float64"])
def test_every_dtype_becomes_the_classic_one(dtype: str) -> None:
    batch = whole_of(classic_view(typed(dtype, "uint8", [1, 0])))
    assert (batch.observations["x"].dtype, batch.observations["x"].tolist()) == (np.float32, [1.0])
    assert (batch.final_observations["x"].dtype, batch.final_observations["x"].tolist()) == (np.float32, [0.0])
    assert (batch.columns["action"].dtype, batch.columns["action"].tolist()) == (np.int64, [1])


def test_numbers_beyond_float32_are_refused() -> None:
    with pytest.raises(NonFiniteError, match="x"):
        classic_view(typed("float64", "int64", [1e39, 0])).load_block(0)


def test_sources_of_different_columns_go_together() -> None:
    ours = BatchSource(TrajectoryBatch.from_trajectories([make_trajectory(0, 2, world=1)]))
    bare = BatchSource(TrajectoryBatch.from_trajectories([classic(make_trajectory(1, 3))]))
    view = classic_view(ours, bare)
    assert view.table.worlds.tolist() == [0, 1]
    assert_same_batch(whole_of(view), whole_of(classic_view(bare, ours)))
    assert whole_of(view).num_steps == 5


def test_a_cut_recording_is_its_whole() -> None:
    batch = TrajectoryBatch.from_trajectories([make_trajectory(n, 7, world=n, terminated=True) for n in range(3)])
    cut = BatchSource(split_every(batch, 2), rows_per_block=3)
    assert_same_batch(whole_of(classic_view(cut)), whole_of(classic_view(BatchSource(batch))))
    assert_same_batch(canonical(whole_of(classic_view(cut))), whole_of(classic_view(BatchSource(batch))))


@pytest.mark.parametrize("actions", [PARTS, NUMBERS])
def test_array_actions_are_shown_as_they_are(actions: ArrayActions, tmp_path: Path) -> None:
    batch = array_batch(array_schema(actions), (3, 2), seed=1)
    view = classic_view(BatchSource(batch))
    assert view.schema.actions == actions and [*view.schema.decisions] == ["action"]
    shown = TrajectoryBatch.concatenate([view.load_block(block) for block in range(len(view.block_offsets) - 1)])
    whole = canonical(batch)
    np.testing.assert_array_equal(shown.columns["action"], whole.columns["action"], strict=True)
    np.testing.assert_array_equal(view.decision_column(0, "action"), whole.columns["action"], strict=True)
    # The same from another form, which holds its columns in another order.
    with MinariReader(to_minari(batch, "arm-v0", root=tmp_path)) as source:
        assert_identical_batch(classic_view(source).load_block(0), view.load_block(0))
    with pytest.raises(SchemaError, match="actions differ"):
        classic_view(BatchSource(batch), BatchSource(array_batch(array_schema(other_of(actions)), (3,), seed=1)))


def other_of(actions: ArrayActions) -> ArrayActions:
    """The same columns, and not the same actions."""
    if isinstance(actions, MultiDiscrete):
        return MultiDiscrete(parts={"walk": actions.parts["move"], "hand": actions.parts["hand"]})
    return Box(names=actions.names, low=actions.low, high=(1.0, 3.0))


def test_what_has_no_classic_form_is_refused() -> None:
    with pytest.raises(SchemaError, match="`action` is ArraySpec.*float32"):
        classic_view(typed("float32", "float32", [0, 0]))
    whole = make_trajectory(0, 1)
    masks = replace(
        whole,
        schema=replace(SCHEMA, observations={"action_mask": SCHEMA.observations["action_mask"]}),
        observations={"action_mask": whole.observations["action_mask"]},
    )
    with pytest.raises(SchemaError, match="`observations` must name at least one column"):
        classic_view(BatchSource(TrajectoryBatch.from_trajectories([masks])))
    with pytest.raises(DatasetError, match="at least one source"):
        classic_view()
    (batch,) = map(whole_of, [typed("float32", "int64", [0, 0])])
    schema = replace(batch.schema, observations={"y": ArraySpec("float32")})
    other = {"observations": {"y": batch.observations["x"]}, "final_observations": {"y": batch.final_observations["x"]}}
    renamed = BatchSource(replace(batch, schema=schema, **other))
    with pytest.raises(SchemaError, match="observation `x` differs"):
        classic_view(typed("float32", "int64", [0, 0]), renamed)


def test_what_is_left_out_counts_while_a_block_is_read() -> None:
    source = BatchSource(TrajectoryBatch.from_trajectories([make_trajectory(0, 10), make_trajectory(1, 10, world=1)]))
    assert ClassicColumns(source).encoded_bytes.tolist() == [0]
    source.encoded_bytes = np.array([1000])
    # A row loses 3 bytes of mask and 71 of decisions (79 but for the action), a final observation 3 bytes of mask.
    assert ClassicColumns(source).encoded_bytes.tolist() == [1000 + 20 * (3 + 71) + 2 * 3]
    assert ClassicColumns(source).fingerprint not in (source.fingerprint, classic_view(source).fingerprint)


def test_a_view_is_read_within_a_budget() -> None:
    batch = TrajectoryBatch.from_trajectories([make_trajectory(n, 9, world=n, terminated=True) for n in range(40)])
    view = classic_view(BatchSource(batch, rows_per_block=18), block_bytes=1000)
    least = least_budget([view], batch_size=4)
    dataset = TrajectoryDataset(view, batch_size=4, seed=0, memory_budget_bytes=least)
    assert sorted(step for steps in dataset for step in steps.steps.tolist()) == list(range(360))
    assert least < whole_of(view).num_steps * step_bytes(view.schema)
