"""Several sources as one."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from strategies import assert_same_batch, batch_sources, make_trajectory

from townlet_trajectory import SchemaError, TrajectoryBatch
from townlet_trajectory.dataset.source import BatchSource, ChainedSource, table_of
from townlet_trajectory.errors import DatasetError


@pytest.mark.property
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
