"""Sources in memory: blocks of whole trajectories, views of the batch, an identity by content."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    NUMBERS,
    SCHEMA,
    array_batch,
    array_schema,
    assert_same_batch,
    batch_sources,
    batches,
    make_trajectory,
)

from townlet_trajectory import (
    ArraySpec,
    EpisodeLabel,
    SchemaError,
    ShapeError,
    TrajectoryBatch,
    TrajectorySchema,
    save_batch,
)
from townlet_trajectory.dataset.source import BatchSource, ChainedSource, TrajectorySource, require_decision, table_of
from townlet_trajectory.errors import DatasetError


def make_batch() -> TrajectoryBatch:
    return TrajectoryBatch.from_trajectories(
        [make_trajectory(n, length, world=n, first_tick=10 * n) for n, length in enumerate((2, 5, 1, 1, 3))]
    )


def test_blocks_by_hand() -> None:
    # Trajectories begin at rows 0, 2, 7, 8, 9; the first at or after 0, 3, 6, 9 are 0, 2 and 4.
    source: TrajectorySource = BatchSource(make_batch(), rows_per_block=3)
    assert source.block_offsets.tolist() == [0, 2, 4, 5]
    assert source.encoded_bytes.tolist() == [0, 0, 0]
    assert source.table.first_ticks.tolist() == [0, 10, 20, 30, 40]
    assert source.table.lengths.tolist() == [2, 5, 1, 1, 3]
    assert source.load_block(1).worlds.tolist() == [2, 3]
    np.testing.assert_array_equal(source.decision_column(2, "action"), make_batch().columns["action"][9:])
    assert BatchSource(make_batch()).block_offsets.tolist() == [0, 5]


@given(batches(), st.integers(1, 12))
def test_blocks_one_after_the_other_are_the_batch(batch: TrajectoryBatch, rows_per_block: int) -> None:
    source = BatchSource(batch, rows_per_block=rows_per_block)
    blocks = [source.load_block(block) for block in range(len(source.block_offsets) - 1)]
    assert_same_batch(TrajectoryBatch.concatenate(blocks), batch)
    assert [len(block) for block in blocks] == np.diff(source.block_offsets).tolist()


def test_blocks_are_views() -> None:
    batch = make_batch()
    source = BatchSource(batch, rows_per_block=3)
    assert BatchSource(batch).load_block(0) is batch
    assert np.shares_memory(source.load_block(1).observations["map"], batch.observations["map"])


def test_an_empty_batch_has_no_block() -> None:
    source = BatchSource(TrajectoryBatch.empty(SCHEMA))
    assert source.block_offsets.tolist() == [0]
    with pytest.raises(IndexError, match="block 0 of 0"):
        source.load_block(0)


def test_a_fingerprint_covers_content_and_blocks() -> None:
    batch = make_batch()
    own = BatchSource(batch).fingerprint
    assert BatchSource(make_batch()).fingerprint == own
    rewards = batch.rewards.copy()
    rewards[3] += 1
    for other in (
        BatchSource(batch, rows_per_block=3),
        BatchSource(replace(batch, rewards=rewards)),
        BatchSource(replace(batch, worlds=batch.worlds + 1)),
        BatchSource(replace(batch, agent_ids=np.array(["a", "b", "c", "d", "e"], object))),
        BatchSource(replace(batch, truncated=~batch.truncated)),
        BatchSource(batch[:4]),
    ):
        assert other.fingerprint != own


def test_a_fingerprint_covers_what_array_actions_mean() -> None:
    batch = array_batch(array_schema(NUMBERS), (3, 2), seed=1)
    wider = replace(NUMBERS, high=(1.0, 3.0))
    same = replace(batch, schema=replace(batch.schema, actions=wider))
    assert BatchSource(same).fingerprint != BatchSource(batch).fingerprint


def test_what_has_no_label_is_what_it_was_before_there_were_any(tmp_path: Path) -> None:
    batch = TrajectoryBatch(
        schema=TrajectorySchema(
            observations={"x": ArraySpec("float32")},
            decisions={"action": ArraySpec("int64")},
            vocabulary=("wait", "go"),
        ),
        offsets=np.array([0, 2, 3]),
        observations={"x": np.array([0, 1, 5], np.float32)},
        final_observations={"x": np.array([2, 6], np.float32)},
        columns={"action": np.array([0, 1, 0])},
        rewards=np.array([1, 2, 3], np.float32),
        ticks=np.array([0, 1, 0]),
        terminated=np.array([True, False]),
        truncated=np.array([False, False]),
        agent_ids=np.array(["ann", "ben"], object),
        worlds=np.array([0, 0]),
        episodes=np.array([0, 0]),
    )
    # Both as townlet-trajectory 0.1.0 has them.
    assert BatchSource(batch).fingerprint == "1f60d5ddd82548c30c19ad79e6ba4c103e13fea877127658e1182952b386a163"
    save_batch(tmp_path / "batch.npz", batch, compress=False)
    digest = hashlib.sha256((tmp_path / "batch.npz").read_bytes()).hexdigest()
    assert digest == "38be33e05d1abc6456250e9ff6cf62e2e7c285199a28c6d05c43adae3a192e0c"
    for label in (EpisodeLabel.SUCCESS, EpisodeLabel.DISCARD):
        labelled = replace(batch, episode_labels=np.array([label, 0], np.int8))
        assert BatchSource(labelled).fingerprint != BatchSource(batch).fingerprint
    named = replace(batch, schema=replace(batch.schema, proposers=("script",)))
    assert BatchSource(named).fingerprint != BatchSource(batch).fingerprint


def test_a_table_is_checked() -> None:
    table = table_of(make_batch())
    assert len(table) == 5
    for change, message in (
        ({"agent_ids": np.array(["a"], object)}, r"`agent_ids` must be object of shape \(5,\)"),
        ({"worlds": np.zeros(4, np.int64)}, r"`worlds` must have shape \(5,\), got \(4,\)"),
        ({"lengths": np.array([2, 5, 0, 1, 3])}, "`lengths` must be at least 1, got 0"),
        ({"tags": (frozenset("a"),)}, r"`tags` must be empty or \[5\], got 1"),
    ):
        with pytest.raises(ShapeError, match=message):
            replace(table, **change)
    with pytest.raises(SchemaError, match="`terminated` must have dtype bool, got int64"):
        replace(table, terminated=np.zeros(5, np.int64))


def test_what_is_asked_for_must_be_there() -> None:
    source = BatchSource(make_batch(), rows_per_block=3)
    with pytest.raises(IndexError, match="block 3 of 3"):
        source.load_block(3)
    with pytest.raises(IndexError, match="block -1 of 3"):
        source.decision_column(-1, "action")
    with pytest.raises(SchemaError, match="`reward` is no decision column, there are"):
        source.decision_column(0, "reward")
    with pytest.raises(SchemaError, match="`map` is no decision column"):
        require_decision(SCHEMA, "map")
    with pytest.raises(ShapeError, match="`rows_per_block` must be at least 1, got 0"):
        BatchSource(make_batch(), rows_per_block=0)


@given(batch_sources())
def test_it_holds_what_its_sources_do(made: tuple[list[BatchSource], TrajectoryBatch]) -> None:
    sources, whole = made
    chained = ChainedSource(sources)
    num_blocks = len(chained.block_offsets) - 1
    assert_same_batch(TrajectoryBatch.concatenate([chained.load_block(k) for k in range(num_blocks)]), whole)
    actions = np.concatenate([chained.decision_column(k, "action") for k in range(num_blocks)])
    np.testing.assert_array_equal(actions, whole.columns["action"])
    for name, values in vars(table_of(whole)).items():
        np.testing.assert_array_equal(getattr(chained.table, name), values, err_msg=name)
    assert len(chained.encoded_bytes) == num_blocks
    assert len(chained.fingerprint) == 64
    with pytest.raises(IndexError, match=f"block {num_blocks} of {num_blocks}"):
        chained.load_block(num_blocks)


def test_tags_stay_with_their_sources() -> None:
    batch = TrajectoryBatch.from_trajectories([make_trajectory(1, 2)])
    tagged = BatchSource(batch, tags=frozenset({"a"}))
    assert ChainedSource([BatchSource(batch), tagged]).table.tags == (frozenset(), frozenset({"a"}))
    assert ChainedSource([BatchSource(batch), BatchSource(batch)]).table.tags == ()


def test_sources_must_have_equal_schemas_and_be_there() -> None:
    trajectory = make_trajectory(1, 2)
    other = replace(trajectory, schema=replace(trajectory.schema, vocabulary=("a", "b", "c")))
    sources = [BatchSource(TrajectoryBatch.from_trajectories([one])) for one in (trajectory, other)]
    with pytest.raises(SchemaError, match="vocabularies differ"):
        ChainedSource(sources)
    with pytest.raises(DatasetError, match="at least one source is needed"):
        ChainedSource([])
    assert ChainedSource(sources[:1]).fingerprint != ChainedSource(sources[:1] * 2).fingerprint
