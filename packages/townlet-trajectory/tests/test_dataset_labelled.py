"""Sources chosen by label, and relabelled: they hold what a batch that was chosen so would, however it is cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SCHEMA, assert_same_batch, batches, make_trajectory

from townlet_trajectory import BatchSource, EpisodeLabel, SchemaError, ShapeError, TrajectoryBatch, TrajectorySource
from townlet_trajectory.data.labels import LEARNED_FROM
from townlet_trajectory.data.table import labels_of_wholes
from townlet_trajectory.dataset.labelled import KeptTrajectories, Relabelled, with_labels
from townlet_trajectory.dataset.memory import decoded_bytes

LABELS = st.sets(st.sampled_from(EpisodeLabel))


def all_of(source: TrajectorySource) -> TrajectoryBatch:
    blocks = [source.load_block(block) for block in range(len(source.block_offsets) - 1)]
    return TrajectoryBatch.concatenate([TrajectoryBatch.empty(source.schema), *blocks])


@given(batches(), st.integers(1, 8), LABELS)
def test_what_is_chosen_is_what_a_batch_would_keep(
    batch: TrajectoryBatch, rows_per_block: int, labels: set[EpisodeLabel]
) -> None:
    source = BatchSource(batch, rows_per_block=rows_per_block, tags=frozenset({"day"}))
    chosen = with_labels(source, labels)
    expected = batch.filter_trajectories(np.isin(labels_of_wholes(source.table), [int(one) for one in labels]))
    assert_same_batch(all_of(chosen), expected)
    assert chosen.table.lengths.tolist() == expected.lengths.tolist()
    assert chosen.table.tags == (frozenset({"day"}),) * len(expected)
    columns = [chosen.decision_column(block, "action") for block in range(len(chosen.block_offsets) - 1)]
    taken = expected.columns["action"]
    assert np.concatenate([taken[:0], *columns]).tolist() == taken.tolist()


@given(batches(), st.integers(1, 8))
def test_all_labels_are_the_source_itself(batch: TrajectoryBatch, rows_per_block: int) -> None:
    source = BatchSource(batch, rows_per_block=rows_per_block)
    assert with_labels(source, [*EpisodeLabel]) is source


def test_a_discarded_trajectory_is_left_out_by_itself() -> None:
    batch = TrajectoryBatch.from_trajectories(
        [make_trajectory(n, 2, agent_id=f"{n}", episode_label=label) for n, label in enumerate(EpisodeLabel)]
    )
    source = BatchSource(batch, rows_per_block=2)
    learned = with_labels(source)
    assert LEARNED_FROM == (EpisodeLabel.NONE, EpisodeLabel.SUCCESS, EpisodeLabel.FAILURE)
    assert learned.table.agent_ids.tolist() == ["0", "1", "2"]
    assert learned.fingerprint not in (source.fingerprint, with_labels(source, [EpisodeLabel.SUCCESS]).fingerprint)


def test_a_block_is_read_whole_whatever_is_kept_of_it() -> None:
    class Stored(BatchSource):
        """As on disk: a block takes 100 bytes there."""

        def __init__(self, batch: TrajectoryBatch) -> None:
            super().__init__(batch)
            self.encoded_bytes = np.array([100])

    source = Stored(TrajectoryBatch.from_trajectories([make_trajectory(n, 5) for n in range(3)]))
    kept = KeptTrajectories(source, np.array([False, True, False]))
    assert kept.encoded_bytes[0] + decoded_bytes(kept)[0] == 100 + decoded_bytes(source)[0]
    with pytest.raises(ShapeError, match="`keep`"):
        KeptTrajectories(source, np.array([True]))


@given(batches(), st.integers(1, 8), st.integers(0, 2**32))
def test_relabelled_it_is_the_batch_with_these_labels(batch: TrajectoryBatch, rows_per_block: int, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 4, len(batch)).astype(np.int8)
    source = Relabelled(BatchSource(batch, rows_per_block=rows_per_block), labels)
    assert_same_batch(all_of(source), replace(batch, episode_labels=labels))
    assert source.table.episode_labels.tolist() == labels.tolist()
    assert source.decision_column(0, "kind").tolist() == source.load_block(0).columns["kind"].tolist()


def test_labels_that_are_none() -> None:
    source = BatchSource(TrajectoryBatch.from_trajectories([make_trajectory(1, 2)]))
    with pytest.raises(SchemaError, match=r"`episode_labels` must be in \[0, 4\), got 4 ... 4"):
        Relabelled(source, np.array([4], np.int8))
    with pytest.raises(SchemaError, match="`labels` must have dtype int8"):
        Relabelled(source, np.array([1]))
    assert len(with_labels(BatchSource(TrajectoryBatch.empty(SCHEMA))).table) == 0
